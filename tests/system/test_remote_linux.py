# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks against a target that is not ours: the Linux kernel's nvmet-tcp, in the guest."""
from concurrent.futures import ThreadPoolExecutor

import pytest

import nvme_tcp
from conftest import artefact
from guest import Guest
from hosted import Karst
from vm import free_port, wait_for

FAR = "nqn.2026-01.io.karst.test:linux"
NEAR = "nqn.2026-01.io.karst.test:near"

SETUP = f"""set -e
mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
cd /sys/kernel/config/nvmet
mkdir -p subsystems/{FAR}/namespaces/1 ports/1 ports/2
echo 1 > subsystems/{FAR}/attr_allow_any_host
echo -n /dev/ram0 > subsystems/{FAR}/namespaces/1/device_path
echo 1 > subsystems/{FAR}/namespaces/1/enable
for p in 1 2; do
echo 0.0.0.0 > ports/$p/addr_traddr
echo ipv4 > ports/$p/addr_adrfam
echo tcp > ports/$p/addr_trtype
echo $((4419 + p)) > ports/$p/addr_trsvcid
ln -s subsystems/{FAR} ports/$p/subsystems/
done
"""

# A port without its subsystem: its controllers end, and nobody answers there.
CUT = f"rm /sys/kernel/config/nvmet/ports/1/subsystems/{FAR}"
MEND = f"cd /sys/kernel/config/nvmet && ln -s subsystems/{FAR} ports/1/subsystems/"
LOAD = "disk bench farn1 rw=randrw bs=16K qd=16 time=6s verify force"

SCRIPT = f"""
disk attach remote far transport=tcp address=127.0.0.1 port={{far}} nqn={FAR} reconnect=200ms {{words}}
subsystem create {NEAR} allow-any
namespace add {NEAR} disk=farn1
listener add {NEAR} transport=tcp address=127.0.0.1 port={{{{port}}}}
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    guest = Guest(tmp_path_factory.mktemp("linux"), forward=[4420, 4421])
    try:
        guest.load("brd", "nvmet", "nvmet-tcp")
        guest.check(SETUP)
        yield guest
        assert not guest.trouble()
    finally:
        guest.stop()


@pytest.mark.parametrize("words", ["", "hdgst", "ddgst queues=1", "hdgst ddgst depth=4"])
def test_data_is_verified_on_the_linux_target(out, target, tmp_path, words):
    script = SCRIPT.format(far=target.ports[4420], words=words)
    with Karst(artefact(out / "karst", "firmware"), tmp_path, script) as karst:
        assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", karst.port, NEAR)
        with nvme_tcp.Host("127.0.0.1", karst.port, NEAR) as host:
            data = nvme_tcp.pattern(1 << 18, 9)
            host.write(1, 8, data)
            assert host.read(1, 8, 512) == data
            host.write_zeroes(1, 8, 8)
            assert host.read(1, 8, 8) == bytes(4096)
            host.deallocate(1, [(8, 8), (32, 8)])
            host.flush(1)
            host.disconnect()
        rows = karst.ctl("remote show far")
        assert [row["errors"] for row in rows] == [0] and rows[0]["ios"] > 0


def test_namespaces_come_and_go_as_linux_says(out, target, tmp_path):
    script = f"disk attach remote far transport=tcp address=127.0.0.1 port={target.ports[4420]} nqn={FAR}"
    enable = f"/sys/kernel/config/nvmet/subsystems/{FAR}/namespaces/1/enable"
    with Karst(artefact(out / "karst", "firmware"), tmp_path, script, port=free_port()) as karst:
        def names():
            return [row["name"] for row in karst.ctl("disk list")]

        assert names() == ["farn1"]
        target.check(f"echo 0 > {enable}")
        wait_for("the disk leaves", lambda: names() == [], karst.process, 30)
        target.check(f"echo 1 > {enable}")
        wait_for("the disk comes back", lambda: names() == ["farn1"], karst.process, 30)


@pytest.mark.parametrize("paths", [1, 2])
def test_paths_to_linux_are_lost_under_a_verified_load(out, target, tmp_path, paths):
    """With one path the load waits until it is back, with two it goes the other way."""
    script = "\n".join(
        f"disk attach remote {name} transport=tcp address=127.0.0.1 port={target.ports[port]} nqn={FAR} "
        "reconnect=200ms" for name, port in (("far", 4420), ("other", 4421))[:paths])
    with Karst(artefact(out / "karst", "firmware"), tmp_path, script, port=free_port()) as karst:
        def rows():
            return {row["path"]: row for row in karst.ctl("remote show")}

        assert len(rows()) == paths and len(karst.ctl("disk list")) == 1
        with ThreadPoolExecutor(1) as pool:
            load = pool.submit(karst.ctl, LOAD)
            try:
                wait_for("the load", lambda: load.done() or rows()["far"]["ios"] > 100, karst.process)
                target.check(CUT)
                wait_for("the loss", lambda: rows()["far"]["state"] == "reconnecting", karst.process)
                if paths == 2:
                    before = rows()["other"]["ios"]
                    wait_for("the other way", lambda: rows()["other"]["ios"] > before + 100, karst.process)
            finally:
                target.check(MEND)
            wait_for("the way back", lambda: rows()["far"]["state"] == "live", karst.process)
            done = load.result(60)[-1]
        assert done["verified"] > 0, done
        assert all(row["errors"] == 0 for row in rows().values())
