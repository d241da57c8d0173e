# SPDX-License-Identifier: BSD-3-Clause
"""A small NVMe/TCP host in Python: one blocking socket for each queue, any number of commands open.

`Connection` moves PDUs (nvme_pdu.py) and can send any bytes; `Queue` runs commands on one; `Host` is
an admin queue and I/O queues of one controller, with the commands by name. It checks everything the
target sends and raises ProtocolError when a target does what the specification forbids. NVMe base
2.0, NVMe over Fabrics in it, NVMe/TCP transport 1.0.

    nvme_tcp.py discover HOST PORT          prints the discovery log
    nvme_tcp.py smoke HOST PORT [NQN]       discover, connect, write, read back, compare
"""
import os
import socket
import struct
import sys
from collections import deque, namedtuple

import nvme_pdu as pdu
from nvme_pdu import ProtocolError, Terminated

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
HOST_NQN = "nqn.2014-08.org.nvmexpress:uuid:6b617273-742d-7465-7374-2d686f737430"
DEADLINE_S = 60

# Registers (properties)
CAP, VS, CC, CSTS = 0x00, 0x08, 0x14, 0x1C

LogEntry = namedtuple("LogEntry", "trtype adrfam subtype treq portid cntlid asqsz trsvcid subnqn "
                                  "traddr")
Namespace = namedtuple("Namespace", "nsid blocks block_bytes raw")


class Status(Exception):
    """A command ended with an NVMe error: sct and sc say which."""

    def __init__(self, rsp, what=""):
        self.sct, self.sc = rsp.status >> 8 & 7, rsp.status & 0xFF
        self.dnr, self.rsp = bool(rsp.status >> 14 & 1), rsp
        super().__init__(f"{what}: sct {self.sct} sc {self.sc:#x} dnr {int(self.dnr)} "
                         f"dw0 {rsp.dw0:#x}")


class Closed(Exception):
    """The target closed the connection."""


