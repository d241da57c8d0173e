# SPDX-License-Identifier: BSD-3-Clause
"""A small NVMe/TCP target that misbehaves on purpose, once, when it is told to; else it is correct.

It serves one namespace from memory. `arm(NAME)` chooses a row of MISBEHAVIOURS for the next command
of its kind; what the host does about it is in `terms` (FES of each H2CTermReq) and in its log.
"""
import re
import socket
import struct
import threading

import nvme_pdu as pdu

BLOCK = 512
IOCCSZ_BYTES = 64 + 4096
MAXR2T = 4                              # what Karst announces


class Bad(threading.Thread):
    """Listens on 127.0.0.1: .port. BLOCKS of namespace 1, whose bytes are in .media."""

    def __init__(self, nqn, blocks=2048, serial="BAD1"):
        super().__init__(daemon=True)
        self.nqn, self.serial, self.blocks = nqn, serial, blocks
        self.media = bytearray(blocks * BLOCK)
        self.present = True
        self.armed, self.fired, self.terms, self.frozen = None, [], [], set()
        self.connections, self.lock = set(), threading.RLock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            conn = _Connection(self, sock)
            self.connections.add(conn)
            conn.start()

    def arm(self, name):
        self.terms.clear()
        self.armed = name

    def take(self, kind):
        """The misbehaviour for a command of KIND, once."""
        with self.lock:
            if not self.armed or MISBEHAVIOURS[self.armed].kind != kind:
                return None
            name, self.armed = self.armed, None
            self.fired.append(name)
            return MISBEHAVIOURS[name].act

    def freeze(self):
        """The connections there are answer nothing any more; new ones are served."""
        self.frozen |= self.connections

    def notify(self):
        """Tells every host that the namespaces have changed."""
        for conn in list(self.connections):
            conn.aer_answer(2 | 4 << 16)

    def resize(self, blocks):
        self.media = self.media[:blocks * BLOCK].ljust(blocks * BLOCK, b"\0")
        self.blocks = blocks
        self.notify()

    def close(self):
        self.listener.close()
        for conn in list(self.connections):
            conn.sock.close()


