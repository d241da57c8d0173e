# SPDX-License-Identifier: BSD-3-Clause
"""Every malformed PDU gets the answer that the specification asks for, and harms nobody else.

A row of a table is one PDU: how it is made and which C2HTermReq has to come. After each, a host that
was connected all the time still works, and the connection's memory has been given back. This
runs on the sanitized flavour of karst. NVMe/TCP transport specification 1.0, sections 3.5 and 3.6.
"""
import struct
from collections import namedtuple

import pytest

import nvme_pdu as pdu
import nvme_tcp
from conftest import artefact
from hosted import Karst, memory_in_use, wait_memory
from nvme_pdu import (FES_HEADER_DIGEST, FES_HEADER_FIELD, FES_LIMIT, FES_OUT_OF_RANGE,
                      FES_SEQUENCE, FES_UNSUPPORTED)

NQN = "nqn.2026-01.io.karst.test:malformed"
SCRIPT = f"""
disk create ram small size=16M
disk create ram big size=16M block=4096
subsystem create {NQN} allow-any
namespace add {NQN} disk=small
namespace add {NQN} disk=big
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""

# Offsets of header fields: what FEI points to
TYPE, FLAGS, HLEN, PDO, PLEN = 0, 1, 2, 3, 4
PFV, HPDA, CCCID, TTAG, DATAO, DATAL = 8, 10, 8, 10, 12, 16

Case = namedtuple("Case", "name fes fei send")


def case(name, fes, fei, send):
    """SEND makes the bytes; FES is one of a tuple of statuses, FEI None where it says nothing."""
    return pytest.param(Case(name, fes if isinstance(fes, tuple) else (fes,), fei, send), id=name)


@pytest.fixture(scope="module")
def karst(out, tmp_path_factory):
    binary = artefact(out / "host/karst", "host")
    with Karst(binary, tmp_path_factory.mktemp("malformed"), SCRIPT) as process:
        yield process


@pytest.fixture(scope="module")
def bystander(karst):
    """A host that is connected all the time."""
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=1, hdgst=True, ddgst=True) as host:
        yield host


@pytest.fixture(autouse=True)
def nobody_else_notices(karst, bystander):
    before = memory_in_use(karst)
    yield
    data = nvme_tcp.pattern(16384, 42)
    bystander.write(1, 0, data)
    assert bystander.read(1, 0, 32) == data
    wait_memory(karst, before)
    karst.check_log()


def expect_end(connection, wanted, sent=None):
    """The target says why with a C2HTermReq, then closes.

    SENT is the PDU at fault, whose header comes back: as long as HLEN says, without its digest.
    """
    with pytest.raises(pdu.Terminated) as ended:
        while True:
            connection.recv()
    assert ended.value.fes in wanted.fes, f"{ended.value}, wanted {wanted.fes}"
    if wanted.fei is not None:
        assert ended.value.fei == wanted.fei, f"{ended.value}, wanted offset {wanted.fei}"
    if sent:
        assert ended.value.header == sent[:min(max(sent[HLEN], 8), len(sent), 128)]
    with pytest.raises(nvme_tcp.Closed):
        connection.recv_exact(1)


# Before ICReq

def raw(pdu_type, hlen, plen, flags=0, pdo=0):
    return pdu.common(pdu_type, hlen, plen, flags, pdo) + bytes(max(0, min(plen, 4096) - 8))


FIRST = [
    case("command", FES_SEQUENCE, None, raw(pdu.CMD, 72, 72)),
    case("h2c-data", FES_SEQUENCE, None, raw(pdu.H2C_DATA, 24, 24)),
    case("icresp", (FES_HEADER_FIELD, FES_SEQUENCE), None, raw(pdu.ICRESP, 128, 128)),
    case("response", (FES_HEADER_FIELD, FES_SEQUENCE), None, raw(pdu.RSP, 24, 24)),
    case("c2h-data", (FES_HEADER_FIELD, FES_SEQUENCE), None, raw(pdu.C2H_DATA, 24, 24)),
    case("r2t", (FES_HEADER_FIELD, FES_SEQUENCE), None, raw(pdu.R2T, 24, 24)),
    case("c2h-term", (FES_HEADER_FIELD, FES_SEQUENCE), None, raw(pdu.C2H_TERM, 24, 24)),
    case("type-8", FES_HEADER_FIELD, TYPE, raw(8, 24, 24)),
    case("type-255", FES_HEADER_FIELD, TYPE, raw(255, 255, 255)),
    case("http", FES_HEADER_FIELD, TYPE, b"GET / HTTP/1.1\r\nHost: karst\r\n\r\n"),
    case("icreq-hlen-127", FES_HEADER_FIELD, HLEN, pdu.icreq(hlen=127)),
    case("icreq-hlen-0", FES_HEADER_FIELD, HLEN, pdu.icreq(hlen=0)),
    case("icreq-hlen-255", FES_HEADER_FIELD, HLEN, pdu.icreq(hlen=255)),
    case("icreq-plen-127", FES_HEADER_FIELD, PLEN, pdu.icreq(plen=127)),
    case("icreq-plen-132", FES_HEADER_FIELD, PLEN, pdu.icreq(plen=132)),
    case("icreq-plen-0", FES_HEADER_FIELD, PLEN, pdu.icreq(plen=0)),
    case("icreq-plen-4g", FES_HEADER_FIELD, PLEN, pdu.icreq(plen=0xFFFFFFFF)),
    case("icreq-version-1", (FES_UNSUPPORTED, FES_HEADER_FIELD), PFV, pdu.icreq(pfv=1)),
    case("icreq-hpda-32", (FES_HEADER_FIELD, FES_UNSUPPORTED), HPDA, pdu.icreq(hpda=32)),
]


@pytest.mark.parametrize("wanted", FIRST)
def test_wrong_first_pdu_is_answered_and_ends_the_connection(karst, wanted):
    with nvme_tcp.Connection("127.0.0.1", karst.port) as connection:
        connection.send(wanted.send)
        expect_end(connection, wanted, wanted.send)


def test_termination_request_of_the_host_ends_the_connection_without_an_answer(karst):
    with nvme_tcp.Connection("127.0.0.1", karst.port) as connection:
        connection.send(pdu.term_req(FES_HEADER_FIELD, 2, bytes(8)))
        with pytest.raises(nvme_tcp.Closed):
            connection.recv()


# After ICReq, before Connect

def entry():
    return pdu.sqe(6, cid=1, dptr=pdu.sgl(pdu.SGL_TRANSPORT, 4096), cdw10=1)


def write_entry(size):
    return pdu.sqe(1, cid=1, nsid=1, dptr=pdu.sgl(pdu.SGL_IN_CAPSULE, size))


SECOND = [
    case("icreq-again", FES_SEQUENCE, None, lambda f: pdu.icreq()),
    case("type-8", FES_HEADER_FIELD, TYPE, lambda f: raw(8, 24, 24)),
    case("type-of-controller", (FES_HEADER_FIELD, FES_SEQUENCE), None, lambda f: raw(5, 24, 24)),
    case("command-hlen-71", FES_HEADER_FIELD, HLEN, lambda f: f.command(entry(), hlen=71)),
    case("command-hlen-0", FES_HEADER_FIELD, HLEN, lambda f: f.command(entry(), hlen=0)),
    case("command-hlen-80", FES_HEADER_FIELD, HLEN, lambda f: f.command(entry(), hlen=80)),
    case("command-plen-71", FES_HEADER_FIELD, PLEN, lambda f: f.command(entry(), plen=71)),
    case("command-plen-0", FES_HEADER_FIELD, PLEN, lambda f: f.command(entry(), plen=0)),
    case("command-plen-4g", (FES_HEADER_FIELD, FES_LIMIT), None,
         lambda f: f.command(write_entry(64), bytes(64), plen=0xFFFFFFFC)),
    case("command-pdo-in-header", FES_HEADER_FIELD, PDO,
         lambda f: f.command(write_entry(64), bytes(64), pdo=8)),
    case("command-pdo-past-the-end", FES_HEADER_FIELD, PDO,
         lambda f: f.command(write_entry(64), bytes(64), pdo=252)),
    case("command-pdo-unaligned", FES_HEADER_FIELD, PDO,
         lambda f: f.command(write_entry(66), bytes(66), pdo=74)),
    case("command-more-data-than-allowed", (FES_HEADER_FIELD, FES_LIMIT), None,
         lambda f: f.command(write_entry(32768), bytes(32768))),
    case("header-digest-not-agreed-on", FES_HEADER_FIELD, FLAGS,
         lambda f: f.command(entry(), flags=pdu.HDGST, plen=76) + bytes(4)),
    case("data-digest-not-agreed-on", FES_HEADER_FIELD, FLAGS,
         lambda f: f.command(write_entry(64), bytes(64), flags=pdu.DDGST, plen=140) + bytes(4)),
    case("h2c-data-never-asked-for", (FES_HEADER_FIELD, FES_SEQUENCE), None,
         lambda f: f.h2c_data(1, 1, 0, bytes(512))),
    case("h2c-data-hlen-23", FES_HEADER_FIELD, HLEN,
         lambda f: f.h2c_data(1, 1, 0, bytes(512), hlen=23)),
    case("h2c-data-plen-23", FES_HEADER_FIELD, PLEN,
         lambda f: f.h2c_data(1, 1, 0, bytes(512), plen=23)),
]


@pytest.mark.parametrize("wanted", SECOND)
def test_wrong_pdu_before_connect_is_answered_and_ends_the_connection(karst, wanted):
    with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
        sent = wanted.send(queue.framing)
        queue.send(sent)
        expect_end(queue, wanted, sent)


DIGESTS = [
    case("header-digest-wrong", FES_HEADER_DIGEST, None,
         lambda f: f.command(entry(), hdgst_xor=1)),
    case("header-digest-of-h2c-data-wrong", FES_HEADER_DIGEST, None,
         lambda f: f.h2c_data(1, 1, 0, bytes(512), hdgst_xor=0x80000000)),
    case("header-digest-missing", FES_HEADER_FIELD, FLAGS,
         lambda f: pdu.Framing().command(entry())),
    case("plen-without-room-for-the-digest", FES_HEADER_FIELD, PLEN,
         lambda f: f.command(entry(), plen=72)),
    case("data-digest-missing", FES_HEADER_FIELD, FLAGS,
         lambda f: pdu.Framing(True, False).command(write_entry(64), bytes(64))),
]


@pytest.mark.parametrize("wanted", DIGESTS)
def test_wrong_digest_is_answered_and_ends_the_connection(karst, wanted):
    with nvme_tcp.Queue("127.0.0.1", karst.port, hdgst=True, ddgst=True) as queue:
        sent = wanted.send(queue.framing)
        queue.send(sent)
        expect_end(queue, wanted, sent)


# While a write waits for its data

def start_write(host, size):
    """Sends a write and gives the R2T that answers it."""
    queue = host.io[0]
    data = nvme_tcp.pattern(size, 1)
    cid = queue._new_cid()
    build = host.rw(1, 1, 0, size // 512)
    queue.send(queue.framing.command(build(cid, pdu.sgl(pdu.SGL_TRANSPORT, size))))
    r2t = queue.recv()
    assert isinstance(r2t, pdu.R2t) and r2t.cid == cid and r2t.offset == 0
    return queue, data, r2t


SIZE = 65536
part = namedtuple("part", "framing r2t data most")

TRANSFERS = [
    case("cccid-of-no-command", FES_HEADER_FIELD, CCCID,
         lambda p: p.framing.h2c_data(p.r2t.cid + 1, p.r2t.ttag, 0, p.data)),
    case("ttag-not-open", FES_HEADER_FIELD, TTAG,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag ^ 1, 0, p.data)),
    case("ttag-65535", FES_HEADER_FIELD, TTAG,
         lambda p: p.framing.h2c_data(p.r2t.cid, 0xFFFF, 0, p.data)),
    case("datao-not-the-next", (FES_SEQUENCE, FES_OUT_OF_RANGE), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 512, p.data[512:])),
    case("datao-past-the-end", FES_OUT_OF_RANGE, None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, SIZE, p.data)),
    case("datao-4g", FES_OUT_OF_RANGE, None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0xFFFFFE00, p.data)),
    case("more-than-asked-for", (FES_OUT_OF_RANGE, FES_LIMIT), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data + bytes(512))),
    case("more-than-maxh2cdata", (FES_LIMIT, FES_OUT_OF_RANGE), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, bytes(p.most + 4))),
    case("datal-not-what-plen-says", (FES_HEADER_FIELD, FES_OUT_OF_RANGE), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data, datal=SIZE - 512)),
    case("datal-0", (FES_HEADER_FIELD, FES_OUT_OF_RANGE), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, b"")),
    case("last-too-early", (FES_SEQUENCE, FES_HEADER_FIELD), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data[:512], last=True)),
    case("last-missing", (FES_SEQUENCE, FES_HEADER_FIELD), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data, last=False)),
    case("pdo-in-header", FES_HEADER_FIELD, PDO,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data, pdo=16)),
    case("pdo-unaligned", FES_HEADER_FIELD, PDO,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data, pdo=26)),
    case("plen-4g", (FES_HEADER_FIELD, FES_LIMIT), None,
         lambda p: p.framing.h2c_data(p.r2t.cid, p.r2t.ttag, 0, p.data, plen=0xFFFFFFFC)),
    case("cid-in-use-by-another-icreq", FES_SEQUENCE, None, lambda p: pdu.icreq()),
]


@pytest.mark.parametrize("wanted", TRANSFERS)
def test_wrong_data_for_a_write_is_answered_and_writes_nothing(karst, bystander, wanted):
    known = bytes([0xA5]) * SIZE
    bystander.write(1, 0, known)
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        queue, data, r2t = start_write(host, SIZE)
        assert r2t.length == SIZE, "the target asks for 64 KiB at once"
        sent = wanted.send(part(queue.framing, r2t, data, queue.icresp.maxh2cdata))
        queue.send(sent)
        expect_end(queue, wanted, sent)
    assert bystander.read(1, 0, SIZE // 512) == known


def test_data_for_a_write_that_is_done_ends_the_connection(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        queue, data, r2t = start_write(host, SIZE)
        queue.send(queue.framing.h2c_data(r2t.cid, r2t.ttag, 0, data))
        assert queue.recv().status == 0
        queue.send(queue.framing.h2c_data(r2t.cid, r2t.ttag, 0, data))
        expect_end(queue, Case("", (FES_HEADER_FIELD, FES_SEQUENCE), None, None))


@pytest.mark.parametrize("inside", [True, False], ids=["in-capsule", "h2c-data"])
def test_wrong_data_digest_fails_the_command_and_keeps_the_connection(karst, bystander, inside):
    known = bytes([0x5A]) * 4096
    bystander.write(1, 0, known)
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, ddgst=True) as host:
        queue, data = host.io[0], bytes(4096)
        kind = pdu.SGL_IN_CAPSULE if inside else pdu.SGL_TRANSPORT
        command = host.rw(1, 1, 0, 8)(9, pdu.sgl(kind, 4096))
        if inside:
            queue.send(queue.framing.command(command, data, ddgst_xor=4))
        else:
            queue.send(queue.framing.command(command))
            r2t = queue.recv()
            queue.send(queue.framing.h2c_data(r2t.cid, r2t.ttag, 0, data, ddgst_xor=4))
        answer = queue.recv()
        # Transient Transport Error, to be tried again (transport 1.0, 3.3.1.1)
        assert answer.cid == 9 and answer.status & 0x7FF == 0x22, answer
        assert bystander.read(1, 0, 8) == known
        host.write(1, 0, data)
        assert host.read(1, 0, 8) == data


@pytest.mark.parametrize("cut", [1, 7, 8, 60, 127], ids="{}-bytes".format)
def test_connection_closed_inside_a_header_gives_everything_back(karst, cut):
    with nvme_tcp.Connection("127.0.0.1", karst.port) as connection:
        connection.send(pdu.icreq()[:cut])


def test_connection_closed_while_data_is_under_way_gives_everything_back(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        queue, data, r2t = start_write(host, SIZE)
        queue.send(queue.framing.h2c_data(r2t.cid, r2t.ttag, 0, data)[:5000])


def test_connection_closed_with_many_commands_open_gives_everything_back(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, depth=64) as host:
        for i in range(60):
            host.io[0].submit(host.rw(2 if i % 2 else 1, 1, 8 * i, 128),
                              None if i % 2 else bytes(65536), 65536)


def test_random_bytes_after_a_valid_start_end_the_connection(karst):
    seed = 12345
    for _ in range(50):
        with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
            noise = bytearray()
            for _ in range(64):
                seed = (seed * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
                noise += struct.pack("<Q", seed)
            noise[0] |= 0x10            # no PDU type at all
            queue.send(bytes(noise))
            expect_end(queue, Case("", (FES_HEADER_FIELD,), TYPE, None))
