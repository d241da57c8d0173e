# SPDX-License-Identifier: BSD-3-Clause
"""Guests and monitors that mean harm, one after the other, while another guest on another socket works: it goes on
being served all the while, and afterwards the process has the descriptors, mappings and memory that it had."""
import contextlib
import functools
import os
import socket
import struct
import threading

import pytest

import vhost_user as vu
from conftest import artefact
from hosted import Karst, memory_in_use, wait_memory
from vhost_user import Blk, Gone
from vm import wait_for

SCRIPT = """
disk create ram good size=16M
disk create ram big size=8G
disk create file file path={folder}/file.raw size=16M
vhost create blk victim disk=good socket={folder}/victim.sock queues=2
vhost create blk ram disk=big socket={folder}/ram.sock queues=2
vhost create blk file disk=file socket={folder}/file.sock queues=2
vhost create scsi scsi socket={folder}/scsi.sock queues=2
vhost target add scsi 0 disk=big
"""


@pytest.fixture(scope="module", params=["host", "firmware"])
def karst(request, out, tmp_path_factory):
    """The process with sanitizers, and the one that is shipped, whose memory can be measured."""
    binary = artefact(out / {"host": "host/karst", "firmware": "karst"}[request.param], request.param)
    with Karst(binary, tmp_path_factory.mktemp("hostile"), SCRIPT, ("-c", "0,1")) as karst:
        karst.sanitized = request.param == "host"
        yield karst


class Footprint:
    """What the process has of the machine."""

    def __init__(self, karst):
        self.karst, self.pid = karst, karst.process.pid
        self.pools = memory_in_use(karst)
        self.fds, self.maps, self.resident = self.now()

    def now(self):
        with open(f"/proc/{self.pid}/maps", encoding="utf-8") as maps:
            guests = sum("/memfd:" in line for line in maps)
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            resident = int(statm.read().split()[1]) * 4096
        return len(os.listdir(f"/proc/{self.pid}/fd")), guests, resident

    def comes_back(self):
        wait_for("descriptors and mappings given back", lambda: self.now()[:2] == (self.fds, self.maps),
                 self.karst.process)
        wait_memory(self.karst, self.pools)
        if not self.karst.sanitized:
            assert self.now()[2] < self.resident + (8 << 20), (self.resident, self.now())


def attacker(karst, name="ram", **start):
    front = Blk(karst.folder / f"{name}.sock")
    if start:
        front.start(**start)
    return front


def again(attack):
    """ATTACK over and over; that the back end hangs up on it is expected."""
    @functools.wraps(attack)
    def loop(karst, stop):
        while not stop.is_set():
            with contextlib.suppress(Gone, TimeoutError, ConnectionError, BlockingIOError):
                attack(karst)
    return loop


# monitors

def messages_without_end(karst, stop):
    with attacker(karst) as front:
        flood = struct.pack("<III", vu.SET_OWNER, 1, 0) * 1000
        while not stop.is_set():
            front.sock.sendall(flood)


@again
def connects_and_goes(karst):
    attacker(karst).close()


@again
def says_half_a_message_and_goes(karst):
    with attacker(karst) as front:
        front.sock.sendall(struct.pack("<III", vu.SET_MEM_TABLE, 1, 40)[:7])


@again
def sends_descriptors_that_nobody_wants(karst):
    with attacker(karst) as front:
        fds = [os.memfd_create("flood") for _ in range(8)]
        try:
            for _ in range(20):
                front.send(vu.SET_VRING_KICK, struct.pack("<Q", 0x100), fds[:1])
                front.send(vu.SET_LOG_FD, b"", fds[:1])
            front.send(vu.SET_MEM_TABLE, struct.pack("<II", 0, 0), fds * 20)
            front.gone()
        finally:
            for fd in fds:
                os.close(fd)


def reads_no_answers(karst, stop):
    while not stop.is_set():
        with attacker(karst) as front, contextlib.suppress(Gone):
            while not stop.is_set():
                front.send(vu.GET_FEATURES)


def shares_other_memory_each_time(karst, stop):
    with attacker(karst, size=64) as front:
        other = vu.Memory()
        while not stop.is_set():
            for memory in (front.memory, other):
                assert front.share([(vu.GUEST, memory.size, vu.USER, 0, memory.fd)]) == 0
        other.close()


def stops_and_starts_its_rings(karst, stop):
    with attacker(karst, queues=2) as front:
        while not stop.is_set():
            for index in range(2):
                front.stop_ring(index)
                front.start_ring(index, front.rings[index], 64, front.rings[index].next_used)


@again
def leaves_in_flight_memory_behind(karst):
    with attacker(karst) as front:
        front.send(vu.SET_PROTOCOL_FEATURES, struct.pack("<Q", vu.P_INFLIGHT | vu.P_REPLY_ACK))
        for _ in range(5):
            front.send(vu.GET_INFLIGHT_FD, struct.pack("<QQHH", 0, 0, 2, 1024))
            answer, fds = front.reply(vu.GET_INFLIGHT_FD, with_fd=True)
            try:
                assert front.acked(vu.SET_INFLIGHT_FD, answer, fds) == 0
            finally:
                for fd in fds:
                    os.close(fd)