class Connection:
    """One TCP connection and its PDUs."""

    def __init__(self, address, port, timeout_s=DEADLINE_S):
        self.sock = socket.create_connection((address, port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.framing = pdu.Framing()
        self.icresp = None

    def send(self, data):
        self.sock.sendall(data)

    def recv_exact(self, size):
        buffer = bytearray(size)
        view, have = memoryview(buffer), 0
        while have < size:
            try:
                got = self.sock.recv_into(view[have:])
            except ConnectionResetError:
                got = 0
            if got == 0:
                raise Closed(f"connection closed {have} bytes into {size}")
            have += got
        return bytes(buffer)

    def recv(self):
        """The next PDU; Terminated for a C2HTermReq, Closed at the end of the stream."""
        head = self.recv_exact(8)
        hlen, plen = head[2], struct.unpack_from("<I", head, 4)[0]
        if hlen < 8 or plen < hlen or plen > 32 << 20:
            raise ProtocolError(f"PDU type {head[0]}: hlen {hlen} plen {plen}")
        head += self.recv_exact(hlen - 8)
        answer = pdu.parse(head, self.recv_exact(plen - hlen), self.framing)
        if isinstance(answer, pdu.Term):
            raise Terminated(answer)
        return answer

    def initialize(self, hdgst=False, ddgst=False, maxr2t=0):
        """ICReq and ICResp."""
        self.send(pdu.icreq(hdgst=hdgst, ddgst=ddgst, maxr2t=maxr2t))
        answer = self.recv()
        if not isinstance(answer, pdu.Icresp):
            raise ProtocolError(f"ICReq answered by {answer}")
        if answer.pfv or answer.cpda > 31 or answer.maxh2cdata < 4096 or answer.maxh2cdata % 4:
            raise ProtocolError(f"bad {answer}")
        if answer.digests & ~(int(hdgst) | int(ddgst) << 1):
            raise ProtocolError(f"digests {answer.digests:#x} were not asked for")
        self.icresp = answer
        self.framing = pdu.Framing(bool(answer.digests & 1), bool(answer.digests & 2), answer.cpda)
        return answer

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Command:
    def __init__(self, data, expect):
        self.data = data                # to send when asked (R2T), or None
        self.sent = 0
        self.buffer = bytearray()       # received so far
        self.expect = expect
        self.last = False
        self.rsp = None


class Queue(Connection):
    """A connection with commands on it."""

    def __init__(self, address, port, hdgst=False, ddgst=False, timeout_s=DEADLINE_S, maxr2t=0):
        super().__init__(address, port, timeout_s)
        self.initialize(hdgst, ddgst, maxr2t)
        self.qid = 0
        self.in_capsule_bytes = 8192    # the admin queue's; see Host for I/O queues
        self.next_cid = 0
        self.open = {}
        self.r2t_count = 0
        self.success_count = 0
        self.on_r2t = None              # a test may take R2Ts into its own hands

    def _new_cid(self):
        while self.next_cid in self.open:
            self.next_cid = (self.next_cid + 1) % 65535
        cid, self.next_cid = self.next_cid, (self.next_cid + 1) % 65535
        return cid

    def submit(self, build, data=None, expect=0, in_capsule=True):
        """Sends a command; returns its identifier for wait().

        BUILD(cid, dptr) gives the 64 bytes; DATA goes to the controller, inside the capsule when it
        fits and IN_CAPSULE is set; EXPECT is how many bytes come back at most.
        """
        cid = self._new_cid()
        inside = data if data and in_capsule and len(data) <= self.in_capsule_bytes else b""
        if inside:
            dptr = pdu.sgl(pdu.SGL_IN_CAPSULE, len(data))
        else:
            dptr = pdu.sgl(pdu.SGL_TRANSPORT, len(data) if data else expect)
        self.open[cid] = _Command(None if inside else data, expect)
        self.send(self.framing.command(build(cid, dptr), inside))
        return cid

    def wait(self, cid):
        """Receives until command CID is done: (rsp, data)."""
        while self.open[cid].rsp is None:
            self.pump()
        command = self.open.pop(cid)
        return command.rsp, bytes(command.buffer)

    def run(self, build, data=None, expect=0, in_capsule=True, what="command"):
        """One command to its end; raises Status when it failed."""
        rsp, back = self.wait(self.submit(build, data, expect, in_capsule))
        if rsp.status:
            raise Status(rsp, what)
        return rsp, back

    def pump(self):
        """Receives one PDU and acts on it."""
        answer = self.recv()
        command = self.open.get(getattr(answer, "cid", None))
        if command is None or command.rsp is not None:
            raise ProtocolError(f"{answer} is for no open command")
        if isinstance(answer, pdu.Rsp):
            if answer.sqid != 0 and answer.sqid != self.qid:
                raise ProtocolError(f"{answer} on queue {self.qid}")
            command.rsp = answer
        elif isinstance(answer, pdu.Data):
            self._take_data(command, answer)
        elif isinstance(answer, pdu.R2t):
            self._take_r2t(command, answer)
        else:
            raise ProtocolError(f"{answer} in the middle of a connection")

    def _take_data(self, command, answer):
        if command.last:
            raise ProtocolError(f"C2HData cid {answer.cid} after the last one")
        if answer.offset != len(command.buffer):
            raise ProtocolError(f"C2HData cid {answer.cid}: offset {answer.offset}, have "
                                f"{len(command.buffer)}")
        command.buffer += answer.data
        if len(command.buffer) > command.expect:
            raise ProtocolError(f"C2HData cid {answer.cid}: more than {command.expect} bytes")
        command.last = answer.last
        if answer.success:
            self.success_count += 1
            command.rsp = pdu.Rsp(0, 0, None, self.qid, answer.cid, 0)

    def _take_r2t(self, command, answer):
        self.r2t_count += 1
        if self.on_r2t:
            self.on_r2t(answer)
            return
        if command.data is None:
            raise ProtocolError(f"{answer}: nothing to send")
        if answer.offset != command.sent or answer.length == 0 or \
                answer.offset + answer.length > len(command.data):
            raise ProtocolError(f"{answer}: sent {command.sent} of {len(command.data)}")
        command.sent += answer.length
        end = answer.offset + answer.length
        for start in range(answer.offset, end, self.icresp.maxh2cdata):
            part = command.data[start:min(start + self.icresp.maxh2cdata, end)]
            self.send(self.framing.h2c_data(answer.cid, answer.ttag, start, part,
                                            last=start + len(part) == end))

    # Fabrics commands

    def connect(self, subnqn, hostnqn=HOST_NQN, hostid=None, qid=0, sqsize=31, cntlid=0xFFFF,
                kato_ms=0, cattr=0, recfmt=0, data=None):
        """Connect; returns the controller identifier."""
        hostid = hostid or hostnqn.encode()[-16:].rjust(16, b"\1")
        if data is None:
            data = struct.pack("<16sH238x256s256s256x", hostid, cntlid, subnqn.encode(),
                               hostnqn.encode())
        rest = struct.pack("<HHHBxI", recfmt, qid, sqsize, cattr, kato_ms)
        self.qid = qid
        rsp, _ = self.run(lambda cid, dptr: pdu.fabrics(1, cid, dptr, rest), data, what="Connect")
        return rsp.dw0 & 0xFFFF

    def property_get(self, offset, size=4):
        rest = struct.pack("<B3xI", 1 if size == 8 else 0, offset)
        rsp, _ = self.run(lambda cid, dptr: pdu.fabrics(4, cid, rest=rest),
                          what=f"Property Get {offset:#x}")
        return rsp.dw0 | rsp.dw1 << 32 if size == 8 else rsp.dw0

    def property_set(self, offset, value, size=4):
        rest = struct.pack("<B3xIQ", 1 if size == 8 else 0, offset, value)
        self.run(lambda cid, dptr: pdu.fabrics(0, cid, rest=rest), what=f"Property Set {offset:#x}")


def _simple(opcode, nsid=0, **fields):
    return lambda cid, dptr: pdu.sqe(opcode, cid, nsid, dptr, **fields)


class Host:
    """A connected controller."""

    def __init__(self, address, port, subnqn, *, queues=1, depth=32, hostnqn=HOST_NQN, hostid=None,
                 hdgst=False, ddgst=False, maxr2t=0, kato_ms=0, timeout_s=DEADLINE_S,
                 no_flow_control=False):
        self.where = (address, port)
        self.subnqn, self.hostnqn, self.hostid = subnqn, hostnqn, hostid
        self.initial = {"hdgst": hdgst, "ddgst": ddgst, "maxr2t": maxr2t}
        self.timeout_s, self.kato_ms = timeout_s, kato_ms
        self.cattr = 4 if no_flow_control else 0
        self.io = []
        self.admin = Queue(address, port, timeout_s=timeout_s, **self.initial)
        try:
            self.cntlid = self.admin.connect(subnqn, hostnqn, hostid, kato_ms=kato_ms)
            self.enable()
            self.controller = self.identify(1)
            ioccsz = struct.unpack_from("<I", self.controller, 1792)[0]
            self.in_capsule_bytes = max(0, ioccsz * 16 - 64)
            self.mdts_bytes = 4096 << self.controller[77] if self.controller[77] else 1 << 30
            if queues:
                self.queues_granted = self.set_queues(queues)
                for qid in range(1, min(queues, self.queues_granted) + 1):
                    self.add_queue(qid, depth)
        except BaseException:
            self.close()
            raise

    def enable(self):
        """CC.EN with the fabrics entry sizes, then CSTS.RDY."""
        cap = self.admin.property_get(CAP, 8)
        self.admin.property_set(CC, 1 | 6 << 16 | 4 << 20)
        for _ in range(2 * (cap >> 24 & 0xFF) * 1000 + 1000):
            csts = self.admin.property_get(CSTS)
            if csts & 2:
                raise ProtocolError("CSTS.CFS after enable")
            if csts & 1:
                return
        raise ProtocolError("CSTS.RDY did not come")

    def add_queue(self, qid, depth=32):
        queue = Queue(*self.where, timeout_s=self.timeout_s, **self.initial)
        self.io.append(queue)
        queue.connect(self.subnqn, self.hostnqn, self.hostid, qid, depth - 1, self.cntlid,
                      cattr=self.cattr)
        queue.in_capsule_bytes = self.in_capsule_bytes
        return queue

    def close(self):
        for queue in self.io + [self.admin]:
            queue.close()

    def disconnect(self):
        """CC.SHN normal, wait for CSTS.SHST, then close."""
        self.admin.property_set(CC, self.admin.property_get(CC) & ~(3 << 14) | 1 << 14)
        while self.admin.property_get(CSTS) >> 2 & 3 != 2:
            pass
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Admin commands

    def identify(self, cns, nsid=0, cntid=0, cdw11=0):
        _, data = self.admin.run(_simple(6, nsid, cdw10=cns | cntid << 16, cdw11=cdw11), expect=4096,
                                 what=f"Identify cns {cns:#x} nsid {nsid}")
        if len(data) != 4096:
            raise ProtocolError(f"Identify cns {cns:#x} gave {len(data)} bytes")
        return data

    def active_namespaces(self):
        return [n for n in struct.unpack("<1024I", self.identify(2)) if n]

    def namespace(self, nsid):
        raw = self.identify(0, nsid)
        shift = struct.unpack_from("<I", raw, 128 + 4 * (raw[26] & 15))[0] >> 16 & 0xFF
        return Namespace(nsid, struct.unpack_from("<Q", raw)[0], 1 << shift, raw)

    def get_log(self, lid, size, nsid=0, offset=0, lsp=0, rae=0):
        numd = size // 4 - 1
        build = _simple(2, nsid, cdw10=lid | lsp << 8 | rae << 15 | (numd & 0xFFFF) << 16,
                        cdw11=numd >> 16, cdw12=offset & 0xFFFFFFFF, cdw13=offset >> 32)
        return self.admin.run(build, expect=size, what=f"Get Log Page {lid:#x}")[1]

    def get_feature(self, fid, nsid=0, cdw11=0, expect=0):
        rsp, data = self.admin.run(_simple(10, nsid, cdw10=fid, cdw11=cdw11), expect=expect,
                                   what=f"Get Features {fid:#x}")
        return (rsp.dw0, data) if expect else rsp.dw0

    def set_feature(self, fid, value, nsid=0, data=None):
        return self.admin.run(_simple(9, nsid, cdw10=fid, cdw11=value), data,
                              what=f"Set Features {fid:#x}")[0].dw0

    def set_queues(self, count):
        granted = self.set_feature(7, (count - 1) | (count - 1) << 16)
        return min(granted & 0xFFFF, granted >> 16) + 1

    def keep_alive(self):
        self.admin.run(_simple(0x18), what="Keep Alive")

    def async_event(self):
        """Arms an Asynchronous Event Request; wait on the admin queue for what it returns."""
        return self.admin.submit(_simple(0x0C))

    def discovery_log(self):
        header = self.get_log(0x70, 1024)
        count = struct.unpack_from("<Q", header, 8)[0]
        raw = self.get_log(0x70, 1024 * (count + 1))
        entries = []
        for i in range(1, count + 1):
            e = raw[1024 * i:1024 * (i + 1)]
            text = [e[a:b].split(b"\0")[0].decode().rstrip() for a, b in
                    ((32, 64), (256, 512), (512, 768))]
            entries.append(LogEntry(*struct.unpack_from("<BBBBHHH", e), *text))
        return entries

    # I/O commands; QUEUE counts the connected I/O queues from 0

    def read(self, nsid, lba, count, block_bytes=512, queue=0, fua=False):
        size = count * block_bytes
        _, data = self.io[queue].run(self.rw(2, nsid, lba, count, fua), expect=size,
                                     what=f"Read {lba}+{count}")
        if len(data) != size:
            raise ProtocolError(f"Read {lba}+{count} gave {len(data)} of {size} bytes")
        return data

    def write(self, nsid, lba, data, block_bytes=512, queue=0, in_capsule=True, fua=False):
        count = len(data) // block_bytes
        self.io[queue].run(self.rw(1, nsid, lba, count, fua), data, in_capsule=in_capsule,
                           what=f"Write {lba}+{count}")

    def compare(self, nsid, lba, data, block_bytes=512, queue=0, in_capsule=True):
        count = len(data) // block_bytes
        self.io[queue].run(self.rw(5, nsid, lba, count), data, in_capsule=in_capsule,
                           what=f"Compare {lba}+{count}")

    def flush(self, nsid, queue=0):
        self.io[queue].run(_simple(0, nsid), what="Flush")

    def write_zeroes(self, nsid, lba, count, queue=0):
        self.io[queue].run(self.rw(8, nsid, lba, count), what=f"Write Zeroes {lba}+{count}")

    def deallocate(self, nsid, ranges, queue=0):
        data = b"".join(struct.pack("<IIQ", 0, count, lba) for lba, count in ranges)
        self.io[queue].run(_simple(9, nsid, cdw10=len(ranges) - 1, cdw11=4), data,
                           what="Dataset Management")

    @staticmethod
    def rw(opcode, nsid, lba, count, fua=False):
        return _simple(opcode, nsid, cdw10=lba & 0xFFFFFFFF, cdw11=lba >> 32,
                       cdw12=(count - 1) | int(fua) << 30)


def pattern(size, seed):
    """SIZE bytes that differ in every block and for every SEED."""
    return b"".join(struct.pack("<QQ", seed, i) for i in range(size // 16))


def discover(address, port):
    with Host(address, port, DISCOVERY_NQN, queues=0) as host:
        return host.discovery_log()


def smoke(address, port, subnqn=None):
    """Discover, connect, write, read back and compare on every namespace; a line of result.

    Overwrites the first MiB of every namespace of the subsystem.
    """
    found = discover(address, port)
    subsystems = [e.subnqn for e in found if e.subtype == 2 and e.trtype == 3]
    subnqn = subnqn or subsystems[0]
    if subnqn not in subsystems:
        raise ProtocolError(f"{subnqn} is not in the discovery log: {subsystems}")
    told = []
    with Host(address, port, subnqn, queues=2, depth=32, hdgst=True, ddgst=True) as host:
        namespaces = host.active_namespaces()
        if not namespaces:
            raise ProtocolError(f"{subnqn} has no namespaces")
        for nsid in namespaces:
            ns = host.namespace(nsid)
            size = min(1 << 20, host.mdts_bytes, ns.blocks * ns.block_bytes)
            data = pattern(size, struct.unpack("<Q", os.urandom(8))[0])
            window, lba = deque(), 0
            for start in range(0, size, 128 << 10):
                part = data[start:start + (128 << 10)]
                count = len(part) // ns.block_bytes
                window.append(host.io[0].submit(host.rw(1, nsid, lba, count), part))
                lba += count
            for cid in window:
                rsp, _ = host.io[0].wait(cid)
                if rsp.status:
                    raise Status(rsp, f"Write on namespace {nsid}")
            host.flush(nsid)
            back = host.read(nsid, 0, size // ns.block_bytes, ns.block_bytes,
                             queue=len(host.io) - 1)
            if back != data:
                wrong = next(i for i in range(size) if back[i] != data[i])
                raise ProtocolError(f"namespace {nsid}: byte {wrong} is not what was written")
            told.append(f"nsid {nsid}: {size >> 10} KiB of {ns.block_bytes}-byte blocks")
        host.disconnect()
    return f"{subnqn} on {address}:{port}: {', '.join(told)} written, read back and equal"


def main(args):
    if len(args) < 3 or args[0] not in ("discover", "smoke"):
        print(__doc__.split("\n\n", 2)[2].rstrip(), file=sys.stderr)
        return 2
    try:
        if args[0] == "discover":
            for entry in discover(args[1], int(args[2])):
                print(*(f"{k}={v}" for k, v in entry._asdict().items()))
        else:
            print("smoke: PASS:", smoke(args[1], int(args[2]), *args[3:4]))
    except (ProtocolError, Terminated, Closed, Status, OSError, IndexError) as error:
        print(f"{args[0]}: FAIL: {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
