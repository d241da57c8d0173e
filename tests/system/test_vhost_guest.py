# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user disks in a stock Debian guest: RAM disks, files and volumes as virtio-blk and virtio-scsi, with both kinds
of rings, one queue and four. One guest has all of the devices."""
import re

import pytest

from conftest import artefact
from guest import Guest
from hosted import Karst
from vhost_guest import Device, Load, arguments, goes_on, sectors
from vm import wait_for

SCRIPT = """
disk create ram r0 size=64M
disk create ram r1 size=64M block=4096
disk create ram r2 size=64M
disk create ram r3 size=16M
disk create ram r4 size=16M
disk create file f0 path={folder}/f0.img size=64M
disk create file pool path={folder}/pool.img size=512M
store create p disk=pool cluster=1M
volume create p/a size=64M thin
volume create p/b size=64M thin
volume create p/c size=64M thin
vhost create blk split1 disk=r0 socket={folder}/split1.sock queues=1
vhost create blk split4 disk=p/a socket={folder}/split4.sock queues=4
vhost create blk packed1 disk=f0 socket={folder}/packed1.sock queues=1
vhost create blk packed4 disk=r1 socket={folder}/packed4.sock queues=4
vhost create blk ro disk=r3 readonly socket={folder}/ro.sock queues=1
vhost create scsi one socket={folder}/one.sock queues=1
vhost create scsi four socket={folder}/four.sock queues=4
vhost target add one 0 disk=p/b
vhost target add four 0 disk=p/c
vhost target add four 1 disk=r2
"""
DEVICES = {name: (kind, slot, queues, packed) for slot, (name, kind, queues, packed) in enumerate([
    ("split1", "blk", 1, False), ("split4", "blk", 4, False), ("packed1", "blk", 1, True), ("packed4", "blk", 4, True),
    ("ro", "blk", 1, False), ("one", "scsi", 1, False), ("four", "scsi", 4, False)], 0x10)}
KARST_ARGS = ("-c", "0,1")


class Machine:
    """The guest, the karst that serves it, and the devices between them."""

    def __init__(self, binary, folder):
        self.karst = Karst(binary, folder / "karst", SCRIPT, KARST_ARGS)
        self.device = {name: Device(kind, self.karst.folder / f"{name}.sock", slot, queues, packed)
                       for name, (kind, slot, queues, packed) in DEVICES.items()}
        try:
            self.guest = Guest(folder / "guest", cpus=4, extra=arguments(self.device.values()), reboots=True)
            self.guest.load("virtio_scsi", "sd_mod", "sg")
        except BaseException:
            self.karst.kill()
            raise

    def path(self, name, target=0, lun=0):
        return self.device[name].path(self.guest, target, lun)

    def stop(self):
        self.guest.stop()
        self.karst.stop()


@pytest.fixture(scope="module")
def machine(out, tmp_path_factory):
    machine = Machine(artefact(out / "karst", "firmware"), tmp_path_factory.mktemp("vhost"))
    yield machine
    machine.stop()


@pytest.fixture(autouse=True)
def healthy(machine):
    """Whatever a test does, the guest's kernel finds nothing wrong but what the test expects."""
    before = len(machine.guest.trouble())
    machine.expected = None
    yield
    found = [line for line in machine.guest.trouble()[before:]
             if not (machine.expected and re.search(machine.expected, line))]
    assert not found, "\n".join(found)


def queues(machine, name):
    return {row["queue"]: row for row in machine.karst.ctl(f"vhost queues {name}")}


VERIFY = ("--rw=randwrite --bsrange=4k-64k --size=8M --verify=crc32c --verify_fatal=1 --iodepth=16 --numjobs=4 "
          "--offset_increment=8M --cpus_allowed=0-3 --cpus_allowed_policy=split")


@pytest.mark.parametrize("name", ["split1", "split4", "packed1", "packed4", "one", "four"])
def test_data_that_is_written_is_read_back_through_every_queue(machine, name):
    kind, _, count, packed = DEVICES[name]
    device = machine.device[name]
    first = 0 if kind == "blk" else 2
    machine.guest.fio(name, device.path(machine.guest), VERIFY)
    rows = queues(machine, name)
    shown = machine.karst.ctl(f"vhost show {name}")[0]
    assert shown["guest"] == "connected" and shown["memory"] == "copied for devices"
    assert sorted(rows) == list(range(first + count))
    assert {row["ring"] for row in rows.values()} == {"packed" if packed else "split"}
    assert {row["state"] for row in rows.values()} == {"running"}
    for queue in range(first, first + count):
        assert rows[queue]["served"] > 0, rows[queue]
    if count > 1:
        assert {row["reactor"] for row in rows.values()} == {0, 1}, "queues are spread over the reactors"


