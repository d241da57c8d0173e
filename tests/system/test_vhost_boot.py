# SPDX-License-Identifier: BSD-3-Clause
"""A stock Debian guest boots from a disk that karst serves by vhost-user: firmware, GRUB, kernel and root."""
import pytest

import boot_disk
import guest_image
from conftest import artefact
from guest import Guest
from hosted import Karst
from vhost_guest import Device, arguments

SCRIPT = """
disk create file boot path={boot}
disk create file root path={root} readonly
vhost create blk boot disk=boot socket={{folder}}/boot.sock queues=2
vhost create blk root disk=root socket={{folder}}/root.sock queues=2
vhost create scsi both socket={{folder}}/both.sock queues=2
vhost target add both 0 disk=boot
vhost target add both 1 disk=root
"""


@pytest.mark.parametrize("kind", ["blk", "scsi"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_guest_boots_from_its_vhost_disk(images, tmp_path, firmware, kind):
    root = {"blk": "/dev/vdb", "scsi": "/dev/sdb"}[kind]
    boot = boot_disk.make(images, tmp_path, root)
    script = SCRIPT.format(boot=boot, root=guest_image.build() / "root.img")
    with Karst(artefact(images / "karst", "firmware"), tmp_path / "karst", script) as karst:
        socket = karst.folder
        devices = {"blk": [Device("blk", socket / "boot.sock", 0x10, 2, False, ",bootindex=1"),
                           Device("blk", socket / "root.sock", 0x11, 2)],
                   "scsi": [Device("scsi", socket / "both.sock", 0x10, 2, False, ",bootindex=1")]}[kind]
        guest = Guest(tmp_path / "guest", boot_from=boot_disk.firmware(firmware, tmp_path), extra=arguments(devices))
        try:
            assert f"root={root}" in guest.check("cat /proc/cmdline")
            assert guest.check("ls /sys/firmware").split().count("efi") == (firmware == "uefi")
            assert guest.trouble() == []
        finally:
            guest.stop()
