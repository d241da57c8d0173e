# SPDX-License-Identifier: BSD-3-Clause
"""virtio-scsi of a hosted karst, driven by a guest of our own: commands, sense data, task management, targets
that come and go, reservations."""
import os
import struct

import pytest

import vhost_user as vu
from conftest import artefact
from hosted import Karst
from vhost_user import Blk, Scsi

SCRIPT = """
disk create ram r0 size=16M
disk create ram r1 size=16M block=4096
disk create ram r2 size=8M
vhost create blk b0 disk=r0 socket={folder}/b0.sock queues=1
vhost create scsi s0 socket={folder}/s0.sock queues=2
vhost target add s0 0 disk=r0
vhost target add s0 5 disk=r1 lun=3
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


@pytest.fixture(scope="module")
def karst(binary, tmp_path_factory):
    with Karst(binary, tmp_path_factory.mktemp("vhost-scsi"), SCRIPT, ("-c", "0,1")) as karst:
        yield karst


@pytest.fixture
def scsi(karst):
    with Scsi(karst.folder / "s0.sock") as front:
        front.start(queues=4)
        for target, lun in ((0, 0), (5, 3)):
            assert sense(front.cdb([0] * 6, target=target, lun=lun)) == (6, 0x2900), "power on"
        yield front


def sense(answer):
    """(key, code) of a CHECK CONDITION."""
    response, status, data, _, _ = answer
    assert (response, status) == (0, 2), answer
    return data[2] & 15, struct.unpack(">H", data[12:14])[0]


def test_scsi_commands_reach_the_right_unit(karst, scsi):
    assert scsi.cdb([0x12, 0, 0, 0, 36, 0], length=36)[3][8:16] == b"KARST   "
    capacity = scsi.cdb([0x9e, 0x10] + [0] * 11 + [32, 0, 0], length=32, target=5, lun=3)[3]
    assert struct.unpack(">QI", capacity[:12]) == (4095, 4096)
    data = os.urandom(8192)
    write = bytes([0x2a, 0]) + struct.pack(">IBH", 16, 0, 16) + b"\0"
    read = bytes([0x28]) + write[1:]
    assert scsi.cdb(write, data)[:2] == (0, 0)
    assert scsi.cdb(read, length=8192, queue=3)[3] == data
    with Blk(karst.folder / "b0.sock") as guest:
        guest.start()
        assert guest.read(16, 8192) == data, "one disk, two ways to it"


def test_scsi_refuses_with_the_right_sense_data(scsi):
    read = lambda lba, count: bytes([0x28, 0]) + struct.pack(">IBH", lba, 0, count) + b"\0"
    assert sense(scsi.cdb(read(16 << 11, 1), length=512)) == (5, 0x2100)
    assert sense(scsi.cdb([0xff])) == (5, 0x2000)
    assert sense(scsi.cdb([0x28, 0xe0] + [0] * 8)) == (5, 0x2400), "RDPROTECT"
    assert sense(scsi.cdb([0x12, 0, 5, 0, 36, 0], length=36)) == (5, 0x2400)
    assert sense(scsi.cdb([0] * 6, lun=7)) == (5, 0x2500)
    assert sense(scsi.cdb([0x1a, 0, 0xc0 | 8, 0, 64, 0], length=64)) == (5, 0x3900), "saved pages"
    assert scsi.cdb([0] * 6, target=99)[0] == 3, "bad target"
    assert scsi.cdb(read(0, 4), length=512)[0] == 1, "overrun"
    miscompare = bytes([0x89, 0] + [0] * 11 + [1, 0, 0])
    scsi.cdb(bytes([0x2a, 0]) + struct.pack(">IBH", 0, 0, 1) + b"\0", b"a" * 512)
    assert sense(scsi.cdb(miscompare, b"b" * 512 + b"c" * 512)) == (14, 0x1d00)
    assert scsi.cdb(miscompare, b"a" * 512 + b"c" * 512)[:2] == (0, 0)
    assert scsi.cdb(read(0, 1), length=512)[3] == b"c" * 512


def test_scsi_supported_commands_are_those_that_work(scsi):
    reply = scsi.cdb([0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0], length=4096)[3]
    total = struct.unpack(">I", reply[:4])[0]
    assert total and total % 8 == 0
    for at in range(4, 4 + total, 8):
        opcode, flags = reply[at], reply[at + 5]
        action = struct.unpack(">H", reply[at + 2:at + 4])[0]
        length = struct.unpack(">H", reply[at + 6:at + 8])[0]
        cdb = bytes([opcode, action if flags & 1 else 0]).ljust(length, b"\0")
        response, status, data, _, _ = scsi.cdb(cdb)
        assert response in (0, 1) and (status == 0 or data[12:14] != b"\x20\0"), hex(opcode)


def test_scsi_reset_and_task_management(scsi):
    assert scsi.tmf(5) == 0, "logical unit reset"
    assert sense(scsi.cdb([0] * 6)) == (6, 0x2903)
    assert scsi.tmf(0, tag=1234) == 0, "abort of a task that is not there"
    assert scsi.tmf(6, tag=1234) == 0, "query: it is not there"
    assert scsi.tmf(2) == 11, "clear ACA is rejected"
    assert scsi.tmf(5, target=9) == 3 and scsi.tmf(5, lun=9) == 12


def test_scsi_nexus_reset_is_for_every_unit_of_its_target_alone(karst, scsi):
    karst.ctl("vhost target add s0 5 disk=r2 lun=200")
    for lun, reported in ((3, 0x3f0e), (200, 0x2900)):
        assert sense(scsi.cdb([0] * 6, target=5, lun=lun)) == (6, reported)
    assert scsi.tmf(4, target=5, lun=77) == 0, "whatever unit is named"
    for lun in (3, 200):
        assert sense(scsi.cdb([0] * 6, target=5, lun=lun)) == (6, 0x2907)
    assert scsi.cdb([0] * 6)[:2] == (0, 0)
    assert scsi.tmf(4, target=9) == 3
    karst.ctl("vhost target remove s0 5 lun=200")
    assert sense(scsi.cdb([0] * 6, target=5, lun=3)) == (6, 0x3f0e)


def test_scsi_well_known_unit_of_a_target_reports_its_units(scsi):
    request = bytes([1, 5, 0xc1, 1, 0, 0, 0, 0]) + bytes(11) + bytes([0xa0, 0, 2] + [0] * 6 + [64, 0, 0]).ljust(32, b"\0")
    got, _ = scsi.request(2, [request], [108, 64])
    assert got[0][10:12] == b"\0\0", got
    assert struct.unpack(">IIQQ", got[1][:24]) == (16, 0, 3 << 48, 0xc101 << 48)


def test_scsi_targets_come_and_go_and_the_guest_is_told(karst, scsi):
    place = scsi.memory.alloc(16)

    def event():
        scsi.rings[1].add([(place, 16, vu.WRITE)])
        scsi.kick(1)
        scsi.wait(1)
        return struct.unpack("<I8sI", scsi.memory.read(place, 16))

    unit = bytes([1, 9, 0, 0, 0, 0, 0, 0])              # as REPORT LUNS has it: what Linux takes for the number
    karst.ctl("vhost target add s0 9 disk=r2")
    assert event() == (1, unit, 1), "rescan"
    assert sense(scsi.cdb([0] * 6, target=9)) == (6, 0x2900)
    karst.ctl("vhost target remove s0 9")
    assert event() == (1, unit, 2), "removed"
    assert scsi.cdb([0] * 6, target=9)[0] == 3


def test_scsi_reservation_of_one_guest_keeps_another_out(binary, tmp_path):
    script = """
