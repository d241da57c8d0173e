# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user front end and the driver of a guest in one: memory, rings of both formats, messages. Written
from the vhost-user and virtio specifications; it can do everything wrong that a monitor or a guest can."""
import mmap
import os
import select
import socket
import struct
import time

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE, SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM,
 SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR,
 GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES, GET_QUEUE_NUM, SET_VRING_ENABLE) = range(1, 19)
SET_BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG = 21, 24, 25
GET_INFLIGHT_FD, SET_INFLIGHT_FD = 31, 32
RESET_DEVICE, GET_MAX_MEM_SLOTS, ADD_MEM_REG, REM_MEM_REG = 34, 36, 37, 38

VERSION, REPLY, NEED_REPLY = 1, 4, 8
F_LOG_ALL, F_INDIRECT, F_EVENT_IDX, F_PROTOCOL, F_VERSION_1, F_PACKED = (
    1 << 26, 1 << 28, 1 << 29, 1 << 30, 1 << 32, 1 << 34)
P_MQ, P_LOG, P_REPLY_ACK, P_BACKEND, P_CONFIG, P_INFLIGHT, P_RESET, P_SLOTS = (
    1 << 0, 1 << 1, 1 << 3, 1 << 5, 1 << 9, 1 << 12, 1 << 13, 1 << 15)
NEXT, WRITE, INDIRECT = 1, 2, 4
AVAIL, USED = 1 << 7, 1 << 15

GUEST = 0x10_0000                       # where guest memory begins
USER = 0x7f00_0000_0000                 # the same in the monitor's own address space


class Gone(Exception):
    """The back end closed the connection."""


class Memory:
    """Guest memory in a file, with a simple allocator."""

    def __init__(self, size=8 << 20):
        self.size = size
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)
        self.next = 0

    def alloc(self, length, align=4096):
        at = (self.next + align - 1) // align * align
        assert at + length <= self.size, "the test's guest has no memory left"
        self.next = at + length
        return GUEST + at

    def read(self, guest, length):
        return self.map[guest - GUEST:guest - GUEST + length]

    def write(self, guest, data):
        self.map[guest - GUEST:guest - GUEST + len(data)] = bytes(data)

    def u16(self, guest):
        return struct.unpack("<H", self.read(guest, 2))[0]

    def set_u16(self, guest, value):
        self.write(guest, struct.pack("<H", value & 0xffff))

    def close(self):
        self.map.close()
        os.close(self.fd)


class Split:
    """The driver's side of a split ring."""

    def __init__(self, memory, size, event_idx):
        self.memory, self.size, self.event_idx = memory, size, event_idx
        self.desc = memory.alloc(16 * size)
        self.avail = memory.alloc(2 * (3 + size))
        self.used = memory.alloc(6 + 8 * size)
        self.free = list(range(size))
        self.taken, self.next_avail, self.next_used = {}, 0, 0

    def addresses(self):
        return self.desc, self.used, self.avail

    def set_desc(self, index, addr, length, flags, following=0):
        self.memory.write(self.desc + 16 * index, struct.pack("<QIHH", addr, length, flags, following))

    def add(self, pieces, table=None):
        """PIECES of (addr, length, flags) as one chain; TABLE: the address of an indirect table for it."""
        if table is not None:
            for i, (addr, length, flags) in enumerate(pieces):
                more = i + 1 < len(pieces)
                self.memory.write(table + 16 * i, struct.pack("<QIHH", addr, length, flags | (NEXT if more else 0),
                                                              i + 1 if more else 0))
            pieces = [(table, 16 * len(pieces), INDIRECT)]
        slots = [self.free.pop(0) for _ in pieces]
        for i, (addr, length, flags) in enumerate(pieces):
            more = i + 1 < len(pieces)
            self.set_desc(slots[i], addr, length, flags | (NEXT if more else 0), slots[i + 1] if more else 0)
        self.taken[slots[0]] = slots
        self.offer(slots[0])
        return slots[0]

    def offer(self, head):
        self.memory.set_u16(self.avail + 4 + 2 * (self.next_avail % self.size), head)
        self.next_avail = (self.next_avail + 1) & 0xffff
        self.memory.set_u16(self.avail + 2, self.next_avail)

    def reap(self):
        """[(head, written)] of what was used since the last time."""
        done = []
        while self.memory.u16(self.used + 2) != self.next_used:
            at = self.used + 4 + 8 * (self.next_used % self.size)
            head, written = struct.unpack("<II", self.memory.read(at, 8))
            self.next_used = (self.next_used + 1) & 0xffff
            self.free += self.taken.pop(head, [])
            done.append((head, written))
        if self.event_idx:
            self.memory.set_u16(self.avail + 4 + 2 * self.size, self.next_used)
        return done

    def base(self):
        return 0