@pytest.mark.parametrize("name", ["split4", "packed4", "four"])
def test_file_system_on_a_disk_is_whole(machine, name):
    guest, path = machine.guest, machine.path(name)
    guest.check(f"""set -e
        mkfs.ext4 -q -F {path}
        mount -t ext4 {path} /mnt
        cp -r /usr/bin /mnt/copy
        (cd /mnt/copy; md5sum *) > /tmp/sums
        umount /mnt
        e2fsck -fn {path}
        mount -t ext4 -o ro {path} /mnt
        (cd /mnt/copy; md5sum -c /tmp/sums) > /dev/null
        umount /mnt""")


def test_a_guest_can_only_read_a_disk_that_is_read_only(machine):
    path = machine.path("ro")
    assert machine.guest.check(f"cat /sys/block/{path[5:]}/ro").strip() == "1"
    machine.guest.check(f"dd if={path} of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null")
    result = machine.guest.run(f"dd if=/dev/zero of={path} bs=4k count=1 oflag=direct")
    assert result.status != 0, result.output


MIB = 1 << 20


def own(machine, volume):
    """Bytes of its store that a volume takes."""
    return machine.karst.ctl(f"volume show {volume}")[0]["own"]


@pytest.mark.parametrize("name,volume", [("split4", "p/a"), ("four", "p/c")])
def test_space_that_the_guest_gives_back_is_free_again(machine, name, volume):
    guest, path = machine.guest, machine.path(name)
    guest.check(f"dd if=/dev/urandom of={path} bs=1M count=32 oflag=direct 2>/dev/null")
    before = own(machine, volume)
    guest.check(f"/sbin/blkdiscard -o 0 -l 16777216 {path}")
    assert own(machine, volume) <= before - 16 * MIB
    guest.check(f"/sbin/blkdiscard -z -o 16777216 -l 8388608 {path}")
    left = guest.check(f"dd if={path} bs=1M skip=16 count=8 iflag=direct 2>/dev/null | tr -d '\\000' | wc -c")
    assert left.strip() == "0", "zeroes were written"
    left = guest.check(f"dd if={path} bs=1M skip=24 count=8 iflag=direct 2>/dev/null | tr -d '\\000' | wc -c")
    assert int(left) > 8000000, "and nothing else"


@pytest.mark.parametrize("name,disk", [("packed1", "f0"), ("four", "p/c")])
def test_flushes_of_the_guest_reach_the_disk(machine, name, disk):
    def flushes():
        return sum(row["ops"] for row in machine.karst.ctl(f"stats show {disk}") if row["class"] == "flush")

    before = flushes()
    machine.guest.fio(f"flush-{name}", machine.path(name), "--rw=write --bs=64k --size=1M --fsync=4")
    assert flushes() >= before + 3


@pytest.mark.parametrize("name,volume", [("split4", "p/a"), ("four", "p/c")])
def test_a_guest_sees_its_disk_grow(machine, name, volume):
    path = machine.path(name)
    assert sectors(machine.guest, path) == 64 << 11
    machine.karst.ctl(f"volume resize {volume} size=96M")
    wait_for("the size in the guest", lambda: sectors(machine.guest, path) == 96 << 11, machine.guest.vm.process)
    machine.guest.check(f"echo end | dd of={path} bs=4096 seek={(96 << 8) - 1} conv=sync oflag=direct 2>/dev/null")


def test_scsi_targets_come_and_go_while_the_guest_runs(machine):
    guest, device, ctl = machine.guest, machine.device["four"], machine.karst.ctl
    load = Load(guest, device.path(guest, 1))
    ctl("vhost target add four 200 disk=r4")
    ctl("vhost target add four 200 disk=r3 lun=7")
    guest.check(f"dd if={device.path(guest, 200, 0)} of=/dev/null bs=64k count=8 2>/dev/null")
    path = device.path(guest, 200, 7)
    guest.check(f"dd if=/dev/urandom of={path} bs=64k count=8 oflag=direct 2>/dev/null")
    ctl("vhost target remove four 200 lun=7")
    wait_for("one unit less", lambda: (200, 7) not in device.units(guest), guest.vm.process)
    assert (200, 0) in device.units(guest)
    ctl("vhost target remove four 200")
    wait_for("the target gone", lambda: (200, 0) not in device.units(guest), guest.vm.process)
    load.stop()


@pytest.mark.deadline(300)
def test_a_guest_that_reboots_under_load_finds_its_disks_again(machine):
    guest = machine.guest
    names = ["packed1", "split4", "four"]
    for name in names:
        Load(guest, machine.path(name))
    goes_on(machine.karst, names)
    guest.vm.qmp("system_reset")
    guest.rebooted()
    guest.load("virtio_scsi", "sd_mod", "sg")
    for name in names:
        guest.fio(f"{name}-again", machine.path(name), VERIFY)
        assert machine.karst.ctl(f"vhost show {name}")[0]["guest"] == "connected"
