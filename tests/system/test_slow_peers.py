# SPDX-License-Identifier: BSD-3-Clause
"""Peers that are slow, stuck or only pretend: they are ended, hold a bounded part of memory, and slow nobody else."""
import contextlib
import os
import select
import socket
import threading
import time

import pytest

import nvme_pdu as pdu
import nvme_tcp
from conftest import artefact
from hosted import Karst, memory_in_use, wait_memory
from vm import wait_for

NQN = "nqn.2026-01.io.karst.test:slow"
SCRIPT = f"""
disk create ram disk size=64M block=4096
subsystem create {NQN} allow-any
namespace add {NQN} disk=disk
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""
HALF_OPEN = 256
MIB = 1 << 20


@pytest.fixture(scope="module", params=["karst", "host/karst"], ids=["firmware", "sanitized"])
def karst(request, out, tmp_path_factory):
    binary = artefact(out / request.param, "firmware" if request.param == "karst" else "host")
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with Karst(binary, tmp_path_factory.mktemp("slow"), SCRIPT, ["-c", ",".join(map(str, cpus))]) as process:
        yield process


@pytest.fixture(autouse=True)
def memory_given_back(karst):
    before = memory_in_use(karst)
    yield
    wait_memory(karst, before)
    karst.check_log()


def connect(karst, **options):
    return nvme_tcp.Host("127.0.0.1", karst.port, NQN, **options)


@contextlib.contextmanager
def dripping(sockets, text):
    """A thread that sends each of SOCKETS one byte of TEXT a second, until they are closed or the block ends."""
    end = threading.Event()

    def drip():
        for byte in text:
            for peer in sockets:
                with contextlib.suppress(OSError):
                    peer.send(bytes([byte]))
            if end.wait(1):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def io_sessions(karst):
    return {row["session"] for row in karst.ctl("session list") if row["queue"]}


def verified(host, seed):
    data = nvme_tcp.pattern(MIB, seed)
    host.write(1, 1024, data, 4096, in_capsule=False)
    assert host.read(1, 1024, 256, 4096) == data


def test_half_open_connections_keep_nobody_from_connecting(karst, figure):
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(socket.create_connection(("127.0.0.1", karst.port))) for _ in range(HALF_OPEN)]
        with dripping(peers, pdu.icreq()):
            took = []
            for i in range(3):
                start = time.monotonic()
                with connect(karst) as host:
                    took.append(time.monotonic() - start)
                    verified(host, i)
            figure(f"a host connects in {max(took):.2f} s beside {HALF_OPEN} half-open connections")
            # they are ended by their time limit, not by the real host
            waiting = select.poll()
            for peer in peers:
                waiting.register(peer, select.POLLIN)
            open_ones = {peer.fileno() for peer in peers}

            def all_ended():
                for fd, _ in waiting.poll(0):
                    waiting.unregister(fd)
                    open_ones.discard(fd)
                return not open_ones

            wait_for("the end of all half-open connections", all_ended, karst.process, 60)


def test_peers_that_take_or_send_nothing_leave_memory_to_others_and_are_ended(karst):
    """A megabyte each for 120 reads whose answers stay, and for 120 writes whose data does not come."""
    with connect(karst, depth=128) as deaf, connect(karst, depth=128) as mute, connect(karst) as other, \
            nvme_tcp.Connection("127.0.0.1", karst.port, timeout_s=60) as silent:
        for i in range(120):
            deaf.io[0].submit(deaf.rw(2, 1, 0, 256), None, MIB)
            queue = mute.io[0]
            queue.send(queue.framing.command(mute.rw(1, 1, 0, 256)(i + 1, pdu.sgl(pdu.SGL_TRANSPORT, MIB))))
        assert isinstance(mute.io[0].recv(), pdu.R2t)
        for i in range(20):
            verified(other, i)
        assert len(io_sessions(karst)) == 3
        wait_for("the end of those two", lambda: len(io_sessions(karst)) == 1, karst.process, 60)
        with pytest.raises(nvme_tcp.Closed):
            silent.recv_exact(1)
        verified(other, 0)
