# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks of one karst on another: verified data, lost paths, targets that end and come back under load."""
import re
import selectors
import socket
import threading

import pytest

import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst
from vm import free_port, wait_for

FAR = "nqn.2026-01.io.karst.test:far"
NEAR = "nqn.2026-01.io.karst.test:near"
BLOCKS = 64                             # of 512 bytes, for each piece of the load

FAR_SCRIPT = f"""
disk create file r0 path={{{{folder}}}}/r0.raw size=64M
disk create ram r1 size=64M block=4096
subsystem create {FAR} serial=FAR1 {{who}}
namespace add {FAR} disk=r0
namespace add {FAR} disk=r1
listener add {FAR} transport=tcp address=127.0.0.1 port={{{{port}}}}
"""


def attach(port, name="far", words="reconnect=50ms"):
    return f"disk attach remote {name} transport=tcp address=127.0.0.1 port={port} nqn={FAR} {words}"


def near_script(*attaches):
    return "\n".join([*attaches, f"subsystem create {NEAR} allow-any",
                      f"namespace add {NEAR} disk=farn1",
                      f"listener add {NEAR} transport=tcp address=127.0.0.1 port={{port}}"])


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


@pytest.fixture
def far(binary, tmp_path):
    with Karst(binary, tmp_path / "far", FAR_SCRIPT.format(who="allow-any"), ("-c", "0")) as karst:
        yield karst


