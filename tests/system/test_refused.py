# SPDX-License-Identifier: BSD-3-Clause
"""Well-formed PDUs that carry commands which a controller has to refuse: the right NVMe status comes
back and the connection goes on. NVMe base 2.0, NVM command set 1.0.
"""
import struct

import pytest

import nvme_pdu as pdu
import nvme_tcp
from conftest import artefact
from hosted import Karst, memory_in_use, wait_memory

NQN = "nqn.2026-01.io.karst.test:refused"
CLOSED = "nqn.2026-01.io.karst.test:closed"
BLOCKS = 16 * 2048

# (status code type, status code)
OK, INVALID_OPCODE, INVALID_FIELD, SEQUENCE = (0, 0), (0, 1), (0, 2), (0, 0xC)
BAD_NAMESPACE, SGL_LENGTH, SGL_TYPE, SGL_OFFSET = (0, 0xB), (0, 0xF), (0, 0x11), (0, 0x16)
SGL_COUNT, LBA_RANGE, COMPARE_FAILED = (0, 0xD), (0, 0x80), (2, 0x85)
CONNECT_FORMAT, CONNECT_INVALID, CONNECT_HOST = (1, 0x80), (1, 0x82), (1, 0x84)


@pytest.fixture(scope="module")
def karst(out, tmp_path_factory):
    script = f"""
disk create ram small size=16M
subsystem create {NQN} allow-any
namespace add {NQN} disk=small
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
subsystem create {CLOSED}
host allow {CLOSED} {nvme_tcp.HOST_NQN}
namespace add {CLOSED} disk=small
listener add {CLOSED} transport=tcp address=127.0.0.1 port={{port}}
"""
    binary = artefact(out / "host/karst", "host")
    with Karst(binary, tmp_path_factory.mktemp("refused"), script) as process:
        yield process


@pytest.fixture(autouse=True)
def memory_given_back(karst):
    before = memory_in_use(karst)
    yield
    wait_memory(karst, before)
    karst.check_log()


