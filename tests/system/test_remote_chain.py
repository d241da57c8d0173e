# SPDX-License-Identifier: BSD-3-Clause
"""A disk of one karst served on by another: nothing acknowledged is lost when the first is killed under load."""
import threading
from collections import deque

import pytest

import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst
from test_faults import kill_karst
from test_remote import FAR, FAR_SCRIPT, NEAR, attach, near_script
from vm import free_port, wait_for

PIECE = 64                              # blocks of 512 bytes
SLOTS = 256                             # pieces that one writer has to itself
WINDOW = 8                              # writes that it keeps under way


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


def check(host, lba, seed, where):
    if host.read(1, lba, PIECE) != nvme_tcp.pattern(PIECE * 512, seed):
        raise AssertionError(f"{where}: block {lba} does not have what write {seed} put there")


class Writer(threading.Thread):
    """Keeps writes under way on pieces of its own and reads each back; .written is what was acknowledged."""

    def __init__(self, port, index, **words):
        super().__init__(daemon=True)
        self.port, self.index, self.words = port, index, words
        self.written, self.count, self.ending, self.error = {}, 0, False, None
        self.start()

    def run(self):
        try:
            with nvme_tcp.Host("127.0.0.1", self.port, NEAR, **self.words) as host:
                self.work(host)
                host.disconnect()
        except Exception as error:
            self.error = error

    def work(self, host):
        window, seed = deque(), self.index << 32
        while window or not self.ending:
            if not self.ending and len(window) < WINDOW:
                lba, seed = (self.index * SLOTS + seed % SLOTS) * PIECE, seed + 1
                data = nvme_tcp.pattern(PIECE * 512, seed)
                window.append((host.io[0].submit(host.rw(1, 1, lba, PIECE), data), lba, seed))
                continue
            cid, lba, done = window.popleft()
            answer, _ = host.io[0].wait(cid)
            if answer.status:
                raise nvme_tcp.Status(answer, f"write {done} at block {lba}")
            self.written[lba] = done
            check(host, lba, done, "read back")
            self.count += 1


def goes_on(karst, writers, count=40):
    goals = [writer.count + count for writer in writers]
    wait_for("the load goes on", lambda: any(w.error for w in writers) or
             all(w.count >= goal for w, goal in zip(writers, goals)), karst.process, 60)
    assert not any(w.error for w in writers), [w.error for w in writers]


def verify(port, nqn, writers, where):
    with nvme_tcp.Host("127.0.0.1", port, nqn) as host:
        for writer in writers:
            assert len(writer.written) > WINDOW
            for lba, seed in writer.written.items():
                check(host, lba, seed, where)
        host.disconnect()


def test_first_of_a_chain_is_killed_under_load(binary, tmp_path):
    script, port = FAR_SCRIPT.format(who="allow-any"), free_port()
    far = Karst(binary, tmp_path / "far", script, ("-c", "0"), port=port)
    with Karst(binary, tmp_path / "near", near_script(attach(port)), ("-c", "0,1")) as near:
        assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", near.port, NEAR)
        writers = [Writer(near.port, 0), Writer(near.port, 1, hdgst=True, ddgst=True)]
        for kills in range(1, 4):
            goes_on(near, writers)
            far.kill()
            wait_for("the loss", lambda: near.ctl("remote list")[0]["state"] == "reconnecting",
                     near.process)
            far = Karst(binary, tmp_path / "far", script, ("-c", "0"), port=port)
            goes_on(near, writers)
            assert near.ctl("remote list")[0]["reconnects"] == kills
        for writer in writers:
            writer.ending = True
            writer.join(60)
            assert not writer.is_alive() and writer.error is None, writer.error
        row = near.ctl("remote show far")[0]
        assert row["errors"] == 0 and row["lost"] > 0, row
        verify(near.port, NEAR, writers, "through the chain")
        verify(port, FAR, writers, "at the first")
    far.stop()


def test_second_of_a_chain_boots_first(binary, tmp_path):
    port, script = free_port(), FAR_SCRIPT.format(who="allow-any")
    uuid = "6a3c1a58-9d0a-4d37-8c4e-2f1f6f0a9b11"
    late = near_script(attach(port)).replace("disk=farn1", f"disk=farn1 uuid={uuid}") + f"""
namespace add {NEAR} disk=farn2
namespace add {NEAR} disk=farn3"""
    with Karst(binary, tmp_path / "near", late, ("-c", "0,1")) as near:
        def states():
            return {row["disk"]: (row["nsid"], row["state"]) for row in near.ctl("namespace list")}

        waiting = {f"farn{nsid}": (nsid, "waiting") for nsid in (1, 2, 3)}
        assert states() == waiting
        assert near.ctl("system boot")[0]["commands_failed"] == 3
        lines = near.ctl_run("config", "show").stdout.splitlines()
        assert f"namespace add {NEAR} disk=farn1 nsid=1 uuid={uuid}" in lines, lines
        with pytest.raises(CtlError, match="exists already"):
            near.ctl("disk create ram r0 size=1M")
            near.ctl(f"namespace add {NEAR} disk=r0 nsid=2")
        with pytest.raises(CtlError, match="there is none"):
            near.ctl(f"namespace add {NEAR} disk=farn4")
        near.ctl(f"namespace remove {NEAR} 2")
        del waiting["farn2"]
        assert states() == waiting
        with nvme_tcp.Host("127.0.0.1", near.port, NEAR) as host, \
                Karst(binary, tmp_path / "far", script, ("-c", "0"), port=port):
            assert host.active_namespaces() == []
            wait_for("the namespace", lambda: states()["farn1"] == (1, "ready"), near.process)
            assert states() == {"farn1": (1, "ready"), "farn3": (3, "waiting")}
            assert host.active_namespaces() == [1]
            host.disconnect()
            assert near.ctl("namespace list")[0]["uuid"] == uuid
            assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", near.port, NEAR)
            near.ctl(f"subsystem delete {NEAR} force")
            near.ctl("disk detach remote far")


def test_appliance_at_the_start_of_a_chain_is_killed_under_load(served, binary, tmp_path):
    """Drive → appliance → NVMe/TCP → hosted karst → NVMe/TCP → client."""
    served.allowed = r"last karst|signal"
    line = attach(served.port).replace(FAR, served.nqn)
    with Karst(binary, tmp_path / "near", near_script(line), ("-c", "0,1")) as near:
        assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", near.port, NEAR)
        writers = [Writer(near.port, 0), Writer(near.port, 1, hdgst=True, ddgst=True)]
        goes_on(near, writers)
        kill_karst(served, "KILL")
        goes_on(near, writers)
        for writer in writers:
            writer.ending = True
            writer.join(60)
            assert not writer.is_alive() and writer.error is None, writer.error
        row = near.ctl("remote show far")[0]
        assert row["errors"] == 0 and row["reconnects"] > 0, row
        verify(near.port, NEAR, writers, "through the chain")
        verify(served.port, served.nqn, writers, "at the appliance")
