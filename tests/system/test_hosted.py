# SPDX-License-Identifier: BSD-3-Clause
"""karst as an ordinary process: starting, being asked, saving, idling, ending."""
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst
from vm import free_port

NQN = "nqn.2026-01.io.karst.test:hosted"
SCRIPT = f"""
# a comment, and an empty line

disk create ram r0 size=64M
disk create ram r1 size=64M block=4096
disk create null n0 size=1G block=4096
subsystem create {NQN} allow-any
namespace add {NQN} disk=r0
namespace add {NQN} disk=r1
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "karst", "firmware")


@pytest.fixture(scope="module")
def karst(binary, tmp_path_factory):
    with Karst(binary, tmp_path_factory.mktemp("hosted"), SCRIPT) as process:
        yield process


def passes(process, seconds):
    """Lets SECONDS pass while PROCESS goes on."""
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)


def test_ready_line_tells_the_stages_of_the_start(karst):
    words = dict(word.split("=") for word in karst.ready.group().split()[1:])
    assert {"t_ms", "dma", "modules", "script"} <= set(words)
    assert "failed" not in words
    assert all(value.isdigit() for value in words.values())


def test_smoke_from_the_command_line_of_the_client(karst):
    for verb, text in (("discover", NQN), ("smoke", "smoke: PASS")):
        done = subprocess.run(["/usr/bin/python3", nvme_tcp.__file__, verb, "127.0.0.1",
                               str(karst.port)], text=True, capture_output=True, timeout=120,
                              check=False)
        assert done.returncode == 0 and text in done.stdout, done.stdout + done.stderr


def test_ctl_prints_a_table_and_json_of_the_same_rows(karst):
    table = karst.ctl_run("disk", "list")
    assert table.returncode == 0 and not table.stderr
    answer = json.loads(karst.ctl_run("-j", "disk", "list").stdout)
    assert answer["ok"] is True
    names = [row["name"] for row in answer["rows"]]
    assert {"r0", "n0"} <= set(names)
    for name in names:
        assert name in table.stdout
    assert karst.ctl_run("disk list | json").stdout == karst.ctl_run("-j", "disk list").stdout


def test_ctl_filters_rows(karst):
    assert "n0" not in karst.ctl_run("disk list | match r0").stdout
    assert karst.ctl_run("disk list | count").stdout.split()[-1].isdigit()


@pytest.mark.parametrize("command,name", [
    ("disk show nothere", "nothere"),
    ("disk create ram r0 size=1M", "r0"),
    ("disk create ram x size=12Q", "size"),
    ("disk create ram x size=1M block=513", "block"),
    ("disk create ram x", "size"),
    ("disk create ram x size=1M sise=2M", "sise"),
    ("disk frobnicate", "frobnicate"),
    ("frobnicate", "frobnicate"),
    ("subsystem create notannqn", "notannqn"),
    (f"subsystem create {NQN}", NQN),
    (f"namespace add {NQN} disk=nothere", "nothere"),
    (f"namespace add {NQN} disk=r0 nsid=0", "nsid"),
    (f"namespace add {NQN} disk=r0 nsid=1", "1"),
    (f"namespace add {NQN}x disk=r0", NQN + "x"),
    (f"namespace remove {NQN} 77", "77"),
    (f"listener add {NQN} transport=tcp address=127.0.0.1 port=65536", "port"),
    (f"listener add {NQN} transport=tcp address=127.0.0.300", "address"),
    (f"listener add {NQN} transport=smoke address=127.0.0.1", "transport"),
    (f"host allow {NQN} nothost", "nothost"),
    ("disk detach nothere", "nothere"),
])
def test_wrong_value_is_rejected_by_name(karst, command, name):
    with pytest.raises(CtlError) as refused:
        karst.ctl(command)
    assert name in refused.value.text
    assert refused.value.code and refused.value.code.startswith("E")
    plain = karst.ctl_run(command)
    assert plain.returncode == 1
    assert "error: " in plain.stdout + plain.stderr and name in plain.stdout + plain.stderr


def test_listener_of_an_address_that_is_not_here_is_told_and_tried_again(karst):
    where = "transport=tcp address=203.0.113.7 port=4420"
    told = karst.ctl(f"listener add {NQN} {where}")
    assert "203.0.113.7" in json.dumps(told)
    states = [row["state"] for row in karst.ctl("listener list")
              if "203.0.113.7" in json.dumps(row)]
    assert len(states) == 1 and "retrying" in states[0]
    karst.ctl(f"listener remove {NQN} {where}")


def test_ctl_without_a_karst_fails_and_names_the_socket(binary, tmp_path):
    missing = tmp_path / "nobody.sock"
    done = subprocess.run([binary, "ctl", "-s", missing, "system", "version"], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert str(missing) in done.stdout + done.stderr


def test_version_and_help_need_no_karst(binary):
    for option in ("--version", "--help"):
        done = subprocess.run([binary, option], text=True, capture_output=True, timeout=60,
                              check=False)
        assert done.returncode == 0 and "karst" in done.stdout
    assert subprocess.run([binary, "--nonsense"], capture_output=True, timeout=60,
                          check=False).returncode == 2


@pytest.mark.parametrize("line,name", [
    ("disk create ram r1 size=banana", "size"),
    ("disk creat ram r1 size=1M", "creat"),
    ("namespace add nqn.2026-01.io.karst.test:none disk=r0", "nqn.2026-01.io.karst.test:none"),
])
def test_wrong_line_of_the_script_is_told_with_file_and_line_and_the_rest_goes_on(
        binary, tmp_path, line, name):
    script = f"disk create ram r0 size=1M\n\n{line}\ndisk create ram r2 size=1M\n"
    with Karst(binary, tmp_path, script) as karst:
        assert "failed=1" in karst.ready.group()
        told = [row["text"] for row in karst.ctl("log show") if row["level"] == "error"]
        assert len(told) == 1 and "startup.rc:3" in told[0] and name in told[0], told
        assert karst.ctl("system boot")[0]["commands_failed"] == 1
        assert {"r0", "r2"} <= {row["name"] for row in karst.ctl("disk list")}


def test_script_that_is_not_there_ends_a_hosted_karst(binary, tmp_path):
    missing = tmp_path / "missing.rc"
    done = subprocess.run([binary, "-f", missing, "-s", tmp_path / "s", "--no-huge"], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and str(missing) in done.stdout + done.stderr
    assert "READY" not in done.stdout


def test_idle_karst_burns_less_than_a_tenth_of_a_second_in_five(karst, figure):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=4):
        before = karst.cpu_seconds()
        passes(karst.process, 5)
        burnt = karst.cpu_seconds() - before
    figure(f"idle hosted karst with a connected host: {burnt:.2f} CPU seconds in 5 s")
    assert burnt < 0.1


def test_karst_needs_no_root(binary):
    folder = Path(tempfile.mkdtemp(prefix="karst-nobody-"))
    try:
        folder.chmod(0o777)
        copy = shutil.copy(binary, folder / "karst")
        user = "nobody" if os.geteuid() == 0 else None
        with Karst(copy, folder, SCRIPT, user=user) as karst:
            assert os.stat(f"/proc/{karst.process.pid}").st_uid != 0 or user is None
            with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
                data = nvme_tcp.pattern(1 << 20, 77)
                host.write(1, 0, data[:1 << 19])
                assert host.read(1, 0, 1 << 10) == data[:1 << 19]
    finally:
        shutil.rmtree(folder)


def test_second_karst_on_the_same_socket_is_refused(karst):
    done = subprocess.run([karst.binary, "-s", karst.socket, "--no-huge"], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode != 0 and str(karst.socket) in done.stdout + done.stderr
    assert karst.ctl("system version")


def test_killed_karst_can_be_started_again_on_its_socket_and_port(binary, tmp_path):
    first = Karst(binary, tmp_path, SCRIPT)
    with nvme_tcp.Host("127.0.0.1", first.port, NQN):
        first.kill()
    with Karst(binary, tmp_path, SCRIPT, port=first.port) as second:
        with nvme_tcp.Host("127.0.0.1", second.port, NQN) as host:
            assert host.active_namespaces() == [1, 2]


def test_karst_ends_in_order_while_hosts_are_connected_and_io_is_open(binary, tmp_path):
    karst = Karst(binary, tmp_path, SCRIPT)
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, depth=64) as host:
        for i in range(60):
            host.io[0].submit(host.rw(1, 1, 8 * i, 128), bytes(65536))
        karst.stop()


def test_saved_configuration_is_used_by_the_next_start(binary, tmp_path):
    state = tmp_path / "state"
    port = free_port()
    with Karst(binary, tmp_path / "a", SCRIPT, ["--state", state], port=port) as karst:
        karst.ctl(f"subsystem create {NQN}-saved serial=SAVED1 allow-any")
        karst.ctl("config save")
        shown = [row["text"] for row in karst.ctl("config show")]
    with Karst(binary, tmp_path / "b", None, ["--state", state]) as karst:
        assert [row["text"] for row in karst.ctl("config show")] == shown
        names = [row["nqn"] for row in karst.ctl("subsystem list")]
        assert {NQN, NQN + "-saved"} <= set(names)
        with nvme_tcp.Host("127.0.0.1", port, NQN) as host:
            assert host.active_namespaces() == [1, 2]


def test_running_configuration_can_be_pasted_back(karst, binary, tmp_path):
    shown = [row["text"] for row in karst.ctl("config show")]
    port = free_port()
    script = "\n".join(shown).replace(f"port={karst.port}", f"port={port}")
    with Karst(binary, tmp_path, script.replace("{", "{{").replace("}", "}}")) as twin:
        again = [row["text"] for row in twin.ctl("config show")]
    assert [line.replace(f"port={port}", f"port={karst.port}") for line in again] == shown


def test_a_long_path_is_whole_in_the_configuration(binary, tmp_path):
    folder = tmp_path.joinpath(*["d" * 200] * 6)
    folder.mkdir(parents=True)
    with Karst(binary, tmp_path, "") as karst:
        karst.ctl(f"disk create file long path={folder}/disk size=1M")
        assert f" path={folder}/disk " in karst.ctl_run("config", "show").stdout


def test_file_disk_keeps_its_data_over_a_restart(binary, tmp_path):
    script = f"""
disk create file f0 path={{folder}}/disk.bin size=64M block=4096
subsystem create {NQN} allow-any
namespace add {NQN} disk=f0
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""
    data = nvme_tcp.pattern(1 << 20, 4711)
    with Karst(binary, tmp_path, script) as karst:
        with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
            assert host.namespace(1).block_bytes == 4096
            host.write(1, 100, data, 4096)
            host.flush(1)
    with Karst(binary, tmp_path, script) as karst:
        with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
            assert host.read(1, 100, 256, 4096) == data