class Packed:
    """The driver's side of a packed ring."""

    def __init__(self, memory, size, event_idx):
        self.memory, self.size, self.event_idx = memory, size, event_idx
        self.desc = memory.alloc(16 * size)
        self.driver = memory.alloc(4)
        self.device = memory.alloc(4)
        self.at, self.wrap, self.used_at, self.used_wrap = 0, True, 0, True
        self.ids, self.taken = list(range(size)), {}

    def addresses(self):
        return self.desc, self.device, self.driver

    def flags(self, flags):
        return flags | (AVAIL if self.wrap else USED)

    def add(self, pieces, table=None):
        if table is not None:
            for i, (addr, length, flags) in enumerate(pieces):
                self.memory.write(table + 16 * i, struct.pack("<QIHH", addr, length, 0, flags))
            pieces = [(table, 16 * len(pieces), INDIRECT)]
        buffer_id, first, first_flags = self.ids.pop(0), self.at, None
        for i, (addr, length, flags) in enumerate(pieces):
            flags = self.flags(flags | (NEXT if i + 1 < len(pieces) else 0))
            where = self.desc + 16 * self.at
            self.memory.write(where, struct.pack("<QIH", addr, length, buffer_id))
            if i:
                self.memory.set_u16(where + 14, flags)
            else:
                first_flags = flags
            self.at += 1
            if self.at == self.size:
                self.at, self.wrap = 0, not self.wrap
        self.taken[buffer_id] = len(pieces)
        self.memory.set_u16(self.desc + 16 * first + 14, first_flags)
        return buffer_id

    def reap(self):
        done = []
        while True:
            where = self.desc + 16 * self.used_at
            flags = self.memory.u16(where + 14)
            if bool(flags & AVAIL) != self.used_wrap or bool(flags & USED) != self.used_wrap:
                return done
            length, buffer_id = struct.unpack("<IH", self.memory.read(where + 8, 6))
            self.used_at += self.taken.pop(buffer_id)
            if self.used_at >= self.size:
                self.used_at, self.used_wrap = self.used_at - self.size, not self.used_wrap
            self.ids.append(buffer_id)
            done.append((buffer_id, length))

    def base(self):
        return 0x8000 | 0x8000 << 16


class FrontEnd:
    """A connection to the socket PATH."""

    def __init__(self, path, timeout_s=30):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout_s)
        self.sock.connect(str(path))
        self.memory, self.rings, self.kicks, self.calls = None, {}, {}, {}
        self.features = self.protocol = 0
        self.open_fds = []

    # messages

    def send(self, request, payload=b"", fds=(), flags=VERSION, size=None):
        data = struct.pack("<III", request, flags, len(payload) if size is None else size) + payload
        try:
            socket.send_fds(self.sock, [data], list(fds))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Gone from error

    def receive(self, length):
        data = b""
        while len(data) < length:
            try:
                part = self.sock.recv(length - len(data))
            except ConnectionResetError as error:
                raise Gone from error
            if not part:
                raise Gone
            data += part
        return data

    def reply(self, request, with_fd=False):
        """The payload of the answer, and its descriptor."""
        fds = []
        if with_fd:
            header, fds, _, _ = socket.recv_fds(self.sock, 12, 1)
            if not header:
                raise Gone
        else:
            header = self.receive(12)
        got, flags, size = struct.unpack("<III", header)
        assert got == request and flags & REPLY, (got, flags, size)
        return self.receive(size), fds

    def ask(self, request, payload=b"", fds=()):
        self.send(request, payload, fds)
        return self.reply(request)[0]

    def acked(self, request, payload=b"", fds=()):
        """0 or not, as the back end says."""
        self.send(request, payload, fds, VERSION | NEED_REPLY)
        return struct.unpack("<Q", self.reply(request)[0])[0]

    def gone(self):
        """Waits for the back end to close."""
        try:
            while True:
                self.receive(1)
        except Gone:
            return True
        except TimeoutError:
            return False

    # the usual way in

    def start(self, queues=1, size=64, packed=False, event_idx=False, indirect=True, memory=None, want=0,
              inflight=None, first=0):
        """Negotiates, shares memory and starts queues FIRST... with rings of their own."""
        offered = struct.unpack("<Q", self.ask(GET_FEATURES))[0]
        assert offered & F_PROTOCOL and offered & F_VERSION_1
        self.protocol = struct.unpack("<Q", self.ask(GET_PROTOCOL_FEATURES))[0]
        self.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", self.protocol))
        self.send(SET_OWNER)
        self.features = F_VERSION_1 | F_PROTOCOL | want | offered & 0xffff
        self.features |= (F_PACKED if packed else 0) | (F_EVENT_IDX if event_idx else 0)
        self.features |= F_INDIRECT if indirect else 0
        assert not self.features & ~offered
        assert self.acked(SET_FEATURES, struct.pack("<Q", self.features)) == 0
        if inflight is not None:
            assert self.acked(SET_INFLIGHT_FD, inflight[0], [inflight[1]]) == 0
        self.memory = memory or Memory()
        assert self.share([(GUEST, self.memory.size, USER, 0, self.memory.fd)]) == 0
        for index in range(first, first + queues):
            self.rings[index] = (Packed if packed else Split)(self.memory, size, event_idx)
            self.start_ring(index, self.rings[index], size)
        return self

    def share(self, regions):
        payload = struct.pack("<II", len(regions), 0) + b"".join(struct.pack("<QQQQ", *r[:4]) for r in regions)
        return self.acked(SET_MEM_TABLE, payload, [r[4] for r in regions])

    def start_ring(self, index, ring, size, base=None):
        desc, used, avail = ring.addresses()
        self.send(SET_VRING_NUM, struct.pack("<II", index, size))
        self.send(SET_VRING_BASE, struct.pack("<II", index, ring.base() if base is None else base))
        self.send(SET_VRING_ADDR, struct.pack("<IIQQQQ", index, 0, desc - GUEST + USER, used - GUEST + USER,
                                              avail - GUEST + USER, used))
        for table, request in ((self.kicks, SET_VRING_KICK), (self.calls, SET_VRING_CALL)):
            if index not in table:
                table[index] = os.eventfd(0, os.EFD_NONBLOCK)
            self.send(request, struct.pack("<Q", index), [table[index]])
        assert self.acked(SET_VRING_ENABLE, struct.pack("<II", index, 1)) == 0

    def stop_ring(self, index):
        return struct.unpack("<II", self.ask(GET_VRING_BASE, struct.pack("<II", index, 0)))[1]

    def kick(self, index):
        os.eventfd_write(self.kicks[index], 1)

    def wait(self, index, count=1, timeout_s=30):
        """COUNT used chains."""
        deadline, done = time.monotonic() + timeout_s, []
        while True:
            done += self.rings[index].reap()
            if len(done) >= count:
                return done
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"queue {index}: {len(done)} of {count} requests came back")
            # woken by a call; a look now and then covers notifications that were suppressed
            if select.select([self.calls[index]], [], [], min(left, 0.05))[0]:
                os.eventfd_read(self.calls[index])

    def request(self, index, out, in_lengths, indirect=False):
        """One request: the bytes that the device wrote into each piece, and how many it says."""
        pieces, places = [], []
        for data in out:
            addr = self.memory.alloc(len(data), 16)
            self.memory.write(addr, data)
            pieces.append((addr, len(data), 0))
        for length in in_lengths:
            addr = self.memory.alloc(length, 16)
            places.append((addr, length))
            pieces.append((addr, length, WRITE))
        table = self.memory.alloc(16 * len(pieces), 16) if indirect else None
        self.rings[index].add(pieces, table)
        self.kick(index)
        (_, written), = self.wait(index)
        return [self.memory.read(*place) for place in places], written

    def close(self):
        self.sock.close()
        for fd in [*self.kicks.values(), *self.calls.values()]:
            os.close(fd)
        if self.memory:
            self.memory.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# virtio-blk