class Load(threading.Thread):
    """Writes and reads back until it is told to stop; whatever goes wrong is in .error."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ending, self.rounds, self.error = port, False, 0, None
        self.start()

    def run(self):
        try:
            with nvme_tcp.Host("127.0.0.1", self.port, NEAR) as host:
                while not self.ending:
                    lba = self.rounds % 512 * BLOCKS
                    data = nvme_tcp.pattern(BLOCKS * 512, self.rounds)
                    host.write(1, lba, data)
                    if host.read(1, lba, BLOCKS) != data:
                        raise AssertionError(f"round {self.rounds}: other data at block {lba}")
                    self.rounds += 1
                host.disconnect()
        except Exception as error:
            self.error = error

    def goes_on(self, karst, rounds=20):
        goal = self.rounds + rounds
        wait_for("the load goes on", lambda: self.error or self.rounds >= goal, karst.process, 60)
        assert self.error is None, self.error

    def end(self):
        self.ending = True
        self.join(60)
        assert not self.is_alive() and self.error is None, self.error


class Relay(threading.Thread):
    """A path of its own to a port: cut() ends its connections and takes no new ones."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.to, self.open = port, True
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.select = selectors.DefaultSelector()
        self.select.register(self.listener, selectors.EVENT_READ)
        self.pairs = {}
        self.start()

    def run(self):
        while self.open:
            for key, _ in self.select.select(0.05):
                if key.fileobj is self.listener:
                    self.join_pair(self.listener.accept()[0])
                elif key.fileobj in self.pairs:
                    self.forward(key.fileobj)
        for sock in list(self.pairs):
            sock.close()
        self.listener.close()

    def join_pair(self, one):
        other = socket.create_connection(("127.0.0.1", self.to))
        for a, b in ((one, other), (other, one)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs[a] = b
            self.select.register(a, selectors.EVENT_READ)

    def forward(self, sock):
        try:
            data = sock.recv(1 << 16)
            if data:
                self.pairs[sock].sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (self.pairs[sock], sock):
                self.select.unregister(end)
                del self.pairs[end]
                end.close()

    def cut(self):
        self.open = False
        self.join()


def test_data_is_verified_through_two_appliances(far, binary, tmp_path):
    for words in ("", "hdgst ddgst", "depth=2 queues=1"):
        with Karst(binary, tmp_path / "near", near_script(attach(far.port, words=words)),
                   ("-c", "0,1")) as near:
            assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", near.port, NEAR)


def test_discover_lists_what_the_target_offers(far, binary, tmp_path):
    with Karst(binary, tmp_path / "near", "") as near:
        rows = near.ctl(f"remote discover 127.0.0.1 port={far.port}")
        assert FAR in [row["nqn"] for row in rows if row["subtype"] == "nvm"]
        with pytest.raises(CtlError, match="Connection refused"):
            near.ctl(f"remote discover 127.0.0.1 port={free_port()}")


def test_wrong_names_are_refused_and_told(binary, tmp_path):
    ours = "nqn.2026-01.io.karst.test:us"
    with Karst(binary, tmp_path / "far", FAR_SCRIPT.format(who="")) as far, \
            Karst(binary, tmp_path / "near", "") as near:
        words = f"hostnqn={ours}"
        far.ctl(f"host allow {FAR} {ours}x")
        with pytest.raises(CtlError, match="does not allow the host"):
            near.ctl(attach(far.port, words=words))
        with pytest.raises(CtlError, match="knows no subsystem"):
            near.ctl(attach(far.port, words=words).replace(FAR, FAR + "x"))
        with pytest.raises(CtlError, match="Connection refused"):
            near.ctl(attach(free_port(), words=words))
        assert near.ctl("remote list") == [] and near.ctl("disk list") == []
        far.ctl(f"host allow {FAR} {ours}")
        near.ctl(attach(far.port, words=words))
        with pytest.raises(CtlError, match="exists already"):
            near.ctl(attach(far.port, words=words))
        assert [row["name"] for row in near.ctl("disk list")] == ["farn1", "farn2"]
        near.ctl("disk detach remote far")
        assert near.ctl("remote list") == [] and near.ctl("disk list") == []


def test_target_killed_and_started_again_under_load(binary, tmp_path):
    script, port = FAR_SCRIPT.format(who="allow-any"), free_port()
    far = Karst(binary, tmp_path / "far", script, port=port)
    with Karst(binary, tmp_path / "near", near_script(attach(port)), ("-c", "0,1")) as near:
        load = Load(near.port)
        for _ in range(3):
            load.goes_on(near)
            far.kill()
            wait_for("the loss", lambda: near.ctl("remote list")[0]["state"] == "reconnecting",
                     near.process)
            far = Karst(binary, tmp_path / "far", script, port=port)
            load.goes_on(near)
        load.end()
        row = near.ctl("remote show far")[0]
        assert row["reconnects"] == 3 and row["errors"] == 0
        near.ctl(f"subsystem delete {NEAR} force")
        near.ctl("disk detach remote far")
    far.stop()


def test_io_fails_fast_when_it_is_told_to(binary, tmp_path):
    far = Karst(binary, tmp_path / "far", FAR_SCRIPT.format(who="allow-any"))
    words = "reconnect=50ms fast-fail=300ms loss-timeout=3s"
    with Karst(binary, tmp_path / "near", near_script(attach(far.port, words=words))) as near, \
            nvme_tcp.Host("127.0.0.1", near.port, NEAR) as host:
        assert len(host.read(1, 0, 8)) == 4096
        far.kill()
        with pytest.raises(nvme_tcp.Status):
            host.read(1, 0, 8)
        assert near.ctl("remote list")[0]["state"] == "reconnecting"
        wait_for("given up", lambda: near.ctl("remote list")[0]["state"] == "gone", near.process)
        with pytest.raises(nvme_tcp.Status):
            host.read(1, 0, 8)
        host.disconnect()
        near.ctl(f"subsystem delete {NEAR} force")
        near.ctl("disk detach remote far")


def test_one_of_two_paths_is_lost_under_load(far, binary, tmp_path):
    one, two = Relay(far.port), Relay(far.port)
    with Karst(binary, tmp_path / "near", near_script(attach(one.port), attach(two.port, "other")),
               ("-c", "0,1")) as near:
        def paths():
            return {row["path"]: row for row in near.ctl("remote show") if row["disk"] == "farn1"}

        assert set(paths()) == {"far", "other"}
        load = Load(near.port)
        load.goes_on(near)
        before = paths()
        assert all(row["ios"] > 0 for row in before.values())
        one.cut()
        load.goes_on(near)
        after = paths()
        assert after["far"]["state"] == "reconnecting" and after["other"]["state"] == "live"
        assert after["other"]["ios"] > before["other"]["ios"]
        near.ctl("disk detach remote far")
        load.goes_on(near)
        assert set(paths()) == {"other"}
        load.end()
    two.cut()


def test_namespace_removed_under_load(far, binary, tmp_path):
    with Karst(binary, tmp_path / "near", near_script(attach(far.port))) as near:
        load = Load(near.port)
        load.goes_on(near)
        far.ctl(f"namespace remove {FAR} 1")
        wait_for("the disk leaves", lambda: [r["name"] for r in near.ctl("disk list")] == ["farn2"],
                 near.process)
        wait_for("the load ends", lambda: load.error, near.process)
        assert isinstance(load.error, nvme_tcp.Status)
        far.ctl(f"namespace add {FAR} disk=r0")
        wait_for("a disk again", lambda: len(near.ctl("disk list")) == 2, near.process)


def test_configuration_makes_it_again_even_before_the_target_is_there(binary, tmp_path):
    port = free_port()
    line = attach(port, words="hdgst queues=1 depth=8 reconnect=50ms fast-fail=1s")
    with Karst(binary, tmp_path / "near", line) as near:
        text = near.ctl_run("config", "show").stdout
        assert re.search(r"^disk attach remote far transport=tcp address=127\.0\.0\.1 port="
                         rf"{port} nqn={re.escape(FAR)} hdgst queues=1 depth=8 "
                         r"reconnect=50000us fast-fail=1000000us$", text, re.M), text
        assert near.ctl("remote list")[0]["state"] == "reconnecting"
        with Karst(binary, tmp_path / "far", FAR_SCRIPT.format(who="allow-any"), port=port):
            wait_for("the disks", lambda: len(near.ctl("disk list")) == 2, near.process)
            near.ctl("disk detach remote far")
