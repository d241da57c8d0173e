# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves from one QEMU to another while it writes to its disks and reads them back."""
import pytest

from conftest import artefact
from guest import Guest
from hosted import Karst
from vhost_guest import Device, Load, arguments, goes_on, migrate

SCRIPT = """
disk create ram r0 size=32M
disk create ram r1 size=32M
vhost create blk blk-a disk=r0 socket={folder}/blk-a.sock queues=2
vhost create blk blk-b disk=r0 socket={folder}/blk-b.sock queues=2
vhost create scsi scsi-a socket={folder}/scsi-a.sock queues=2
vhost target add scsi-a 3 disk=r1
vhost create scsi scsi-b socket={folder}/scsi-b.sock queues=2
vhost target add scsi-b 3 disk=r1
"""


def devices(karst, side, packed):
    return [Device("blk", karst.folder / f"blk-{side}.sock", 0x10, 2, packed),
            Device("scsi", karst.folder / f"scsi-{side}.sock", 0x11, 2)]


@pytest.mark.deadline(300)
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_guest_moves_to_another_qemu_under_load(out, tmp_path, packed):
    with Karst(artefact(out / "karst", "firmware"), tmp_path / "karst", SCRIPT, ("-c", "0,1")) as karst:
        address = f"unix:{tmp_path}/move"
        source = Guest(tmp_path / "source", cpus=2, memory_mib=384, extra=arguments(devices(karst, "a", packed)))
        target = None
        try:
            source.load("virtio_scsi", "sd_mod", "sg")
            paths = [device.path(source, 3 * (device.kind == "scsi")) for device in devices(karst, "a", packed)]
            loads = [Load(source, path) for path in paths]
            goes_on(karst, ["blk-a", "scsi-a"])
            target = Guest(tmp_path / "target", cpus=2, memory_mib=384,
                           extra=[*arguments(devices(karst, "b", packed)), "-incoming", address])
            migrate(source, target, address)
            goes_on(karst, ["blk-b", "scsi-b"])
            source.stop()
            for load in loads:
                load.moved(target)
                load.stop()
            assert target.trouble() == []
        finally:
            source.stop()
            if target:
                target.stop()
