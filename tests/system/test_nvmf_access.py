# SPDX-License-Identifier: BSD-3-Clause
"""Who may use what, by the console: what is configured is printed back, takes effect at once, and under load.

The sanitized karst on two reactors, so that a view freed too early would be seen.
"""
import socket
import threading

import pytest

import nvme_tcp
from conftest import artefact
from hosted import CtlError, Karst
from vm import free_port, wait_for

NQN = "nqn.2026-01.io.karst.test:access"
FRIEND, OTHER = "nqn.2026-01.io.karst.test:friend", "nqn.2026-01.io.karst.test:other"
UUID = "6b617273-0000-4000-8000-0000000000cc"
QUOTE = '\\"'

SCRIPT = f"""
disk create ram r0 size=8M
disk create ram r1 size=8M
disk create ram r2 size=8M
subsystem create {NQN} serial=ACCESS cntlid-min=1001 cntlid-max=2000
ana set {NQN} 1 state=non-optimized
ana create {NQN} 7 state=optimized
namespace add {NQN} disk=r0 nsid=1
namespace add {NQN} disk=r1 nsid=2 uuid={UUID} ana-group=7 private
namespace grant {NQN} 2 {FRIEND}
namespace add {NQN} disk=r2 nsid=5 private
host allow {NQN} {FRIEND}
host allow {NQN} {OTHER}
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
ana set {NQN} 7 state=non-optimized transport=tcp address=127.0.0.1 port={{port}}
referral add transport=tcp address=192.0.2.1 port=8009
referral add transport=rdma address=2001:db8::1 port=4420
subsystem create {NQN}-odd serial="{QUOTE * 20}" model="{QUOTE * 40}"
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


def start(binary, folder):
    process = Karst(binary, folder, SCRIPT, ("-c", "0,1"))
    assert process.ctl("system boot")[0]["commands_failed"] == 0, process.log()
    return process


@pytest.fixture
def karst(binary, tmp_path):
    with start(binary, tmp_path) as process:
        yield process


@pytest.fixture(scope="module")
def untouched(binary, tmp_path_factory):
    """For tests that change nothing."""
    with start(binary, tmp_path_factory.mktemp("access")) as process:
        yield process


def host_of(karst, name, **words):
    return nvme_tcp.Host("127.0.0.1", karst.port, NQN, hostnqn=name, **words)


def code(call):
    with pytest.raises(nvme_tcp.Status) as error:
        call()
    return error.value.sct, error.value.sc


def test_configuration_is_printed_so_that_it_makes_itself_again(karst, binary, tmp_path):
    text = karst.ctl_run("config", "show").stdout
    for line in SCRIPT.format(port=karst.port).strip().split("\n"):
        assert line in text.splitlines() or line.startswith("disk"), f"{line}\nis not in\n{text}"
    port = free_port()
    again = text.replace(f"port={karst.port}", f"port={port}")
    with Karst(binary, tmp_path / "again", again.replace("{", "{{").replace("}", "}}"),
               port=port) as second:
        assert second.ctl("system boot")[0]["commands_failed"] == 0, second.log()
        assert second.ctl_run("config", "show").stdout == again


def test_hosts_see_what_was_granted_and_controllers_are_of_the_range(karst):
    with host_of(karst, FRIEND) as friend, host_of(karst, OTHER) as other:
        assert 1001 <= friend.cntlid < other.cntlid <= 2000
        assert friend.active_namespaces() == [1, 2]
        assert other.active_namespaces() == [1]
        assert len(friend.read(2, 0, 8)) == 4096
        assert code(lambda: other.read(2, 0, 8)) == (0, 0x0B)
        karst.ctl(f"namespace grant {NQN} 2 {OTHER}")
        assert len(other.read(2, 0, 8)) == 4096
        karst.ctl(f"namespace revoke {NQN} 2 {FRIEND}")
        assert code(lambda: friend.read(2, 0, 8)) == (0, 0x0B)
        assert [row["host"] for row in karst.ctl(f"namespace show {NQN} 2")] == [OTHER]
        assert [row["host"] for row in karst.ctl(f"namespace show {NQN} 1")] == ["any"]
        karst.ctl(f"host deny {NQN} {OTHER}")
        with pytest.raises((nvme_tcp.Closed, OSError)):
            while True:
                other.read(1, 0, 8)
        with pytest.raises(nvme_tcp.Status) as error:
            host_of(karst, OTHER)
        assert (error.value.sct, error.value.sc) == (1, 0x84)
        karst.ctl(f"host allow {NQN} any")
        host_of(karst, OTHER).close()
        assert len(friend.read(1, 0, 8)) == 4096


@pytest.mark.parametrize("line,text", [
    (f"namespace grant {NQN} 1 {FRIEND}", "not private"),
    (f"namespace grant {NQN} 3 {FRIEND}", "there is none"),
    (f"namespace grant {NQN} 2 {FRIEND}", "already"),
    (f"namespace grant {NQN} 2 somebody", "not an NQN"),
    (f"namespace revoke {NQN} 5 {FRIEND}", "does not see"),
    (f"namespace add {NQN} disk=r0 ana-group=9", "no ANA group 9"),
    (f"namespace add {NQN} disk=r0 uuid={UUID}", "another one has the uuid"),
    (f"namespace add {NQN} disk=r0 uuid=00000000-0000-0000-0000-000000000000", "zero means"),
    (f"ana create {NQN} 7", "exists already"),
    (f"ana create {NQN} 200", "the highest is 32"),
    (f"ana create {NQN} 0", "GROUP"),
    (f"ana delete {NQN} 7", "namespaces are in it"),
    (f"ana delete {NQN} 1", "always there"),
    (f"ana set {NQN} 8 state=optimized", "there is none"),
    (f"ana set {NQN} 7 state=lost", "state"),
    (f"ana set {NQN} 7 state=optimized port=1", "address="),
    (f"ana set {NQN} 7 state=optimized address=192.0.2.7", "there is none"),
    ("ana create discovery 2", "always there"),
    ("referral add transport=tcp address=0.0.0.0", "another machine"),
    ("referral add transport=tcp address=192.0.2.1", "exists already"),
    ("referral remove transport=tcp address=192.0.2.2", "there is none"),
    ("subsystem create nqn.2026-01.io.karst.test:x cntlid-min=5 cntlid-max=4", "above"),
    ("subsystem create nqn.2026-01.io.karst.test:x cntlid-max=65520", "65519"),
    (f"host deny {NQN} any", "not allowed in general"),
    ("host deny discovery any", "always there"),
])
def test_wrong_commands_say_what_is_wrong(untouched, line, text):
    before = untouched.ctl_run("config", "show").stdout
    with pytest.raises(CtlError, match=text):
        untouched.ctl(line)
    assert untouched.ctl_run("config", "show").stdout == before


def test_an_address_that_is_taken_is_tried_again_and_shown(karst):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        karst.ctl(f"listener add {NQN} transport=tcp address=127.0.0.1 port={port}")

        def state():
            return next(r for r in karst.ctl("listener list") if r["port"] == port)

        assert "in use" in state()["state"] and state()["retry-every"] >= 250_000_000, state()
        assert all(e.trsvcid != str(port) for e in nvme_tcp.discover("127.0.0.1", karst.port))
    wait_for("the address", lambda: state()["state"] == "listening", karst.process)
    assert nvme_tcp.discover("127.0.0.1", port)


class Reader(threading.Thread):
    """Reads a namespace again and again; .told counts what it is told."""

    def __init__(self, karst, name, nsid):
        super().__init__(daemon=True)
        self.host, self.nsid, self.told, self.ending = host_of(karst, name, queues=2), nsid, {}, False
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.ending:
                for queue in (0, 1):
                    try:
                        self.host.read(self.nsid, 0, 8, queue=queue)
                        answer = (0, 0)
                    except nvme_tcp.Status as status:
                        answer = status.sct, status.sc
                    self.told[answer] = self.told.get(answer, 0) + 1
        except Exception as error:
            self.error = error

    def end(self):
        self.ending = True
        self.join(60)
        self.host.close()
        assert not self.is_alive() and self.error is None, self.error
        return self.told


def test_changes_under_load_are_told_and_nothing_else(karst):
    karst.ctl(f"namespace grant {NQN} 5 {OTHER}")
    readers = [Reader(karst, FRIEND, 2), Reader(karst, OTHER, 1), Reader(karst, OTHER, 5)]
    for i in range(300):
        karst.ctl(f"namespace revoke {NQN} 2 {FRIEND}")
        karst.ctl(f"ana set {NQN} 1 state=inaccessible")
        karst.ctl(f"namespace remove {NQN} 5")
        karst.ctl(f"ana set {NQN} 1 state=optimized")
        karst.ctl(f"namespace grant {NQN} 2 {FRIEND}")
        karst.ctl(f"namespace add {NQN} disk=r2 nsid=5")
        # each has met a change
        if i >= 15 and all(len(reader.told) > 1 for reader in readers):
            break
    two, one, five = [reader.end() for reader in readers]
    assert set(two) <= {(0, 0), (0, 0x0B)} and two[0, 0], two
    assert set(one) <= {(0, 0), (3, 2)} and one[0, 0], one
    assert set(five) <= {(0, 0), (0, 0x0B), (3, 2)} and five[0, 0], five
    assert all(len(told) > 1 for told in (two, one, five)), "the changes were seen"
