# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong under load: karst killed, a drive pulled, while a Debian kernel does I/O.

The host's fio must not see one error, and every byte that it verifies must be right.
"""
import json
import re

import pytest

from guest import fio_command

PATIENT = "-i 2 --reconnect-delay=1 --ctrl-loss-tmo=120"


@pytest.fixture
def devices(served, guest):
    yield guest.nvme_connect(served.port, served.nqn, PATIENT)
    guest.run("nvme disconnect-all")


def start_fio(guest, name, device, seconds):
    """fio that writes and verifies for SECONDS; returns once it has done I/O."""
    # of the path: the kernel counts nothing for the multipath device above it
    stat = re.sub(r".*/(nvme\d+)(n\d+)$", r"/sys/block/\1c*\2/stat", device)
    before = int(guest.check(f"cat {stat}").split()[4])
    job = guest.start(fio_command(name, device, f"--rw=randrw --bs=16k --iodepth=8 --size=32M "
                                  f"--time_based --runtime={seconds} --verify=crc32c "
                                  "--verify_fatal=1 --verify_backlog=64"))
    guest.check(f"while [ $(awk '{{print $5}}' {stat}) -lt {before + 50} ] && "
                f"[ ! -e {job.path}.status ]; do usleep 20000; done")
    assert job.running(), f"fio has ended: {job.output()}"
    return job


def kill_karst(served, signal):
    """Sends SIGNAL; how long until the next karst was started, in seconds."""
    pid = served.agent.check("pidof karst").strip()
    at = float(served.agent.check(f"cut -d' ' -f1 /proc/uptime; kill -{signal} {pid}"))
    served.restarts += 1
    served.wait_ready()
    fresh = served.agent.check("pidof karst").strip()
    assert fresh and fresh != pid
    started = served.agent.check(f"cat /proc/{fresh}/stat").rsplit(")", 1)[1].split()[19]
    return int(started) / 100 - at


@pytest.mark.parametrize("signal,name", [("KILL", "Killed|SIGKILL|signal 9"),
                                         ("SEGV", "Segmentation|SIGSEGV|signal 11"),
                                         ("ABRT", "Abort|SIGABRT|signal 6"),
                                         ("TERM", ".*")])
def test_killed_karst_is_back_at_once_and_hosts_see_no_error(served, guest, devices, signal, name, figure):
    served.allowed = r"last karst|panic|signal"
    job = start_fio(guest, f"kill-{signal}", devices[1], 8)
    delay = kill_karst(served, signal)
    figure(f"SIG{signal}: init started the next karst after {delay:.2f} s")
    assert delay < 5
    job.check()
    result = guest.fio_results(f"kill-{signal}")
    assert result["write"]["total_ios"] > 0
    if signal != "TERM":
        reasons = [text for text in served.log() if "last karst" in text]
        assert reasons and re.search(name, " ".join(reasons)), reasons
    assert not guest.trouble()


def test_stopped_karst_is_found_dead_by_its_heartbeat(served, guest, devices):
    """A karst that does not advance is made to end, and another one serves."""
    job = start_fio(guest, "stopped", devices[1], 10)
    kill_karst(served, "STOP")
    job.check(400)
    assert any("last karst" in text for text in served.log())


def test_drive_unplugged_under_load_ends_its_own_io_only(served, guest, devices):
    served.allowed = r"last karst|panic|signal"
    kept = start_fio(guest, "kept", devices[1], 12)
    lost = start_fio(guest, "lost", devices[2], 12)
    mark = served.console.mark()
    served.vm.qmp("device_del", id="nvme1")
    served.vm.qmp.wait_event("DEVICE_DELETED", lambda data: data.get("device") == "nvme1")
    kept.check()
    assert lost.wait().status != 0
    names = {row["name"] for row in served.ctl("disk list")}
    assert "nvme0n1" in names and "nvme1n1" not in names
    assert "nvme1" in served.console.text_since(mark), "the operator is told"
    assert any("nvme1" in text for text in served.log())
    guest.run("nvme disconnect-all")
    fresh = guest.nvme_connect(served.port, served.nqn, PATIENT)
    assert 1 in fresh and json.dumps(fresh)
    guest.fio("after", fresh[1], "--rw=randwrite --bs=8k --size=4M --iodepth=4 --verify=crc32c")
