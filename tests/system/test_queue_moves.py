# SPDX-License-Identifier: BSD-3-Clause
"""Queues move between reactors: by hand, by themselves when loads are uneven, and without anybody's data noticing."""
import os
import subprocess
import threading

import pytest

import nvme_pdu as pdu
import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst, memory_in_use, wait_memory
from vm import wait_for

NQN = "nqn.2026-01.io.karst.test:moves"
SUBSYSTEMS = "ab"
SCRIPT = "".join(f"""
disk create ram {name} size=64M block=4096
disk create null empty-{name} size=1G block=4096
subsystem create {NQN}-{name} allow-any
namespace add {NQN}-{name} disk={name}
namespace add {NQN}-{name} disk=empty-{name}
listener add {NQN}-{name} transport=tcp address=127.0.0.1 port={{port}}
""" for name in SUBSYSTEMS)


def cores():
    """Two reactors need two cores; where there is one only, nothing can be uneven."""
    found = sorted(os.sched_getaffinity(0))[:2]
    assert len(found) == 2, "two CPUs are needed"
    return ["-c", ",".join(map(str, found))]


@pytest.fixture(scope="module", params=["karst", "host/karst"], ids=["firmware", "sanitized"])
def target(request, out, tmp_path_factory):
    binary = artefact(out / request.param, "firmware" if request.param == "karst" else "host")
    with Karst(binary, tmp_path_factory.mktemp("moves"), SCRIPT, cores()) as process:
        yield process


@pytest.fixture(autouse=True)
def memory_given_back(target):
    before = memory_in_use(target)
    yield
    wait_memory(target, before)
    target.check_log()


@pytest.fixture
def near(target, out, tmp_path):
    """A karst that has the disks of both subsystems as its own: four queues."""
    script = "".join(f"disk attach remote {name} transport=tcp address=127.0.0.1 port={target.port} nqn={NQN}-{name}\n"
                     for name in SUBSYSTEMS)
    with Karst(artefact(out / "karst", "firmware"), tmp_path / "near", script, cores()) as process:
        yield process


def io_queues(target):
    return [row for row in target.ctl("session list") if row["queue"]]


def bench(near, disk, *how):
    return subprocess.Popen([near.binary, "ctl", "-s", near.socket, "-j", "disk", "bench", disk, *how, "force"],
                            stdout=subprocess.PIPE, text=True)


def finish(load):
    answer = load.communicate(timeout=120)[0]
    assert load.returncode == 0, answer


def test_queues_move_under_a_verified_load(target, near):
    """Small and large writes and reads in flight, on all queues, at fifty moves each."""
    loads = [bench(near, f"{name}n1", "rw=randrw", f"bs={size}", "qd=16", "time=6s", "verify")
             for name, size in zip(SUBSYSTEMS, ("4K", "64K"))]
    moved = 0
    while any(load.poll() is None for load in loads):
        for row in io_queues(target):
            try:
                target.ctl(f"session move {row['session']} {row['queue']} {1 - row['reactor']}")
                moved += 1
            except CtlError as error:
                assert error.code in ("EBUSY", "ETIMEDOUT"), error
    for load in loads:
        finish(load)
    assert moved > 20
    assert sum(row["moves"] for row in io_queues(target)) >= moved
    assert all(row["errors"] == 0 for row in io_queues(target))


def test_busy_queues_of_one_reactor_are_spread(target, near):
    """All queues of two hosts are brought to reactor 0; under load some go to the other by themselves."""
    for row in io_queues(target):
        if row["reactor"] != 0:
            target.ctl(f"session move {row['session']} {row['queue']} 0")
    assert {row["reactor"] for row in io_queues(target)} == {0}
    before = sum(row["moves"] for row in io_queues(target))
    loads = []

    def spread():
        for load in [load for load in loads if load.poll() is not None]:
            finish(load)
            loads.remove(load)
        if not loads:
            loads.extend(bench(near, f"{name}n2", "rw=randread", "bs=64K", "qd=32", "time=20s") for name in SUBSYSTEMS)
        return len({row["reactor"] for row in io_queues(target)}) == 2

    try:
        wait_for("a queue on the other reactor", spread, target.process, 120)
    finally:
        for load in loads:
            load.kill()
            load.communicate()
    assert sum(row["moves"] for row in io_queues(target)) > before


def test_session_that_closes_while_its_queues_move_leaves_nothing(target):
    for i in range(12):
        with nvme_tcp.Host("127.0.0.1", target.port, f"{NQN}-a", queues=4) as host:
            rows = [row for row in io_queues(target)]
            asked = [threading.Thread(target=target.ctl_run, args=(
                "session", "move", row["session"], str(row["queue"]), str(1 - row["reactor"]))) for row in rows]
            for thread in asked:
                thread.start()
            for queue in range(4):
                host.io[queue].submit(host.rw(2, 2, 0, 32), None, 131072)
            if i % 3 == 0:
                target.ctl_run("session", "close", rows[0]["session"])
        for thread in asked:
            thread.join()
    wait_for("all sessions gone", lambda: not target.ctl("session list"), target.process)


def test_namespace_comes_and_goes_while_queues_move(target):
    with nvme_tcp.Host("127.0.0.1", target.port, f"{NQN}-b", queues=2) as host:
        for i in range(10):
            for row in io_queues(target):
                target.ctl(f"session move {row['session']} {row['queue']} {(i + row['queue']) % 2}")
            target.ctl(f"namespace remove {NQN}-b 1")
            for queue in range(2):
                with pytest.raises(nvme_tcp.Status):
                    host.read(1, 0, 1, 4096, queue=queue)
            target.ctl(f"namespace add {NQN}-b disk=b nsid=1")
            data = nvme_tcp.pattern(65536, i)
            host.write(1, 0, data, 4096, queue=i % 2, in_capsule=False)
            assert host.read(1, 0, 16, 4096, queue=1 - i % 2) == data


def test_wrong_data_is_refused_after_a_move_too(target):
    with nvme_tcp.Host("127.0.0.1", target.port, f"{NQN}-a", hdgst=True, ddgst=True) as host:
        row = io_queues(target)[0]
        for reactor in (1 - row["reactor"], row["reactor"]):
            target.ctl(f"session move {row['session']} {row['queue']} {reactor}")
            data = nvme_tcp.pattern(8192, reactor)
            host.write(1, 8, data, 4096)
            assert host.read(1, 8, 2, 4096) == data
        host.io[0].send(host.io[0].framing.h2c_data(1, 1, 0, bytes(512)))
        with pytest.raises(pdu.Terminated):
            host.io[0].recv()


def test_move_that_cannot_be_says_why(target):
    with nvme_tcp.Host("127.0.0.1", target.port, f"{NQN}-a"):
        session = io_queues(target)[0]["session"]
        for command, why in ((f"session move {session} 1 60", "reactor 60"), (f"session move {session} 9 0", "queue 9"),
                             ("session move s0 1 0", "s0")):
            with pytest.raises(CtlError, match=why):
                target.ctl(command)