BLK_IN, BLK_OUT, BLK_FLUSH, BLK_GET_ID, BLK_DISCARD, BLK_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
BLK_OK, BLK_IOERR, BLK_UNSUPP = 0, 1, 2


class Blk(FrontEnd):
    """A guest of a virtio-blk device."""

    def command(self, kind, sector=0, out=(), in_lengths=(), queue=0, indirect=False):
        header = struct.pack("<IIQ", kind, 0, sector)
        got, written = self.request(queue, [header, *out], [*in_lengths, 1], indirect)
        return got[-1][0], b"".join(got[:-1]), written

    def read(self, sector, length, queue=0, indirect=False):
        status, data, written = self.command(BLK_IN, sector, (), [length], queue, indirect)
        assert status == BLK_OK and written == length + 1
        return data

    def write(self, sector, data, queue=0, indirect=False):
        status, _, written = self.command(BLK_OUT, sector, [data], (), queue, indirect)
        assert status == BLK_OK and written == 1

    def config(self, size=60):
        payload = struct.pack("<III", 0, size, 0) + bytes(size)
        return self.ask(GET_CONFIG, payload)[12:]


# virtio-scsi

class Scsi(FrontEnd):
    """A guest of a virtio-scsi device. Queue 2 carries commands."""

    @staticmethod
    def lun(target, lun=0):
        return bytes([1, target, 0x40 | lun >> 8, lun & 0xff, 0, 0, 0, 0])

    def cdb(self, cdb, data=b"", length=0, target=0, lun=0, queue=2, tag=1):
        """(response, status, sense, data, residual)."""
        header = self.lun(target, lun) + struct.pack("<Q", tag) + bytes(3) + bytes(cdb).ljust(32, b"\0")
        got, _ = self.request(queue, [header] + ([data] if data else []), [108] + ([length] if length else []))
        sense_len, residual, _, status, response = struct.unpack("<IIHBB", got[0][:12])
        return response, status, got[0][12:12 + sense_len], got[1] if length else b"", residual

    def tmf(self, subtype, target=0, lun=0, tag=0):
        got, _ = self.request(0, [struct.pack("<II", 0, subtype) + self.lun(target, lun) + struct.pack("<Q", tag)], [1])
        return got[0][0]
