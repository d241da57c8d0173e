# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user disks of a guest: QEMU's arguments for them, and what the guest's kernel calls them."""
import itertools


def arguments(kind, name, socket, queues=1, packed=False, options=""):
    """QEMU arguments for the device NAME that karst serves as KIND (blk, scsi) on SOCKET."""
    queue_option = {"blk": "num-queues", "scsi": "num_queues"}[kind]
    return ["-chardev", f"socket,id={name},path={socket},reconnect=1",
            "-device", f"vhost-user-{kind}-pci,id=dev-{name},chardev={name},{queue_option}={queues},"
                       f"packed={'on' if packed else 'off'}{options}"]


def several(*devices):
    """The arguments of several devices, each a tuple for `arguments`."""
    return list(itertools.chain.from_iterable(arguments(*device) for device in devices))


def blk_device(guest, serial):
    """The virtio-blk disk that says SERIAL of itself: /dev/vdX."""
    return guest.check(f"""
        for disk in /sys/block/vd*; do
            [ "$(cat $disk/serial)" = {serial} ] && echo /dev/${{disk##*/}} && exit 0
        done; exit 1""").strip()


def scsi_devices(guest):
    """{(target, LUN): (/dev/sdX, /dev/sgN)} of the guest's SCSI disks."""
    text = guest.check("""
        for unit in /sys/bus/scsi/devices/*:*:*:*; do
            [ -e $unit/block ] || continue
            echo ${unit##*/} $(ls $unit/block) $(ls $unit/scsi_generic)
        done; true""")
    found = {}
    for line in text.splitlines():
        address, block, generic = line.split()
        _, _, target, lun = map(int, address.split(":"))
        found[target, lun] = (f"/dev/{block}", f"/dev/{generic}")
    return found
