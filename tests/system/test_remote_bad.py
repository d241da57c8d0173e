# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks on a target that misbehaves: Karst says what was wrong, connects again, and the I/O succeeds;
a disk on another target goes on meanwhile."""
import pytest

import nvme_tcp
from bad_target import MISBEHAVIOURS, Bad
from conftest import artefact
from hosted import CtlError, Karst
from vm import wait_for

BAD = "nqn.2026-01.io.karst.test:bad"
GOOD = "nqn.2026-01.io.karst.test:good"
NEAR = "nqn.2026-01.io.karst.test:near"
ATTACH = "disk attach remote {name} transport=tcp address=127.0.0.1 port={port} nqn={nqn} reconnect=20ms"


class Bench:
    """A karst between a client and two of these targets."""

    def __init__(self, binary, folder):
        self.bad, self.good = Bad(BAD), Bad(GOOD, serial="GOOD1")
        script = "\n".join([
            ATTACH.format(name="bad", port=self.bad.port, nqn=BAD),
            ATTACH.format(name="good", port=self.good.port, nqn=GOOD),
            f"subsystem create {NEAR} allow-any",
            f"namespace add {NEAR} disk=badn1", f"namespace add {NEAR} disk=goodn1",
            f"listener add {NEAR} transport=tcp address=127.0.0.1 port={{port}}"])
        self.karst = Karst(binary, folder, script, args=("-c", "0,1"))

    def row(self, name):
        return next(row for row in self.karst.ctl("remote list") if row["name"] == name)

    def close(self):
        self.karst.stop()
        self.bad.close()
        self.good.close()


@pytest.fixture(scope="module")
def bench(out, tmp_path_factory):
    bench = Bench(artefact(out / "host/karst", "host"), tmp_path_factory.mktemp("bad"))
    yield bench
    bench.close()


def names(*kinds):
    return [name for name, row in MISBEHAVIOURS.items() if row.kind in kinds]


@pytest.mark.parametrize("name", names("read", "write"))
def test_io_succeeds_after_a_misbehaviour(bench, name):
    row, said = MISBEHAVIOURS[name], len(bench.karst.log())
    before, beside = bench.row("bad")["reconnects"], bench.row("good")["reconnects"]
    bench.bad.arm(name)
    data = nvme_tcp.pattern(65536, len(name))
    with nvme_tcp.Host("127.0.0.1", bench.karst.port, NEAR) as host:
        if row.kind == "read":
            bench.bad.media[:len(data)] = data
        else:
            host.write(1, 0, data)
            assert bytes(bench.bad.media[:len(data)]) == data
        assert host.read(1, 0, len(data) // 512) == data
        assert bench.bad.armed is None and bench.bad.fired[-1] == name
        host.write(2, 8, data)
        assert host.read(2, 8, len(data) // 512) == data
        host.disconnect()
    wait_for("connected again", lambda: bench.row("bad")["reconnects"] > before,
             bench.karst.process)
    assert row.log.search(bench.karst.log()[said:]), bench.karst.log()[said:]
    if row.fes:
        assert row.fes in bench.bad.terms
    assert bench.row("good")["reconnects"] == beside
    bench.karst.check_log()


@pytest.mark.parametrize("name", names("ic"))
def test_a_wrong_beginning_is_refused_and_told(bench, name):
    row, other = MISBEHAVIOURS[name], Bad(BAD + "2", serial="BAD2")
    attach = ATTACH.format(name="new", port=other.port, nqn=BAD + "2")
    try:
        other.arm(name)
        with pytest.raises(CtlError) as failed:
            bench.karst.ctl(attach)
        assert row.log.search(failed.value.text), failed.value.text
        wait_for("H2CTermReq", lambda: row.fes in other.terms, bench.karst.process)
        bench.karst.ctl(attach)
        bench.karst.ctl("disk detach remote new")
    finally:
        other.close()


def test_a_target_that_answers_no_more_is_left(bench):
    before = bench.row("bad")["reconnects"]
    bench.bad.freeze()
    wait_for("connected again", lambda: bench.row("bad")["reconnects"] > before,
             bench.karst.process, 30)
    with nvme_tcp.Host("127.0.0.1", bench.karst.port, NEAR) as host:
        assert len(host.read(1, 0, 8)) == 4096
        host.disconnect()


def test_a_namespace_changes_its_size_and_goes_and_comes(bench):
    def blocks():
        return [row["size"] // 512 for row in bench.karst.ctl("disk list")
                if row["name"] == "badn1"]

    bench.bad.resize(4096)
    wait_for("more blocks", lambda: blocks() == [4096], bench.karst.process)
    bench.bad.resize(1024)
    wait_for("fewer blocks", lambda: blocks() == [1024], bench.karst.process)
    bench.bad.present = False
    bench.bad.notify()
    wait_for("no disk", lambda: blocks() == [], bench.karst.process)
    bench.bad.present = True
    bench.bad.notify()
    wait_for("the disk again", lambda: blocks() == [1024], bench.karst.process)
