# SPDX-License-Identifier: BSD-3-Clause
"""What a migration stands on: the dirty log names every page of the guest that karst writes, and a ring goes on
elsewhere from where it was stopped."""
import mmap
import os
import struct

import pytest

import vhost_user as vu
from conftest import artefact
from hosted import Karst
from vhost_user import Blk, Scsi

SCRIPT = """
disk create ram r0 size=16M
vhost create blk blk disk=r0 socket={folder}/blk.sock queues=3
vhost create blk b1 disk=r0 socket={folder}/b1.sock queues=1
vhost create scsi scsi socket={folder}/scsi.sock queues=1
vhost target add scsi 0 disk=r0
"""
PAGE = 4096


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


@pytest.fixture(scope="module")
def karst(binary, tmp_path_factory):
    with Karst(binary, tmp_path_factory.mktemp("log"), SCRIPT, ("-c", "0,1")) as karst:
        yield karst


def blk(karst, name):
    return Blk(karst.folder / f"{name}.sock")


class Watched(vu.Memory):
    """Guest memory that knows what the driver wrote: the rest karst did."""

    def __init__(self):
        super().__init__()
        self.shadow = bytearray(self.size)

    def write(self, guest, data):
        super().write(guest, data)
        self.shadow[guest - vu.GUEST:guest - vu.GUEST + len(data)] = bytes(data)

    def written_pages(self):
        """Pages that karst wrote since the last time."""
        now = self.map[:]
        pages = {(vu.GUEST + at) // PAGE for at in range(0, self.size, PAGE)
                 if now[at:at + PAGE] != self.shadow[at:at + PAGE]}
        self.shadow[:] = now
        return pages


class Log:
    """A dirty log that karst keeps of FRONT's guest."""

    def __init__(self, front):
        self.bytes = (vu.GUEST + front.memory.size) // PAGE // 8
        self.fd = os.memfd_create("log")
        os.ftruncate(self.fd, self.bytes)
        self.map = mmap.mmap(self.fd, self.bytes)
        front.send(vu.SET_LOG_BASE, struct.pack("<QQ", self.bytes, 0), [self.fd])
        front.reply(vu.SET_LOG_BASE)
        assert front.acked(vu.SET_FEATURES, struct.pack("<Q", front.features | vu.F_LOG_ALL)) == 0

    def marked_pages(self):
        """Pages that were marked since the last time."""
        pages = {page for page in range(8 * self.bytes) if self.map[page // 8] & 1 << page % 8}
        self.map[:] = bytes(self.bytes)
        return pages

    def close(self):
        self.map.close()
        os.close(self.fd)


def blk_requests(guest):
    yield "flush", lambda: guest.command(vu.BLK_FLUSH)
    for indirect in (False, True):
        yield "read", lambda: guest.command(vu.BLK_IN, 8, (), [3 * PAGE + 512], 0, indirect)
    yield "read past the end", lambda: guest.command(vu.BLK_IN, 2 ** 40, (), [PAGE])
    yield "get id", lambda: guest.command(vu.BLK_GET_ID, 0, (), [20])
    yield "write", lambda: guest.command(vu.BLK_OUT, 0, [bytes(PAGE)])


def scsi_requests(guest):
    yield "test unit ready", lambda: guest.cdb([0])
    yield "read", lambda: guest.cdb([0x28, 0, 0, 0, 0, 8, 0, 0, 24, 0], length=3 * PAGE)
    yield "inquiry", lambda: guest.cdb([0x12, 1, 0x83, 0, 255, 0], length=255)
    yield "unknown", lambda: guest.cdb([0xff])
    yield "write", lambda: guest.cdb([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], data=bytes(512))
    yield "reset", lambda: guest.tmf(5)


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
@pytest.mark.parametrize("kind", ["blk", "scsi"])
def test_every_page_that_is_written_is_in_the_dirty_log(karst, kind, event_idx, packed):
    with blk(karst, "b1") as other:
        other.start()
        other.write(8, b"\xa5" * 3 * PAGE + b"\x5a" * 512)
    front, requests = (Blk, blk_requests) if kind == "blk" else (Scsi, scsi_requests)
    with front(karst.folder / f"{kind}.sock") as guest:
        guest.start(3, 16, packed, event_idx, memory=Watched())
        log = Log(guest)
        for name, request in requests(guest):
            guest.memory.alloc(0)                       # a page of its own for each piece that is written
            log.marked_pages()
            guest.memory.written_pages()
            request()
            # what comes after the answer: it asks for kicks again before it sleeps
            written = guest.memory.written_pages()
            assert written, name
            assert written <= log.marked_pages(), name
        log.close()


def test_log_that_is_cut_away_ends_that_guest_only(karst):
    with Blk(karst.folder / "blk.sock") as guest:
        guest.start()
        log = Log(guest)
        os.ftruncate(log.fd, 0)
        guest.kick(0)
        guest.rings[0].add([(guest.memory.alloc(16), 16, 0), (guest.memory.alloc(1), 1, vu.WRITE)])
        guest.kick(0)
        assert guest.gone()
    with blk(karst, "b1") as other:
        other.start()
        assert other.command(vu.BLK_FLUSH)[0] == vu.BLK_OK


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_idle_ring_goes_on_after_a_restart_wherever_it_was(binary, tmp_path, packed):
    """The monitor knows no position of a ring whose back end died: the in-flight memory does."""
    script = "disk create ram r0 size=8M\nvhost create blk b0 disk=r0 socket={folder}/b0.sock queues=1\n"
    karst = Karst(binary, tmp_path, script, ("-c", "0"))
    guest = blk(karst, "b0")
    guest.start(packed=packed, size=16)
    guest.send(vu.GET_INFLIGHT_FD, struct.pack("<QQHH", 0, 0, 1, 16))
    answer, fds = guest.reply(vu.GET_INFLIGHT_FD, with_fd=True)
    assert guest.acked(vu.SET_INFLIGHT_FD, answer, fds) == 0
    for turn in range(7):                               # not where it began
        guest.write(turn, bytes(512))
    karst.kill()
    with Karst(binary, tmp_path, script, ("-c", "0")) as karst, blk(karst, "b0") as again:
        again.start(queues=0, packed=packed, memory=guest.memory, inflight=(answer, fds[0]))
        again.rings[0] = ring = guest.rings[0]
        again.start_ring(0, ring, 16, ring.base() if packed else ring.next_used)
        again.write(3, b"x" * 512)
        assert again.read(3, 512) == b"x" * 512
        guest.memory = None
    guest.close()
