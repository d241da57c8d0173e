# SPDX-License-Identifier: BSD-3-Clause
"""A guest under load whose karst is killed and started again sees slow disks and no error; its disks may be in another
karst, which is killed too."""
import pytest

from conftest import artefact
from guest import Guest
from hosted import Karst
from test_faults import kill_karst
from vhost_guest import Device, Load, arguments, goes_on

DISKS = """
disk create file f0 path={folder}/f0.img size=32M
disk create file pool path={folder}/pool.img size=128M
"""
STORE = """
store create p disk=pool cluster=1M
volume create p/a size=32M thin
"""
EXPORTS = """
vhost create blk file disk=f0 socket={folder}/file.sock queues=4
vhost create blk volume disk=p/a socket={folder}/volume.sock queues=1
"""
NAMES = ["file", "volume"]


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "karst", "firmware")


@pytest.mark.deadline(300)
def test_guest_under_load_survives_kills_of_karst(binary, tmp_path):
    karst = Karst(binary, tmp_path / "karst", DISKS + STORE + EXPORTS, ("-c", "0,1"))
    devices = [Device("blk", karst.folder / "file.sock", 0x10, 4), Device("blk", karst.folder / "volume.sock", 0x11, 1, True)]
    guest = Guest(tmp_path / "guest", cpus=4, extra=arguments(devices))
    try:
        loads = [Load(guest, device.path(guest)) for device in devices]
        for _ in range(3):
            goes_on(karst, NAMES)
            karst.kill()
            karst = Karst(binary, karst.folder, DISKS + "store load disk=pool" + EXPORTS, ("-c", "0,1"))
            goes_on(karst, NAMES)
        for load in loads:
            load.stop()
        assert guest.trouble() == []
    finally:
        guest.stop()
    karst.stop()


@pytest.mark.deadline(300)
def test_guest_on_a_remote_drive_survives_kills_of_the_appliance(served, binary, tmp_path):
    served.allowed = "last karst|signal"
    script = (f"disk attach remote far transport=tcp address=127.0.0.1 port={served.port} nqn={served.nqn} reconnect=50ms\n"
              "vhost create blk far disk=farn1 socket={folder}/far.sock queues=2")
    with Karst(binary, tmp_path / "karst", script, ("-c", "0,1")) as karst:
        device = Device("blk", karst.folder / "far.sock", 0x10, 2)
        guest = Guest(tmp_path / "guest", cpus=2, extra=device.arguments())
        try:
            path = device.path(guest)
            guest.check(f"mkfs.ext4 -q -F -E nodiscard {path} 64M && mount -t ext4 {path} /mnt && cp -r /usr/bin/fio /mnt/copy")
            load = Load(guest, "/mnt/load")
            for _ in range(2):
                goes_on(karst, ["far"])
                kill_karst(served, "KILL")
                goes_on(karst, ["far"])
            load.stop()
            guest.check(f"cmp /usr/bin/fio /mnt/copy && umount /mnt && e2fsck -fn {path}")
            assert karst.ctl("remote list")[0]["reconnects"] == 2
            assert guest.trouble() == []
        finally:
            guest.stop()
