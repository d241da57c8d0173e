# SPDX-License-Identifier: BSD-3-Clause
"""What the NVMe/TCP target promises to hosts, seen from the wire: hosted karst, the tests' client."""
import os
import shutil
import struct
import subprocess
import time

import pytest

import nvme_pdu as pdu
import nvme_tcp
from conftest import artefact
from hosted import Karst, memory_in_use, wait_memory
from vm import spawn, wait_for

NQN = "nqn.2026-01.io.karst.test:target"
SCRIPT = f"""
disk create ram small size=64M
disk create ram big size=64M block=4096
subsystem create {NQN} serial=KARST0001 model="Karst Test" allow-any
namespace add {NQN} disk=small uuid=6b617273-0000-4000-8000-000000000001
namespace add {NQN} disk=big nsid=7
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""


@pytest.fixture(scope="module", params=["karst", "host/karst"], ids=["firmware", "sanitized"])
def karst(request, out, tmp_path_factory):
    binary = artefact(out / request.param, "firmware" if request.param == "karst" else "host")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with Karst(binary, tmp_path_factory.mktemp("target"), SCRIPT,
               ["-c", ",".join(map(str, cpus))]) as process:
        yield process


@pytest.fixture(autouse=True)
def memory_given_back(karst):
    before = memory_in_use(karst)
    yield
    wait_memory(karst, before)
    karst.check_log()


@pytest.fixture
def connect(karst):
    """Connects to the subsystem; closed at the end of the test."""
    opened = []

    def make(**options):
        opened.append(nvme_tcp.Host("127.0.0.1", karst.port, NQN, **options))
        return opened[-1]

    yield make
    for host in opened:
        host.close()


def test_discovery_lists_the_subsystem_and_its_address(karst):
    entries = nvme_tcp.discover("127.0.0.1", karst.port)
    found = [e for e in entries if e.subnqn == NQN]
    assert len(found) == 1
    assert (found[0].trtype, found[0].adrfam, found[0].subtype) == (3, 1, 2)
    assert (found[0].traddr, found[0].trsvcid) == ("127.0.0.1", str(karst.port))


def test_identify_tells_who_the_controller_is(connect):
    host = connect()
    raw = host.controller
    assert raw[4:24].decode().rstrip() == "KARST0001"
    assert raw[24:64].decode().rstrip() == "Karst Test"
    assert raw[768:1024].split(b"\0")[0].decode() == NQN
    assert struct.unpack_from("<H", raw, 78)[0] == host.cntlid
    assert host.mdts_bytes == 1 << 20
    assert host.active_namespaces() == [1, 7]
    assert host.namespace(1)[:3] == (1, 64 << 11, 512)
    assert host.namespace(7)[:3] == (7, 64 << 8, 4096)


def test_namespace_descriptors_carry_the_uuid(connect):
    raw = connect(queues=0).identify(3, 1)
    found = {}
    while raw[0]:
        found[raw[0]] = raw[4:4 + raw[1]]
        raw = raw[4 + raw[1]:]
    assert found[3].hex() == "6b617273000040008000000000000001"


@pytest.mark.parametrize("hdgst", [False, True], ids=["", "hdgst"])
@pytest.mark.parametrize("ddgst", [False, True], ids=["", "ddgst"])
@pytest.mark.parametrize("nsid,block", [(1, 512), (7, 4096)])
def test_data_comes_back_as_written_at_every_size(connect, hdgst, ddgst, nsid, block):
    host = connect(queues=2, hdgst=hdgst, ddgst=ddgst)
    assert (host.admin.framing.hdgst, host.admin.framing.ddgst) == (hdgst, ddgst)
    for seed, size in enumerate((4096, 8192, 12288, 16384, 65536, 131072 + 4096, 1 << 20)):
        data = nvme_tcp.pattern(size, seed)
        for in_capsule in (True, False):
            host.write(nsid, seed, data, block, in_capsule=in_capsule)
            assert host.read(nsid, seed, size // block, block, queue=1) == data
        host.compare(nsid, seed, data, block)
    host.flush(nsid)


def test_success_flag_saves_the_response_when_flow_control_is_off(connect):
    host = connect(no_flow_control=True)
    host.write(1, 0, bytes(4096))
    for _ in range(5):
        host.read(1, 0, 8)
    assert host.io[0].success_count in (0, 5), "all reads alike"


def test_without_flow_control_off_every_command_has_a_response(connect):
    host = connect()
    for _ in range(5):
        host.read(1, 0, 8)
    assert host.io[0].success_count == 0


def test_zeroes_and_deallocate_reach_the_disk(connect):
    host = connect()
    host.write(1, 0, b"\xff" * 65536)
    host.write_zeroes(1, 8, 16)
    assert host.read(1, 0, 32) == b"\xff" * 4096 + bytes(8192) + b"\xff" * 4096
    host.deallocate(1, [(64, 8), (80, 8)])
    back = host.read(1, 64, 32)
    assert back[4096:8192] == b"\xff" * 4096
    assert back[:4096] in (bytes(4096), b"\xff" * 4096)


def test_queues_full_of_commands_are_all_answered_once(connect):
    host = connect(queues=4, depth=128)
    assert len(host.io) == 4
    data = nvme_tcp.pattern(4096, 1)
    open_commands = []
    for queue in host.io:
        for i in range(127):
            write = i % 2 == 0
            cid = queue.submit(host.rw(1 if write else 2, 1, 8 * i, 8), data if write else None,
                               4096)
            open_commands.append((queue, cid))
    for queue, cid in open_commands:
        rsp, _ = queue.wait(cid)
        assert rsp.status == 0
    assert all(not queue.open for queue in host.io)


def test_controller_grants_up_to_1024_queues_and_serves_many(connect):
    host = connect(queues=0)
    assert host.set_queues(2000) == 1024
    queues = [host.add_queue(qid, 128) for qid in range(1, 129)]
    host.write(1, 0, bytes(4096), queue=127)
    assert len(host.read(1, 0, 8, queue=64)) == 4096
    assert len(queues) == 128


def session_of(karst, host):
    """What the console calls the session of HOST."""
    names = {row["session"] for row in karst.ctl("session list")}
    return next(name for name in names
                if karst.ctl(f"session show {name}")[0]["cntlid"] == host.cntlid)


def test_queues_of_one_host_live_on_more_than_one_reactor(karst, connect):
    name = session_of(karst, connect(queues=4))
    rows = [row for row in karst.ctl("session list") if row["session"] == name and row["queue"]]
    assert len(rows) == 4
    reactors = {row["reactor"] for row in rows}
    if len(os.sched_getaffinity(0)) > 1:
        assert len(reactors) > 1, rows


def test_connect_and_disconnect_twenty_times_leaves_nothing(karst, connect):
    before = memory_in_use(karst)
    for i in range(20):
        host = connect(queues=1 + i % 4)
        host.write(1, 8 * i, nvme_tcp.pattern(4096, i))
        assert host.read(1, 8 * i, 8) == nvme_tcp.pattern(4096, i)
        host.disconnect()
    wait_memory(karst, before)
    assert not karst.ctl("session list")


def test_shutdown_notification_completes(connect):
    host = connect()
    host.admin.property_set(nvme_tcp.CC, 1 | 6 << 16 | 4 << 20 | 1 << 14)
    while host.admin.property_get(nvme_tcp.CSTS) >> 2 & 3 != 2:
        pass


def test_namespace_that_comes_and_goes_is_told_by_an_event(karst, connect):
    host = connect()
    host.set_feature(0x0B, 0x100 | 0xFFFF & ~0xFF00)
    event = host.async_event()
    karst.ctl("disk create ram extra size=16M")
    karst.ctl(f"namespace add {NQN} disk=extra nsid=9")
    rsp, _ = host.admin.wait(event)
    assert rsp.dw0 & 7 == 2 and rsp.dw0 >> 8 & 0xFF == 0 and rsp.dw0 >> 16 & 0xFF == 4
    changed = struct.unpack("<1024I", host.get_log(4, 4096))
    assert 9 in changed
    assert host.active_namespaces() == [1, 7, 9]
    host.write(9, 0, bytes(4096))
    event = host.async_event()
    karst.ctl(f"namespace remove {NQN} 9")
    host.admin.wait(event)
    host.get_log(4, 4096)
    assert host.active_namespaces() == [1, 7]
    with pytest.raises(nvme_tcp.Status):
        host.read(9, 0, 8)
    assert len(host.read(1, 0, 8)) == 4096
    karst.ctl("disk delete extra force")


def test_namespace_removed_under_load_fails_commands_and_nothing_else(karst, connect):
    host = connect(depth=64)
    karst.ctl("disk create ram busy size=16M")
    karst.ctl(f"namespace add {NQN} disk=busy nsid=5")
    queue = host.io[0]
    cids = [queue.submit(host.rw(2, 5, 128 * i, 128), expect=65536) for i in range(32)]
    karst.ctl(f"namespace remove {NQN} 5")
    cids += [queue.submit(host.rw(2, 5, 128 * i, 128), expect=65536) for i in range(20)]
    statuses = [queue.wait(cid)[0].status & 0x7FF for cid in cids]
    assert set(statuses) <= {0, 0x00B} and statuses[-1] == 0x00B
    assert len(host.read(1, 0, 8)) == 4096
    karst.ctl("disk delete busy force")


def test_subsystem_deleted_while_a_host_is_connected_closes_its_connections(karst):
    nqn = NQN + "-short"
    karst.ctl(f"subsystem create {nqn} allow-any")
    karst.ctl(f"listener add {nqn} transport=tcp address=127.0.0.1 port={karst.port}")
    with nvme_tcp.Host("127.0.0.1", karst.port, nqn) as host:
        karst.ctl(f"subsystem delete {nqn} force")
        with pytest.raises((nvme_tcp.Closed, pdu.Terminated)):
            host.admin.recv()
    assert NQN in [e.subnqn for e in nvme_tcp.discover("127.0.0.1", karst.port)]


def test_keep_alive_that_stays_away_ends_the_controller(karst, connect, figure):
    host = connect(queues=2, kato_ms=1000)
    started = time.monotonic()
    with pytest.raises((nvme_tcp.Closed, pdu.Terminated)):
        host.admin.recv()
    for queue in host.io:
        with pytest.raises((nvme_tcp.Closed, pdu.Terminated)):
            queue.recv()
    figure(f"controller with a keep alive timeout of 1 s ended after "
          f"{time.monotonic() - started:.1f} s")
    assert time.monotonic() - started >= 1


def test_keep_alive_that_comes_keeps_the_controller(karst, connect):
    host = connect(kato_ms=2000)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        host.keep_alive()
        with pytest.raises(subprocess.TimeoutExpired):
            karst.process.wait(0.5)
    assert len(host.read(1, 0, 8)) == 4096


def test_closed_session_of_the_console_ends_the_host(karst, connect):
    host = connect()
    karst.ctl(f"session close {session_of(karst, host)}")
    with pytest.raises((nvme_tcp.Closed, pdu.Terminated)):
        host.admin.recv()


def test_ipv6_listener_serves(karst):
    karst.ctl(f"listener add {NQN} transport=tcp address=::1 port={karst.port}")
    found = [e for e in nvme_tcp.discover("::1", karst.port) if e.subnqn == NQN]
    assert {(e.adrfam, e.traddr) for e in found} == {(1, "127.0.0.1"), (2, "::1")}
    with nvme_tcp.Host("::1", karst.port, NQN) as host:
        assert len(host.read(1, 0, 8)) == 4096
    karst.ctl(f"listener remove {NQN} transport=tcp address=::1 port={karst.port}")


def test_wireshark_finds_no_malformed_pdu_in_a_session(karst, tmp_path):
    tshark = shutil.which("tshark")
    assert tshark, "tshark is missing: make setup"
    capture, log = tmp_path / "session.pcapng", tmp_path / "tshark.log"
    process = spawn([tshark, "-B", "64", "-i", "lo", "-f", f"tcp port {karst.port}", "-w", capture], log)
    try:
        wait_for("tshark capturing (it needs CAP_NET_RAW: run the tests as root)",
                 lambda: "Capturing on" in log.read_text() and capture.exists(), process)
        nvme_tcp.discover("127.0.0.1", karst.port)
        for hdgst, ddgst in ((False, False), (True, False), (False, True), (True, True)):
            with nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=2, hdgst=hdgst, ddgst=ddgst, maxr2t=3,
                               no_flow_control=hdgst) as host:
                host.write(1, 0, nvme_tcp.pattern(8192, 1))
                host.write(1, 0, nvme_tcp.pattern(3 << 18, 2))
                host.read(1, 0, 512)
                with pytest.raises(nvme_tcp.Status):
                    host.read(1, 1 << 40, 1)
                # each side gives up once: C2HTermReq, H2CTermReq
                host.io[0].send(host.io[0].framing.h2c_data(1, 1, 0, bytes(512)))
                with pytest.raises(pdu.Terminated):
                    host.io[0].recv()
                host.io[1].send(pdu.term_req(pdu.FES_HEADER_FIELD, 2, bytes(8)))
                with pytest.raises(nvme_tcp.Closed):
                    host.io[1].recv()
        wait_for("the end of the session in the capture",
                 lambda: len(_frames(tshark, capture, karst.port, "nvme-tcp.type == 2")) >= 4, process, 60)
    finally:
        process.terminate()
        process.wait()
    kinds = {kind for line in _frames(tshark, capture, karst.port, "nvme-tcp", "-T", "fields", "-e", "nvme-tcp.type")
             for kind in line.split(",")}
    assert kinds == set("012345679"), "PDU types that a session has"
    wrong = "_ws.malformed || nvme-tcp.hdgst.status == \"Bad\" || nvme-tcp.ddgst.status == \"Bad\""
    assert _frames(tshark, capture, karst.port, wrong) == []


def _frames(tshark, capture, port, display_filter, *how):
    done = subprocess.run([tshark, "-r", capture, "-d", f"tcp.port=={port},nvme-tcp",
                           "-o", "nvme-tcp.check_hdgst:TRUE", "-o", "nvme-tcp.check_ddgst:TRUE",
                           "-Y", display_filter, *how], text=True, capture_output=True, timeout=120,
                          check=False)
    assert not done.stderr or "cut short" in done.stderr or "Running as user" in done.stderr, \
        done.stderr
    return done.stdout.splitlines()