@again
def puts_its_rings_outside_of_memory(karst):
    with attacker(karst, queues=0, size=64) as front:
        for far in (0, vu.USER - 4096, vu.USER + (8 << 20) - 8, 2 ** 64 - 64):
            addresses = struct.pack("<IIQQQQ", 0, 0, far, far, far, 0)
            front.send(vu.SET_VRING_NUM, struct.pack("<II", 0, 1024))
            assert front.acked(vu.SET_VRING_ADDR, addresses) == 0
            assert front.acked(vu.SET_VRING_KICK, struct.pack("<Q", 0x100)) == 0
        assert front.acked(vu.SET_VRING_NUM, struct.pack("<II", 0, 64)) == 0


@again
def cuts_its_dirty_log(karst):
    with attacker(karst, want=vu.F_LOG_ALL) as front:
        log = os.memfd_create("log")
        try:
            os.ftruncate(log, 4096)
            front.send(vu.SET_LOG_BASE, struct.pack("<QQ", 4096, 0), [log])
            front.reply(vu.SET_LOG_BASE)
            os.ftruncate(log, 0)
            front.rings[0].add(read_of(front, 512))
            front.kick(0)
            front.gone()
        finally:
            os.close(log)


# guests

def read_of(front, length, count=1, sector=0):
    """The pieces of a read into the same LENGTH bytes COUNT times over."""
    header, status, data = front.memory.alloc(16), front.memory.alloc(1), front.memory.alloc(length)
    front.memory.write(header, struct.pack("<IIQ", vu.BLK_IN, 0, sector))
    return [(header, 16, 0), *[(data, length, vu.WRITE)] * count, (status, 1, vu.WRITE)]


def asks_for_4_gib_each_time(karst, stop):
    with attacker(karst, size=64) as front:
        pieces = read_of(front, 4 << 20, 250)
        table = front.memory.alloc(16 * len(pieces), 16)
        while not stop.is_set():
            for _ in range(4):
                front.rings[0].add(pieces, table)
            front.kick(0)
            with contextlib.suppress(TimeoutError):
                front.wait(0, 4, 10)


def kicks_without_end(karst, stop):
    with attacker(karst, queues=2) as front:
        while not stop.is_set():
            for index in range(2):
                with contextlib.suppress(BlockingIOError):
                    front.kick(index)


@again
def jumps_with_its_indices(karst):
    with attacker(karst, queues=2) as front:
        for index, far in ((0, 30000), (1, 65)):
            front.memory.set_u16(front.rings[index].avail + 2, far)
            front.kick(index)
        front.stop_ring(0)


@again
def chains_without_end(karst):
    with attacker(karst, queues=2, size=1024) as front:
        ring = front.rings[0]
        for i in range(1024):
            ring.set_desc(i, vu.GUEST, 1, vu.NEXT, (i + 1) % 1024)
        for i in range(200):
            ring.offer(i)
        front.kick(0)
        front.stop_ring(0)


def changes_descriptors_under_way(karst, stop):
    """Another processor of the guest writes the descriptors while they are read."""
    good, bad = (struct.pack("<QIHH", *d) for d in ((vu.GUEST, 16, 0, 0), (2 ** 64 - 16, 2 ** 32 - 1, 7, 60000)))
    while not stop.is_set():
        with attacker(karst, size=64) as front, contextlib.suppress(Gone):
            ring = front.rings[0]
            for turn in range(200):
                for i in range(64):
                    front.memory.write(ring.desc + 16 * i, bad if turn % 2 else good)
                ring.offer(turn % 64)
                front.kick(0)
            front.stop_ring(0)


def cut_under_load(name):
    @again
    def attack(karst):
        with attacker(karst, name, queues=2, size=64) as front:
            for index in range(2):
                pieces = read_of(front, 1 << 20)
                for _ in range(20):
                    front.rings[index].add(pieces)
            os.ftruncate(front.memory.fd, 64 << 10)
            for index in range(2):
                front.kick(index)
            front.gone()
    attack.__name__ = f"cuts_its_memory_under_load_of_the_{name}_disk"
    return attack


ATTACKS = [
    messages_without_end, connects_and_goes, says_half_a_message_and_goes, sends_descriptors_that_nobody_wants,
    reads_no_answers, shares_other_memory_each_time, stops_and_starts_its_rings, leaves_in_flight_memory_behind,
    puts_its_rings_outside_of_memory, cuts_its_dirty_log, asks_for_4_gib_each_time, kicks_without_end,
    jumps_with_its_indices, chains_without_end, changes_descriptors_under_way, cut_under_load("ram"),
    cut_under_load("file"),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_one_who_means_harm_disturbs_nobody(karst, attack):
    with Blk(karst.folder / "victim.sock") as victim:
        victim.start(queues=2)
        before, stop, wrong = Footprint(karst), threading.Event(), []

        def run():
            try:
                attack(karst, stop)
            except BaseException as error:          # pylint: disable=broad-except
                wrong.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            for turn in range(40):
                data = os.urandom(4096)
                victim.memory.next = 64 << 10
                victim.write(8 * turn, data, queue=turn % 2)
                assert victim.read(8 * turn, 4096, queue=(turn + 1) % 2) == data
                assert karst.ctl("vhost show victim")[0]["guest"] != "-" if turn % 10 == 0 else True
        finally:
            stop.set()
            thread.join()
        assert not wrong, wrong
        before.comes_back()


def test_thousands_of_sessions_leave_nothing_behind(karst):
    for turn in range(2):
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(karst.folder / "scsi.sock"))
        wait_for("no session", lambda: karst.ctl("vhost show scsi")[0]["guest"] == "-", karst.process)
        if turn == 0:
            before = Footprint(karst)
    before.comes_back()
