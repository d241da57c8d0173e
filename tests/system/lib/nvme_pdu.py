# SPDX-License-Identifier: BSD-3-Clause
"""NVMe/TCP PDUs as bytes: building them, right or wrong, and checking those that a target sends.

Follows the NVMe/TCP transport specification 1.0. Builders take overrides for every header field, so
that a test can send any malformed PDU; `parse` accepts only what the specification lets a
controller send.
"""
import struct
from collections import namedtuple

from crc32c import crc32c

ICREQ, ICRESP, H2C_TERM, C2H_TERM, CMD, RSP, H2C_DATA, C2H_DATA, R2T = 0, 1, 2, 3, 4, 5, 6, 7, 9
NAMES = {ICREQ: "ICReq", ICRESP: "ICResp", H2C_TERM: "H2CTermReq", C2H_TERM: "C2HTermReq",
         CMD: "CapsuleCmd", RSP: "CapsuleResp", H2C_DATA: "H2CData", C2H_DATA: "C2HData",
         R2T: "R2T"}

# Flags of the common header
HDGST, DDGST, LAST, SUCCESS = 1, 2, 4, 8

# Fatal error status of a termination request (figure "FES")
FES_HEADER_FIELD, FES_SEQUENCE, FES_HEADER_DIGEST = 1, 2, 3
FES_OUT_OF_RANGE, FES_LIMIT, FES_UNSUPPORTED = 4, 5, 6

# SGL descriptor identifiers: type in the high nibble, subtype in the low one
SGL_IN_CAPSULE, SGL_TRANSPORT = 0x01, 0x5A

# Length of the header of what a controller sends
_HLEN = {ICRESP: 128, C2H_TERM: 24, RSP: 24, C2H_DATA: 24, R2T: 24}


class ProtocolError(Exception):
    """The target sent what the specification forbids."""


class Terminated(Exception):
    """The target ended the connection with a C2HTermReq."""

    def __init__(self, term):
        super().__init__(f"C2HTermReq fes {term.fes} fei {term.fei} of {len(term.header)} bytes")
        self.fes, self.fei, self.header = term.fes, term.fei, term.header


Icresp = namedtuple("Icresp", "pfv cpda digests maxh2cdata")
Rsp = namedtuple("Rsp", "dw0 dw1 sqhd sqid cid status")
Data = namedtuple("Data", "cid offset data last success")
R2t = namedtuple("R2t", "cid ttag offset length")
Term = namedtuple("Term", "fes fei header")


def common(pdu_type, hlen, plen, flags=0, pdo=0):
    return struct.pack("<BBBBI", pdu_type, flags, hlen, pdo, plen)


def icreq(pfv=0, hpda=0, hdgst=False, ddgst=False, maxr2t=0, *, pdu_type=ICREQ, flags=0, hlen=128,
          pdo=0, plen=128, digests=None, tail=bytes(112)):
    if digests is None:
        digests = int(hdgst) | int(ddgst) << 1
    return common(pdu_type, hlen, plen, flags, pdo) + \
        struct.pack("<HBBI", pfv, hpda, digests, maxr2t) + tail


def sgl(kind, length, address=0):
    return struct.pack("<QI3xB", address, length, kind)


def sqe(opcode, cid=0, nsid=0, dptr=bytes(16), cdw10=0, cdw11=0, cdw12=0, cdw13=0, cdw14=0, cdw15=0,
        *, flags=0x40, cdw2=0, cdw3=0, mptr=0):
    """A submission queue entry; flags 0x40 says that the data pointer is an SGL."""
    return struct.pack("<BBHIIIQ16s6I", opcode, flags, cid, nsid, cdw2, cdw3, mptr, dptr,
                       cdw10, cdw11, cdw12, cdw13, cdw14, cdw15)


def fabrics(fctype, cid=0, dptr=bytes(16), rest=bytes(24), *, flags=0x40, opcode=0x7F):
    """A Fabrics command: the type in byte 4, its own fields from byte 40."""
    assert len(rest) <= 24
    return struct.pack("<BBHB19x16s24s", opcode, flags, cid, fctype, dptr, rest)


def term_req(fes, fei=0, header=b"", *, plen=None, hlen=24, flags=0, pdo=0):
    plen = 24 + len(header) if plen is None else plen
    return common(H2C_TERM, hlen, plen, flags, pdo) + struct.pack("<HI10x", fes, fei) + header


