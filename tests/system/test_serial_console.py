# SPDX-License-Identifier: BSD-3-Clause
"""The serial console: garbage, wrong values, and a configuration that survives every power cut."""
import re
import struct
import subprocess

import pytest

import nvme_tcp
import qemu
from appliance import Appliance, CommandError

SUBSYSTEM = "nqn.2026-01.io.karst.test:console"


@pytest.fixture(scope="module")
def appliance(images, tmp_path_factory):
    with Appliance(images, tmp_path_factory.mktemp("console")) as machine:
        yield machine


def noise(size, seed):
    out = bytearray()
    while len(out) < size:
        seed = (seed * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        out += struct.pack("<Q", seed)
    return bytes(out[:size])


@pytest.mark.deadline(900)
def test_a_million_bytes_of_garbage_do_no_harm(appliance):
    nqn = nvme_tcp.discover("127.0.0.1", appliance.port)[-1].subnqn
    before = appliance.ctl("config show")
    with nvme_tcp.Host("127.0.0.1", appliance.port, nqn) as host:
        garbage = noise(1000000, 2026)
        for start in range(0, len(garbage), 50000):
            appliance.console.send(garbage[start:start + 50000])
            assert len(host.read(1, 0, 8)) == 4096
        # out of whatever the noise has opened: quotes, searches, pagers, live screens
        appliance.console.send("\x03q\x03q\x03\r\x03\r")
        mark = appliance.console.mark()
        appliance.console.send("\x15system version | json\r")
        appliance.console.expect(r'^\{"ok":true.*\}\r?\n', 120, since=mark)
        assert len(host.read(1, 0, 8)) == 4096
    appliance.console.send("\r")
    appliance.console.expect("karst> ", 30)
    assert appliance.ctl("config show") == before


@pytest.mark.parametrize("command,name", [
    ("disk attach 0000:77:00.0", "0000:77:00.0"),
    ("disk create ram x size=1Z", "size"),
    ("disk show nvme7n1", "nvme7n1"),
    ("namespace add nqn.2026-01.io.karst.test:none disk=nvme0n1",
     "nqn.2026-01.io.karst.test:none"),
    ("address add eth9 10.0.0.300/24", "10.0.0.300/24"),
    ("address add eth9 10.0.0.3/24", "eth9"),
    ("disk format nvme0n1", "force"),
    ("system frobnicate", "frobnicate"),
])
def test_wrong_value_is_rejected_by_name_at_the_prompt(appliance, command, name):
    with pytest.raises(CommandError) as refused:
        appliance.ctl(command)
    assert name in refused.value.text


def test_help_and_abbreviations_work_at_the_prompt(appliance):
    mark = appliance.console.mark()
    appliance.console.send("help\r")
    appliance.console.expect("subsystem", 30, since=mark)
    appliance.console.send("q\x15\r")
    appliance.console.expect("karst> ")
    assert appliance.ctl("dis li") == appliance.ctl("disk list")


def test_log_shows_how_the_machine_came_up(appliance):
    assert any("nvme0n1" in text for text in appliance.log())


def test_idle_appliance_hardly_uses_its_reactors(appliance, figure):
    with pytest.raises(subprocess.TimeoutExpired):
        appliance.vm.process.wait(5)
    rows = appliance.ctl("reactor show")
    assert rows
    for row in rows:
        figure(f"idle reactor {row['reactor']}: {row['cpu']} % of a core")
        assert row["cpu"] < 25, "asleep, not spinning"


# config save

def add_subsystem(appliance, serial):
    names = [row["nqn"] for row in appliance.ctl("subsystem list")]
    if SUBSYSTEM in names:
        appliance.ctl(f"subsystem delete {SUBSYSTEM} force")
    appliance.ctl(f"subsystem create {SUBSYSTEM} serial={serial} allow-any")


def serial_of(appliance):
    for row in appliance.ctl("config show"):
        match = re.search(rf"subsystem create {re.escape(SUBSYSTEM)} .*serial=(\w+)", row["text"])
        if match:
            return match.group(1)
    return None


def test_saved_configuration_survives_power_cuts_and_damage(images, tmp_path):
    disk = tmp_path / "boot.img"
    with Appliance(images, tmp_path) as first:
        add_subsystem(first, "FIRST")
        first.ctl("config save")
        add_subsystem(first, "SECOND")
        first.ctl("config save")
        assert not first.ctl("config diff")
        add_subsystem(first, "UNSAVED")
        first.cut_power()
    with Appliance(images, tmp_path, disk=disk) as second:
        assert serial_of(second) == "SECOND"

    image = disk.read_bytes()
    newest = image.index(b"serial=SECOND")
    assert b"serial=FIRST" in image, "the copy before is kept"
    with open(disk, "r+b") as file:
        file.seek(newest + 7)
        file.write(b"DAMAGE")
    with Appliance(images, tmp_path, disk=disk) as third:
        assert serial_of(third) == "FIRST", "the newest valid copy wins"
        assert "failed" not in third.ready

    oldest = image.index(b"serial=FIRST")
    with open(disk, "r+b") as file:
        file.seek(oldest + 7)
        file.write(b"XXXXX")
    with Appliance(images, tmp_path, disk=disk) as fourth:
        assert serial_of(fourth) is None, "the script of the image is used"
        assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", fourth.port)


@pytest.mark.parametrize("wait", [0, 1, 2], ids="power-cut-{}".format)
def test_power_cut_while_saving_leaves_one_whole_configuration(images, tmp_path, wait):
    """The boot disk is slow, so that the cut comes while the save is under way."""
    with Appliance(images, tmp_path) as first:
        add_subsystem(first, "BEFORE")
        first.ctl("config save")
        add_subsystem(first, "AFTER")
        first.vm.qmp("block_set_io_throttle", device="boot", bps=0,
                     bps_rd=0, bps_wr=0, iops=0, iops_rd=0, iops_wr=1)
        first.console.send("config save\r")
        for _ in range(wait):
            first.vm.qmp("query-status")
        first.cut_power()
    with Appliance(images, tmp_path, disk=tmp_path / "boot.img") as second:
        assert serial_of(second) in ("BEFORE", "AFTER")
        assert "failed" not in second.ready


def test_failing_command_at_boot_is_told_and_the_rest_goes_on(images, tmp_path):
    with Appliance(images, tmp_path) as first:
        nqn = nvme_tcp.discover("127.0.0.1", first.port)[-1].subnqn
        first.ctl("config save")

    drive = [(qemu.sparse_file(tmp_path / "nvme0.img", qemu.DRIVE_BYTES), 512)]
    with Appliance(images, tmp_path, disk=tmp_path / "boot.img", drives=drive) as second:
        failed = int(second.ready["failed"])
        assert failed >= 1
        above = second.console.text[:second.console.at]
        assert re.search(r"nvme1n1|failed", above.split("READY")[1]), "told above the prompt"
        boot = second.ctl("system boot")[0]
        assert boot["commands_failed"] == failed
        assert any("nvme1n1" in text for text in second.log())
        with nvme_tcp.Host("127.0.0.1", second.port, nqn) as host:
            assert host.active_namespaces() == [1]
            assert len(host.read(1, 0, 8)) == 4096