disk create ram r0 size=16M
vhost create scsi a socket={folder}/a.sock queues=1
vhost create scsi b socket={folder}/b.sock queues=1
vhost target add a 0 disk=r0
vhost target add b 0 disk=r0
"""
    register = [0x5f, 6, 0, 0, 0, 0, 0, 0, 24, 0]
    with Karst(binary, tmp_path, script) as karst, Scsi(tmp_path / "a.sock") as one, Scsi(tmp_path / "b.sock") as two:
        for guest, key in ((one, 1), (two, 2)):
            guest.start(queues=3)
            guest.cdb([0] * 6)
            assert guest.cdb(register, struct.pack(">QQQ", 0, key, 0))[:2] == (0, 0)
        reserve = [0x5f, 1, 1, 0, 0, 0, 0, 0, 24, 0]
        assert one.cdb(reserve, struct.pack(">QQQ", 1, 0, 0))[:2] == (0, 0)
        write = bytes([0x2a, 0]) + struct.pack(">IBH", 0, 0, 1) + b"\0"
        assert two.cdb(write, bytes(512))[1] == 0x18, "conflict"
        assert one.cdb(write, bytes(512))[:2] == (0, 0)
        preempt = [0x5f, 4, 1, 0, 0, 0, 0, 0, 24, 0]
        assert two.cdb(preempt, struct.pack(">QQQ", 2, 1, 0))[:2] == (0, 0)
        assert sense(one.cdb([0] * 6)) == (6, 0x2a05)
        assert one.cdb(write, bytes(512))[1] == 0x18
        keys = two.cdb([0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0], length=64)[3]
        assert struct.unpack(">IQ", keys[4:16]) == (8, 2)
        assert karst.process.poll() is None