class Framing:
    """Digests and alignment as agreed by ICReq and ICResp; frames PDUs that carry data."""

    def __init__(self, hdgst=False, ddgst=False, cpda=0):
        self.hdgst, self.ddgst, self.cpda = hdgst, ddgst, cpda

    def frame(self, pdu_type, specific, data=b"", *, flags=0, hlen=None, pdo=None, plen=None,
              hdgst_xor=0, ddgst_xor=0):
        """The whole PDU. HDGST_XOR and DDGST_XOR spoil the digests; overrides replace fields."""
        right_hlen = 8 + len(specific)
        offset = right_hlen + (4 if self.hdgst else 0)
        if data:
            align = (self.cpda + 1) * 4
            offset = (offset + align - 1) // align * align
        total = offset + len(data) + (4 if self.ddgst and data else 0)
        flags |= (HDGST if self.hdgst else 0) | (DDGST if self.ddgst and data else 0)
        head = common(pdu_type, right_hlen if hlen is None else hlen,
                      total if plen is None else plen, flags,
                      (offset if data else 0) if pdo is None else pdo) + specific
        out = head
        if self.hdgst:
            out += struct.pack("<I", crc32c(head) ^ hdgst_xor)
        if data:
            out += bytes(offset - len(out)) + data
            if self.ddgst:
                out += struct.pack("<I", crc32c(data) ^ ddgst_xor)
        return out

    def command(self, entry, data=b"", **override):
        return self.frame(CMD, entry, data, **override)

    def h2c_data(self, cid, ttag, offset, data, last=True, *, datal=None, flags=None, **override):
        specific = struct.pack("<HHII4x", cid, ttag, offset, len(data) if datal is None else datal)
        return self.frame(H2C_DATA, specific, data,
                          flags=(LAST if last else 0) if flags is None else flags, **override)


def parse(head, body, framing):
    """What a controller sent: HEAD of hlen bytes, BODY the rest of plen. A namedtuple."""
    kind, flags, hlen, pdo, plen = struct.unpack_from("<BBBBI", head)
    name = NAMES.get(kind, f"type {kind}")
    if kind not in _HLEN:
        raise ProtocolError(f"{name} is not for a controller to send")
    if hlen != _HLEN[kind]:
        raise ProtocolError(f"{name}: hlen {hlen}")
    has_hdgst = framing.hdgst and kind not in (ICRESP, C2H_TERM)
    if bool(flags & HDGST) != has_hdgst:
        raise ProtocolError(f"{name}: HDGSTF {flags & HDGST} but agreed on {has_hdgst}")
    if has_hdgst:
        if struct.unpack_from("<I", body)[0] != crc32c(head):
            raise ProtocolError(f"{name}: wrong header digest")
    if kind == C2H_DATA:
        return _parse_data(head, body, framing, flags, pdo, plen)
    if kind == C2H_TERM:
        fes, fei = struct.unpack_from("<HI", head, 8)
        if plen > 152:
            raise ProtocolError(f"C2HTermReq of {plen} bytes")
        return Term(fes, fei, body)
    if flags & ~HDGST or pdo:
        raise ProtocolError(f"{name}: flags {flags:#x} pdo {pdo}")
    if plen != hlen + (4 if has_hdgst else 0):
        raise ProtocolError(f"{name}: plen {plen}")
    if kind == ICRESP:
        return Icresp(*struct.unpack_from("<HBBI", head, 8))
    if kind == RSP:
        dw0, dw1, sqhd, sqid, cid, status = struct.unpack_from("<IIHHHH", head, 8)
        if status & 1:
            raise ProtocolError(f"CapsuleResp cid {cid}: phase bit set")
        return Rsp(dw0, dw1, sqhd, sqid, cid, status >> 1)
    return R2t(*struct.unpack_from("<HHII", head, 8))


def _parse_data(head, body, framing, flags, pdo, plen):
    cid, offset, length = struct.unpack_from("<H2xII", head, 8)
    what = f"C2HData cid {cid} offset {offset}"
    if bool(flags & DDGST) != framing.ddgst:
        raise ProtocolError(f"{what}: DDGSTF {flags & DDGST} but agreed on {framing.ddgst}")
    if flags & SUCCESS and not flags & LAST:
        raise ProtocolError(f"{what}: SUCCESS without LAST")
    if pdo < len(head) + (4 if framing.hdgst else 0):
        raise ProtocolError(f"{what}: pdo {pdo} is inside the header")
    if plen != pdo + length + (4 if framing.ddgst else 0):
        raise ProtocolError(f"{what}: plen {plen}, pdo {pdo}, datal {length}")
    start = pdo - len(head)
    data = body[start:start + length]
    if framing.ddgst and struct.unpack_from("<I", body, start + length)[0] != crc32c(data):
        raise ProtocolError(f"{what}: wrong data digest")
    return Data(cid, offset, data, bool(flags & LAST), bool(flags & SUCCESS))
