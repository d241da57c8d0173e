# SPDX-License-Identifier: BSD-3-Clause
"""The limits of the target are reached: 1024 subsystems, 1024 namespaces of one, 1024 queues of a controller."""
import re
import resource
import struct

import pytest

import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst, memory_in_use, wait_memory
from vm import wait_for

SUBSYSTEMS = NAMESPACES = QUEUES = 1024
MANY = "nqn.2026-01.io.karst.test:many"


def script():
    lines = []
    for i in range(1, NAMESPACES + 1):
        lines.append(f"disk create null d{i} size=1G block=512")
    for i in range(1, SUBSYSTEMS + 1):
        lines += [f"subsystem create {MANY}{i} allow-any",
                  f"listener add {MANY}{i} transport=tcp address=127.0.0.1 port={{port}}"]
    for i in range(1, NAMESPACES + 1):
        lines.append(f"namespace add {MANY}1 disk=d{i}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def karst(out, tmp_path_factory):
    # each queue is a descriptor on either side
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Karst(artefact(out / "karst", "firmware"), tmp_path_factory.mktemp("limits"), script(),
               ("-c", "0"), ready_s=120) as process:
        assert process.ctl("system boot")[0]["commands_failed"] == 0, process.log()[-2000:]
        yield process


def resident_kb(karst):
    with open(f"/proc/{karst.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1))


def test_1024_subsystems_are_in_the_discovery_log(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, nvme_tcp.DISCOVERY_NQN, queues=0) as host:
        head = host.get_log(0x70, 1024)
        genctr, count = struct.unpack_from("<QQ", head)
        assert count == SUBSYSTEMS + 1
        found, at, step = set(), 1024, 256 << 10
        while at < 1024 * (count + 1):
            part = host.get_log(0x70, min(step, 1024 * (count + 1) - at), offset=at, rae=1)
            found |= {part[i + 256:i + 512].split(b"\0")[0].decode()
                      for i in range(0, len(part), 1024)}
            at += len(part)
        assert struct.unpack_from("<Q", host.get_log(0x70, 1024))[0] == genctr
    assert found == {f"{MANY}{i}" for i in range(1, SUBSYSTEMS + 1)} | {nvme_tcp.DISCOVERY_NQN}
    with pytest.raises(CtlError, match="limit of subsystems"):
        karst.ctl(f"subsystem create {MANY}0")
    with nvme_tcp.Host("127.0.0.1", karst.port, f"{MANY}{SUBSYSTEMS}", queues=1) as host:
        assert host.active_namespaces() == []


def test_1024_namespaces_are_listed_and_served(karst):
    with nvme_tcp.Host("127.0.0.1", karst.port, f"{MANY}1", queues=1) as host:
        assert struct.unpack_from("<I", host.controller, 516)[0] == NAMESPACES
        assert host.active_namespaces() == list(range(1, NAMESPACES + 1))
        assert [n for n in struct.unpack("<1024I", host.identify(2, 1000)) if n] == \
            list(range(1001, NAMESPACES + 1))
        for nsid in (1, 512, NAMESPACES):
            assert len(host.read(nsid, 0, 8)) == 4096
        ana = host.get_log(0x0C, 16 + 32 + 4 * NAMESPACES)
        assert struct.unpack_from("<I", ana, 16 + 4)[0] == NAMESPACES
        with pytest.raises(nvme_tcp.Status) as error:
            host.read(NAMESPACES + 1, 0, 8)
        assert (error.value.sct, error.value.sc) == (0, 0x0B)
    with pytest.raises(CtlError, match="past the limit"):
        karst.ctl(f"namespace add {MANY}1 disk=d1")
    # and they all go and come
    for nsid in (1, 700, NAMESPACES):
        karst.ctl(f"namespace remove {MANY}1 {nsid}")
    for nsid in (1, 700, NAMESPACES):
        karst.ctl(f"namespace add {MANY}1 disk=d{nsid}")
    assert len(karst.ctl("namespace list")) == NAMESPACES


def test_1024_namespaces_become_disks_of_another_karst(karst, out, tmp_path):
    with Karst(artefact(out / "karst", "firmware"), tmp_path / "near", "", ("-c", "0")) as near:
        found = near.ctl(f"remote discover 127.0.0.1 port={karst.port}")
        assert [row["subtype"] for row in found].count("nvm") == SUBSYSTEMS
        near.ctl(f"disk attach remote far transport=tcp address=127.0.0.1 port={karst.port} "
                 f"nqn={MANY}1")
        assert len(near.ctl("disk list")) == NAMESPACES


@pytest.mark.parametrize("depth", [32, 128])
def test_1024_queues_of_one_controller(karst, figure, depth):
    before = memory_in_use(karst)
    with nvme_tcp.Host("127.0.0.1", karst.port, f"{MANY}1", queues=0) as host:
        assert host.set_queues(QUEUES) == QUEUES
        host.add_queue(1, depth)
        least = resident_kb(karst)
        for qid in range(2, QUEUES + 1):
            host.add_queue(qid, depth)
        grown = resident_kb(karst) - least
        for queue in (0, 511, QUEUES - 1):
            assert len(host.read(1, 0, 8, queue=queue)) == 4096
        assert len(karst.ctl("session list")) == QUEUES + 1
        with pytest.raises(nvme_tcp.Status) as error:
            host.add_queue(QUEUES + 1, depth)
        assert (error.value.sct, error.value.sc) == (1, 0x82)
        assert error.value.rsp.dw0 == 42, "offset of QID in the command"
        host.disconnect()
    figure(f"an idle queue pair of depth {depth}: {grown / (QUEUES - 1):.1f} KiB resident")
    wait_for("the queues' end", lambda: not karst.ctl("session list"), karst.process, 60)
    wait_memory(karst, before)