def status_of(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except nvme_tcp.Status as status:
        return status.sct, status.sc
    return OK


def io(opcode, nsid=1, lba=0, count=8, **fields):
    """Builder of a read or write with some field wrong."""
    words = {"cdw10": lba & 0xFFFFFFFF, "cdw11": lba >> 32, "cdw12": count - 1}
    words.update(fields)
    return lambda cid, dptr: pdu.sqe(opcode, cid, nsid, dptr, **words)


def with_sgl(opcode, sgl, **fields):
    words = {"cdw12": 7}
    words.update(fields)
    return lambda cid, dptr: pdu.sqe(opcode, cid, 1, sgl, **words)


# name, builder, data in the capsule, bytes expected back, statuses that are right
COMMANDS = [
    ("opcode-0x7e", io(0x7E), None, 0, {INVALID_OPCODE}),
    ("opcode-0x03", io(0x03), None, 0, {INVALID_OPCODE}),
    ("read-namespace-0", io(2, nsid=0), None, 4096, {BAD_NAMESPACE, INVALID_FIELD}),
    ("read-namespace-2", io(2, nsid=2), None, 4096, {BAD_NAMESPACE, INVALID_FIELD}),
    ("read-namespace-all", io(2, nsid=0xFFFFFFFF), None, 4096, {BAD_NAMESPACE, INVALID_FIELD}),
    ("read-past-the-end", io(2, lba=BLOCKS - 7), None, 4096, {LBA_RANGE}),
    ("read-at-the-end", io(2, lba=BLOCKS), None, 4096, {LBA_RANGE}),
    ("read-lba-2-to-the-64", io(2, lba=(1 << 64) - 1), None, 4096, {LBA_RANGE}),
    ("write-past-the-end", io(1, lba=BLOCKS - 7), bytes(4096), 0, {LBA_RANGE}),
    ("write-zeroes-past-the-end", io(8, lba=BLOCKS - 1, count=2), None, 0, {LBA_RANGE}),
    ("write-zeroes-lba-2-to-the-64", io(8, lba=(1 << 64) - 1), None, 0, {LBA_RANGE}),
    ("compare-past-the-end", io(5, lba=BLOCKS - 7), bytes(4096), 0, {LBA_RANGE}),
    ("read-more-than-mdts", io(2, count=4096), None, 2 << 20, {INVALID_FIELD}),
    ("read-sgl-shorter-than-the-blocks", io(2, count=16), None, 4096, {SGL_LENGTH}),
    ("write-capsule-shorter-than-the-blocks", io(1, count=16), bytes(4096), 0, {SGL_LENGTH}),
    ("write-of-prps", io(1, flags=0x00), bytes(4096), 0, {INVALID_FIELD}),
    ("write-of-reserved-psdt", io(1, flags=0xC0), bytes(4096), 0, {INVALID_FIELD}),
    ("write-fused-reserved", io(1, flags=0x43), bytes(4096), 0, {INVALID_FIELD}),
    ("write-sgl-type-15", with_sgl(1, pdu.sgl(0xF0, 4096)), bytes(4096), 0, {SGL_TYPE}),
    ("write-sgl-keyed", with_sgl(1, pdu.sgl(0x40, 4096)), bytes(4096), 0, {SGL_TYPE}),
    ("write-sgl-segment", with_sgl(1, pdu.sgl(0x20, 16)), bytes(4096), 0,
     {SGL_TYPE, SGL_COUNT, INVALID_FIELD}),
    ("write-sgl-subtype-7", with_sgl(1, pdu.sgl(0x07, 4096)), bytes(4096), 0, {SGL_TYPE}),
    ("write-offset-past-the-capsule", with_sgl(1, pdu.sgl(1, 4096, 4096)), bytes(4096), 0,
     {SGL_OFFSET, SGL_LENGTH}),
    ("write-offset-2-to-the-64", with_sgl(1, pdu.sgl(1, 4096, (1 << 64) - 512)), bytes(4096), 0,
     {SGL_OFFSET, SGL_LENGTH}),
    ("write-capsule-longer-than-its-data", with_sgl(1, pdu.sgl(1, 8192), cdw12=15), bytes(4096), 0,
     {SGL_LENGTH, SGL_OFFSET}),
    ("read-into-the-capsule", with_sgl(2, pdu.sgl(1, 4096)), None, 0,
     {SGL_TYPE, SGL_LENGTH, INVALID_FIELD}),
    ("deallocate-past-the-end", lambda cid, dptr: pdu.sqe(9, cid, 1, dptr, cdw10=0, cdw11=4),
     struct.pack("<IIQ", 0, 8, BLOCKS - 1), 0, {LBA_RANGE}),
    ("deallocate-more-ranges-than-data",
     lambda cid, dptr: pdu.sqe(9, cid, 1, dptr, cdw10=255, cdw11=4), bytes(16), 0, {SGL_LENGTH}),
    ("flush-namespace-7", lambda cid, dptr: pdu.sqe(0, cid, 7), None, 0, {BAD_NAMESPACE}),
    ("connect-on-a-connected-queue",
     lambda cid, dptr: pdu.fabrics(1, cid, dptr, struct.pack("<HHHBxI", 0, 1, 31, 0, 0)),
     bytes(1024), 0, {SEQUENCE, INVALID_FIELD}),
    ("fabrics-type-0x99", lambda cid, dptr: pdu.fabrics(0x99, cid), None, 0,
     {INVALID_OPCODE, INVALID_FIELD}),
]


@pytest.mark.parametrize("build,data,expect,right", [pytest.param(*row[1:], id=row[0])
                                                     for row in COMMANDS])
def test_wrong_io_command_gets_its_status_and_the_queue_goes_on(karst, build, data, expect, right):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        assert status_of(host.io[0].run, build, data, expect) in right
        block = nvme_tcp.pattern(4096, 5)
        host.write(1, 8, block)
        assert host.read(1, 8, 8) == block


ADMIN = [
    ("opcode-0x7d", 0x7D, {}, 0, {INVALID_OPCODE}),
    ("create-sq", 0x01, {}, 0, {INVALID_OPCODE}),
    ("delete-cq", 0x04, {}, 0, {INVALID_OPCODE}),
    ("identify-cns-0x77", 6, {"cdw10": 0x77}, 4096, {INVALID_FIELD}),
    ("identify-namespace-0", 6, {"cdw10": 0, "nsid": 0}, 4096, {BAD_NAMESPACE, INVALID_FIELD}),
    ("identify-namespace-9999", 6, {"cdw10": 0, "nsid": 9999}, 4096, {OK, BAD_NAMESPACE}),
    ("descriptors-namespace-9999", 6, {"cdw10": 3, "nsid": 9999}, 4096,
     {BAD_NAMESPACE, INVALID_FIELD}),
    ("active-list-after-all", 6, {"cdw10": 2, "nsid": 0xFFFFFFFF}, 4096,
     {BAD_NAMESPACE, INVALID_FIELD}),
    ("log-page-0xee", 2, {"cdw10": 0xEE | 127 << 16}, 512, {INVALID_FIELD, (1, 0x09)}),
    ("log-page-offset-past-the-end", 2, {"cdw10": 2 | 127 << 16, "cdw12": 1 << 20}, 512,
     {INVALID_FIELD}),
    ("log-page-offset-unaligned", 2, {"cdw10": 2 | 127 << 16, "cdw12": 2}, 512, {INVALID_FIELD}),
    ("get-feature-0xee", 10, {"cdw10": 0xEE}, 0, {INVALID_FIELD}),
    ("set-feature-0xee", 9, {"cdw10": 0xEE}, 0, {INVALID_FIELD}),
    ("set-queues-65536", 9, {"cdw10": 7, "cdw11": 0xFFFFFFFF}, 0, {INVALID_FIELD}),
    ("abort-of-nothing", 8, {"cdw10": 0x1234 << 16}, 0, {OK}),
]


@pytest.mark.parametrize("opcode,fields,expect,right", [pytest.param(*row[1:], id=row[0])
                                                        for row in ADMIN])
def test_wrong_admin_command_gets_its_status_and_the_queue_goes_on(karst, opcode, fields, expect,
                                                                   right):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        def build(cid, dptr):
            return pdu.sqe(opcode, cid, dptr=dptr, **fields)

        assert status_of(host.admin.run, build, None, expect) in right
        assert host.active_namespaces() == [1]


def test_set_queues_after_an_io_queue_is_a_sequence_error(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        assert status_of(host.set_queues, 2) == SEQUENCE


def test_compare_of_other_data_fails_and_of_the_same_succeeds(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        data = nvme_tcp.pattern(65536, 3)
        host.write(1, 0, data)
        assert status_of(host.compare, 1, 0, data) == OK
        assert status_of(host.compare, 1, 0, data[:-1] + b"\xee") == COMPARE_FAILED
        assert status_of(host.compare, 1, 0, b"\xee" + data[1:4096]) == COMPARE_FAILED


# Connect

def connect_data(subnqn=NQN, hostnqn=nvme_tcp.HOST_NQN, cntlid=0xFFFF, hostid=b"\1" * 16):
    return struct.pack("<16sH238x256s256s256x", hostid, cntlid,
                       subnqn if isinstance(subnqn, bytes) else subnqn.encode(),
                       hostnqn if isinstance(hostnqn, bytes) else hostnqn.encode())


CONNECTS = [
    ("unknown-subsystem", {"data": connect_data(NQN + "x")}, {CONNECT_INVALID}),
    ("empty-subsystem", {"data": connect_data("")}, {CONNECT_INVALID}),
    ("endless-subsystem", {"data": connect_data(b"n" * 256)}, {CONNECT_INVALID}),
    ("empty-host", {"data": connect_data(hostnqn="")}, {CONNECT_INVALID}),
    ("endless-host", {"data": connect_data(hostnqn=b"n" * 256)}, {CONNECT_INVALID}),
    ("record-format-1", {"recfmt": 1}, {CONNECT_FORMAT}),
    ("queue-size-0", {"sqsize": 0}, {CONNECT_INVALID}),
    ("queue-size-65535", {"sqsize": 65535}, {CONNECT_INVALID}),
    ("controller-0x1234", {"cntlid": 0x1234}, {CONNECT_INVALID}),
    ("io-queue-of-no-controller", {"qid": 1, "cntlid": 0x1234}, {CONNECT_INVALID, SEQUENCE}),
    ("io-queue-of-any-controller", {"qid": 1}, {CONNECT_INVALID, SEQUENCE}),
    ("short-data", {"data": connect_data()[:512]}, {SGL_LENGTH, INVALID_FIELD, CONNECT_INVALID}),
    ("long-data", {"data": connect_data() + bytes(512)}, {SGL_LENGTH, INVALID_FIELD,
                                                           CONNECT_INVALID}),
    ("host-that-is-not-allowed", {"subnqn": CLOSED, "hostnqn": "nqn.2014-08.org.nvmexpress:uuid:"
                                  "00000000-0000-0000-0000-00000000bad0"}, {CONNECT_HOST}),
]


@pytest.mark.parametrize("fields,right", [pytest.param(*row[1:], id=row[0]) for row in CONNECTS])
def test_wrong_connect_is_refused(karst, fields, right):
    with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
        assert status_of(queue.connect, **{"subnqn": NQN, **fields}) in right


def test_host_on_the_list_is_let_in_and_after_deny_no_more(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, CLOSED) as host:
        assert host.active_namespaces() == [1]
    stranger = "nqn.2026-01.io.karst.test:stranger"
    karst.ctl(f"host allow {CLOSED} {stranger}")
    nvme_tcp.Host("127.0.0.1", karst.port, CLOSED, hostnqn=stranger).close()
    karst.ctl(f"host deny {CLOSED} {stranger}")
    with pytest.raises(nvme_tcp.Status) as refused:
        nvme_tcp.Host("127.0.0.1", karst.port, CLOSED, hostnqn=stranger)
    assert (refused.value.sct, refused.value.sc) == CONNECT_HOST


def test_io_queue_of_another_host_is_refused(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host, \
            nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
        assert status_of(queue.connect, NQN, "nqn.2026-01.io.karst.test:thief", qid=2,
                         cntlid=host.cntlid) in {CONNECT_INVALID, CONNECT_HOST}


def test_queue_identifier_that_is_taken_or_too_high_is_refused(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=2) as host:
        for qid in (1, 2, 3, 65535):
            with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
                assert status_of(queue.connect, NQN, qid=qid, cntlid=host.cntlid) != OK
        assert len(host.read(1, 0, 1, queue=1)) == 512


@pytest.mark.parametrize("build", [
    lambda cid, dptr: pdu.sqe(6, cid, 0, dptr, cdw10=1),
    lambda cid, dptr: pdu.fabrics(4, cid, rest=struct.pack("<B3xI", 1, 0)),
], ids=["identify", "property-get"])
def test_command_before_connect_is_a_sequence_error(karst, build):
    with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
        assert status_of(queue.run, build, None, 4096) in {SEQUENCE, INVALID_FIELD}


def test_command_before_enable_is_refused(karst):
    with nvme_tcp.Queue("127.0.0.1", karst.port) as queue:
        queue.connect(NQN)
        build = nvme_tcp._simple(6, cdw10=1)
        assert status_of(queue.run, build, None, 4096) in {SEQUENCE, INVALID_FIELD}


# Properties

@pytest.mark.parametrize("attrib,offset", [(0, 0x00), (1, 0x14), (2, 0x14), (7, 0x00), (0, 0x13),
                                           (0, 0x1000), (0, 0xFFFFFFFC), (1, 0x08)])
def test_property_get_of_wrong_size_or_place_is_refused(karst, attrib, offset):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=0) as host:
        rest = struct.pack("<B3xI", attrib, offset)
        assert status_of(host.admin.run, lambda cid, dptr: pdu.fabrics(4, cid, rest=rest)) == \
            INVALID_FIELD
        assert host.admin.property_get(nvme_tcp.CSTS) & 1


@pytest.mark.parametrize("attrib,offset,value", [
    (1, 0x00, 0), (0, 0x08, 0), (0, 0x1C, 0), (1, 0x14, 0x460001), (2, 0x14, 0x460001),
    (0, 0x1000, 0)])
def test_property_set_of_wrong_size_or_place_is_refused(karst, attrib, offset, value):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=0) as host:
        rest = struct.pack("<B3xIQ", attrib, offset, value)
        assert status_of(host.admin.run, lambda cid, dptr: pdu.fabrics(0, cid, rest=rest)) == \
            INVALID_FIELD
        assert host.admin.property_get(nvme_tcp.CSTS) & 1


def test_fabrics_admin_commands_on_an_io_queue_are_refused(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
        rest = struct.pack("<B3xI", 0, nvme_tcp.CSTS)
        assert status_of(host.io[0].run, lambda cid, dptr: pdu.fabrics(4, cid, rest=rest)) in \
            {INVALID_FIELD, INVALID_OPCODE, SEQUENCE}