class _Connection(threading.Thread):
    def __init__(self, target, sock):
        super().__init__(daemon=True)
        self.target, self.sock = target, sock
        self.framing = pdu.Framing()
        self.qid, self.aer, self.writes = 0, None, {}
        self.lock = threading.RLock()

    def run(self):
        try:
            self.serve()
        except (OSError, EOFError):
            pass
        self.target.connections.discard(self)
        self.sock.close()

    def send(self, data):
        with self.lock:
            self.sock.sendall(data)

    def exact(self, size):
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def serve(self):
        while True:
            head = self.exact(8)
            kind, _, hlen, pdo, plen = struct.unpack("<BBBBI", head)
            body = head + self.exact(plen - 8)
            if self in self.target.frozen:
                threading.Event().wait(60)
                return
            if kind == pdu.ICREQ:
                act = self.target.take("ic")
                self.send(icresp() if act is None else act())
            elif kind == pdu.H2C_TERM:
                self.target.terms.append(struct.unpack_from("<H", body, 8)[0])
                return
            elif kind == pdu.CMD:
                self.command(body[8:72], body[pdo:] if pdo else b"")
            elif kind == pdu.H2C_DATA:
                self.h2c_data(body, pdo)

    # answers

    def rsp(self, cid, status=0, dw0=0, dw1=0, **override):
        self.send(self.framing.frame(pdu.RSP, struct.pack("<IIHHHH", dw0, dw1, 0, self.qid, cid,
                                                          status << 1), **override))

    def data(self, cid, data, offset=0, flags=pdu.LAST, datal=None, **override):
        specific = struct.pack("<HHII4x", cid, 0, offset, len(data) if datal is None else datal)
        self.send(self.framing.frame(pdu.C2H_DATA, specific, data, flags=flags, **override))

    def r2t(self, cid, offset, length, ttag=1):
        self.send(self.framing.frame(pdu.R2T, struct.pack("<HHII4x", cid, ttag, offset, length)))

    def aer_answer(self, dw0):
        with self.lock:
            if self.aer is not None:
                cid, self.aer = self.aer, None
                self.rsp(cid, dw0=dw0)

    # commands

    def command(self, sqe, inside):
        opcode, _, cid, nsid = struct.unpack_from("<BBHI", sqe)
        length = struct.unpack_from("<I", sqe, 32)[0]
        if opcode == 0x7F:
            self.fabrics(sqe, cid)
        elif self.qid == 0:
            self.admin(opcode, cid, nsid, length, sqe)
        elif not self.target.present:
            self.rsp(cid, 0x400B)
        elif opcode == 2:
            self.read(cid, struct.unpack_from("<Q", sqe, 40)[0] * BLOCK, length)
        elif opcode == 1:
            self.write(cid, struct.unpack_from("<Q", sqe, 40)[0] * BLOCK, length, inside)
        else:
            self.rsp(cid)

    def fabrics(self, sqe, cid):
        kind = sqe[4]
        if kind == 1:
            self.qid = struct.unpack_from("<H", sqe, 42)[0]
            self.rsp(cid, dw0=1)
        elif kind == 4:
            offset = struct.unpack_from("<I", sqe, 44)[0]
            value = {0: 63 | 1 << 16 | 20 << 24 | 1 << 37, 8: 0x20000, 0x1C: 1}.get(offset, 0)
            self.rsp(cid, dw0=value & 0xFFFFFFFF, dw1=value >> 32)
        else:
            self.rsp(cid)

    def admin(self, opcode, cid, nsid, length, sqe):
        if opcode == 6:
            self.data(cid, self.identify(sqe[40], nsid)[:length])
            self.rsp(cid)
        elif opcode == 0x0C:
            self.aer = cid
        elif opcode == 2:
            self.data(cid, bytes(length))
            self.rsp(cid)
        else:
            self.rsp(cid)

    def identify(self, cns, nsid):
        page = bytearray(4096)
        if cns == 1:
            struct.pack_into("<20s40s8s", page, 4, self.target.serial.ljust(20).encode(),
                             b"bad".ljust(40), b"1".ljust(8))
            struct.pack_into("<HII", page, 78, 1, 0x20000, 0)
            struct.pack_into("<I", page, 92, 1 << 8)
            page[111], page[512], page[513] = 1, 0x66, 0x44
            struct.pack_into("<I", page, 516, 1)
            struct.pack_into("<256s", page, 768, self.target.nqn.encode())
            struct.pack_into("<II", page, 1792, IOCCSZ_BYTES // 16, 1)
        elif cns == 0 and self.target.present:
            struct.pack_into("<QQQ", page, 0, *[self.target.blocks] * 3)
            page[104:120] = self.target.serial.encode().ljust(16, b"\1")
            page[128 + 2] = 9
        elif cns == 2 and nsid == 0 and self.target.present:
            struct.pack_into("<I", page, 0, 1)
        return bytes(page)

    def read(self, cid, at, length):
        act = self.target.take("read")
        data = bytes(self.target.media[at:at + length])
        if act:
            act(self, cid, data)
            return
        half = length // 2
        self.data(cid, data[:half], flags=0)
        self.data(cid, data[half:], half, flags=pdu.LAST | pdu.SUCCESS)

    def write(self, cid, at, length, inside):
        if inside:
            self.target.media[at:at + length] = inside[:length]
            self.rsp(cid)
            return
        act = self.target.take("write")
        if act:
            act(self, cid, length)
            return
        # as many R2Ts as may be outstanding
        part = length // MAXR2T
        self.writes[cid] = [at, length]
        for i in range(MAXR2T):
            last = i == MAXR2T - 1
            self.r2t(cid, i * part, length - i * part if last else part, ttag=i)

    def h2c_data(self, body, pdo):
        cid, _, offset, length = struct.unpack_from("<HHII", body, 8)
        if cid not in self.writes:
            return
        at, left = self.writes[cid]
        self.target.media[at + offset:at + offset + length] = body[pdo:pdo + length]
        self.writes[cid][1] = left - length
        if left == length:
            del self.writes[cid]
            self.rsp(cid)


def icresp(pfv=0, cpda=0, digests=0, maxh2cdata=8192, *, kind=pdu.ICRESP, hlen=128, plen=128):
    return pdu.common(kind, hlen, plen) + struct.pack("<HBBI", pfv, cpda, digests, maxh2cdata) + \
        bytes(112)


class Misbehaviour:
    """On the next command of KIND, ACT; the host says LOG and sends H2CTermReq with FES (None: not)."""

    def __init__(self, kind, log, fes, act):
        self.kind, self.log, self.fes, self.act = kind, re.compile(log), fes, act


def _twice(conn, cid, data):
    conn.data(cid, data)
    conn.rsp(cid)
    conn.rsp(cid)


def _too_many(conn, cid, length):
    for i in range(MAXR2T + 1):
        conn.r2t(cid, i * 512, 512, ttag=i)


def _cut(conn, cid, data):
    conn.send(conn.framing.frame(pdu.C2H_DATA, struct.pack("<HHII4x", cid, 0, 0, len(data)), data,
                                 flags=pdu.LAST)[:100])
    conn.sock.shutdown(socket.SHUT_RDWR)


def _raw(kind, hlen=24, plen=24, flags=0, pdo=0):
    return lambda conn, cid, _: conn.send(pdu.common(kind, hlen, plen, flags, pdo) + bytes(64))


FIELD, SEQUENCE, RANGE = pdu.FES_HEADER_FIELD, pdu.FES_SEQUENCE, pdu.FES_OUT_OF_RANGE
_B = Misbehaviour

MISBEHAVIOURS = {
    "answer to nobody": _B("read", "answer to no command", FIELD,
                           lambda c, cid, d: c.rsp(cid ^ 0x15)),
    "answer of another generation": _B("read", "answer to no command", FIELD,
                                       lambda c, cid, d: c.rsp((cid + 1024) & 0xFFFF)),
    "answer twice": _B("read", "answer to no command", FIELD, _twice),
    "data for nobody": _B("read", "data for no read", FIELD,
                          lambda c, cid, d: c.data(cid ^ 0x15, d)),
    "data out of order": _B("read", "data out of range or order", RANGE,
                            lambda c, cid, d: c.data(cid, d[512:], 512)),
    "data too long": _B("read", "data out of range or order", RANGE,
                        lambda c, cid, d: c.data(cid, d + bytes(512))),
    "data twice": _B("read", "data for no read", FIELD,
                     lambda c, cid, d: (c.data(cid, d), c.data(cid, d))),
    "lengths differ": _B("read", "bad datal", FIELD,
                         lambda c, cid, d: c.data(cid, d, datal=len(d) - 4)),
    "no last": _B("read", "LAST not at the end", FIELD, lambda c, cid, d: c.data(cid, d, flags=0)),
    "early last": _B("read", "LAST not at the end", FIELD, lambda c, cid, d: c.data(cid, d[:512])),
    "success without last": _B("read", "bad flags", FIELD,
                               lambda c, cid, d: c.data(cid, d, flags=pdu.SUCCESS)),
    "success without data": _B("read", "success with 0 of", None, lambda c, cid, d: c.rsp(cid)),
    "half of the data": _B("read", r"success with \d+ of", None,
                           lambda c, cid, d: (c.data(cid, d[:512], flags=0), c.rsp(cid))),
    "digest not agreed on": _B("read", "bad flags", FIELD,
                               lambda c, cid, d: c.data(cid, d, flags=pdu.LAST | pdu.DDGST)),
    "data inside the header": _B("read", "bad pdo", FIELD, lambda c, cid, d: c.data(cid, d, pdo=12)),
    "R2T for a read": _B("read", "R2T for no write", FIELD, lambda c, cid, d: c.r2t(cid, 0, 512)),
    "unknown type": _B("read", "bad type", FIELD, _raw(0x33)),
    "a host's PDU": _B("read", "bad type", FIELD, _raw(pdu.CMD, 72, 72)),
    "wrong hlen": _B("read", "bad hlen", FIELD, _raw(pdu.RSP, 25)),
    "wrong plen": _B("read", "bad plen", FIELD, _raw(pdu.RSP, plen=0xFFFFFFFF)),
    "second ICResp": _B("read", "out of sequence", SEQUENCE,
                        lambda c, cid, d: c.send(icresp())),
    "zeroes": _B("read", "bad type", FIELD, _raw(0, 0, 0)),
    "C2HTermReq": _B("read", "the target terminates", None, _raw(pdu.C2H_TERM, 24, 24)),
    "malformed C2HTermReq": _B("read", "malformed C2HTermReq", None, _raw(pdu.C2H_TERM, 9, 9)),
    "end in a PDU": _B("read", "closed the connection|reset", None, _cut),
    "R2T too long": _B("write", "R2T out of range", RANGE,
                       lambda c, cid, n: c.r2t(cid, 0, n + 4)),
    "R2T out of order": _B("write", "R2T out of range", RANGE,
                           lambda c, cid, n: c.r2t(cid, 512, 512)),
    "R2T of nothing": _B("write", "bad r2tl", FIELD, lambda c, cid, n: c.r2t(cid, 0, 0)),
    "R2T for nobody": _B("write", "R2T for no write", FIELD,
                         lambda c, cid, n: c.r2t(cid ^ 0x15, 0, 512)),
    "data for a write": _B("write", "data for no read", FIELD,
                           lambda c, cid, n: c.data(cid, bytes(512))),
    "success before the data": _B("write", "success with 0 of", None,
                                  lambda c, cid, n: c.rsp(cid)),
    "ICResp of another version": _B("ic", "unknown PDU format", pdu.FES_UNSUPPORTED,
                                    lambda: icresp(pfv=1)),
    "ICResp with cpda": _B("ic", "bad cpda", FIELD, lambda: icresp(cpda=32)),
    "ICResp with digests": _B("ic", "bad dgst", FIELD, lambda: icresp(digests=1)),
    "ICResp with small data": _B("ic", "bad maxh2cdata", FIELD, lambda: icresp(maxh2cdata=4092)),
    "ICResp of another length": _B("ic", "bad plen", FIELD, lambda: icresp(plen=132)),
    "answer before ICResp": _B("ic", "out of sequence", SEQUENCE,
                               lambda: pdu.common(pdu.RSP, 24, 24) + bytes(16)),
}
