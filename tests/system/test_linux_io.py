# SPDX-License-Identifier: BSD-3-Clause
"""Every I/O command, and reservations between two hosts, with nvme-cli of a stock Debian kernel.

The disk is served by two subsystems of a hosted karst; the guest is one host on the one and another
host on the other. Tests do not depend on each other: each begins without registrants.
"""
import json

import pytest

from guest import Guest
from hosted import Karst
from vm import wait_for

NQNS = ("nqn.2026-01.io.karst.test:one", "nqn.2026-01.io.karst.test:two")
UUIDS = ("11111111-0000-4000-8000-00000000000a", "22222222-0000-4000-8000-00000000000b")
SCRIPT = "disk create ram shared size=64M\n" + "".join(
    f"subsystem create {nqn} allow-any\n"
    f"namespace add {nqn} disk=shared uuid={uuid}\n"
    f"listener add {nqn} transport=tcp address=127.0.0.1 port={{port}}\n"
    for nqn, uuid in zip(NQNS, UUIDS))


class Served:
    """The karst that serves, which a test may restart; and the two hosts' devices."""

    def __init__(self, binary, folder, guest):
        self.binary, self.folder, self.guest = binary, folder, guest
        self.port = None
        self.devices = []
        self.start()

    def connect(self):
        for number, nqn in enumerate(NQNS):
            found = self.guest.nvme_connect(
                self.port, nqn, f"--hostnqn=nqn.2026-01.io.karst.test:host{number} "
                f"--hostid=0000000{number + 1}-0000-4000-8000-000000000000 --reconnect-delay=1 --ctrl-loss-tmo=120")
            self.devices.append(found[1])

    def start(self):
        self.karst = Karst(self.binary, self.folder, SCRIPT,
                           args=["--state", str(self.folder / "state")], port=self.port)
        self.port = self.karst.port

    def restart(self):
        self.karst.stop()
        self.start()
        for device in self.devices:
            wait_for(f"{device} to be live again", lambda d=device: self.guest.run(
                f"nvme flush {d}").status == 0 or "conflict" in self.guest.run(
                f"nvme flush {d} 2>&1").output.lower(), self.karst.process, 60)

    def nvme(self, host, command, data=None):
        """nvme-cli on HOST's device: the status line, empty when it succeeds."""
        verb, _, options = command.partition(" ")
        redirect = f"< {data}" if data else ""
        done = self.guest.run(f"nvme {verb} {self.devices[host]} {options} 2>&1 {redirect}")
        return "" if done.status == 0 else done.output.strip()

    def good(self, host, command):
        said = self.nvme(host, command)
        assert not said, f"nvme {command}: {said}"

    def bad(self, host, command, words):
        said = self.nvme(host, command)
        assert words.lower() in said.lower(), f"nvme {command}: {said or 'succeeds'}"

    def report(self, host=0):
        text = self.guest.check(f"nvme resv-report {self.devices[host]} --eds -o json")
        return json.loads(text[text.index("{"):])


@pytest.fixture(scope="module")
def served(out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("linux-io")
    guest = Guest(folder / "guest")
    try:
        served = Served(out / "karst", folder / "karst", guest)
        try:
            served.connect()
            yield served
            guest.run("nvme disconnect-all")
            served.karst.stop()
            assert not guest.trouble()
        finally:
            served.karst.kill()
    finally:
        guest.stop()


@pytest.fixture
def free(served):
    """Nobody is registered, before and after."""
    yield served
    for host in (0, 1):
        served.nvme(host, "resv-register --iekey --rrega=2 --nrkey=0x77")
        served.nvme(host, "resv-release --crkey=0x77 --rrela=1")
    assert served.report()["regctl"] == 0


def make(guest, name, text, size=4096):
    guest.check(f"yes {text} | head -c {size} > /tmp/{name}")


# ---- the commands ----

def test_every_io_command(served):
    guest = served.guest
    make(guest, "a", "karst")
    make(guest, "b", "other")
    for device in served.devices:
        assert guest.check(f"cat /sys/block/{device[5:]}/queue/logical_block_size").strip() == "512"
    served.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    served.good(1, "compare -s 0 -c 7 -z 4096 -d /tmp/a")
    served.bad(1, "compare -s 0 -c 7 -z 4096 -d /tmp/b", "compare")
    served.good(0, "read -s 0 -c 7 -z 4096 -d /tmp/back")
    guest.check("cmp /tmp/a /tmp/back")
    served.good(0, "verify -s 0 -c 0xffff")
    served.bad(0, "verify -s 0x1ffff -c 1", "lba")
    served.good(0, "copy --sdlba=64 --slbs=0,4 --blocks=3,3 --format=0")
    served.good(0, "compare -s 64 -c 7 -z 4096 -d /tmp/a")
    served.bad(0, "copy --sdlba=4 --slbs=0 --blocks=7 --format=0", "invalid field")
    served.bad(0, "copy --sdlba=0x20000 --slbs=0 --blocks=7 --format=0", "lba")
    served.good(0, "write -s 128 -c 7 -z 4096 -d /tmp/b --force-unit-access")
    served.good(0, "write-zeroes -s 64 -c 7")
    served.good(0, "write-zeroes -s 128 -c 7 --deac")
    served.good(0, "dsm --ad --slbs=0 --blocks=8")
    guest.check("head -c 4096 /dev/zero > /tmp/zero")
    for at in (0, 64, 128):
        served.good(1, f"compare -s {at} -c 7 -z 4096 -d /tmp/zero")
    served.bad(0, "dsm --ad --slbs=0x20000 --blocks=1", "lba")
    served.good(0, "flush")
    served.bad(0, "write-uncor -s 0 -c 0", "opcode")


def test_identify_tells_what_there_is(served):
    device = served.devices[0]
    ctrl = json.loads(served.guest.check(f"nvme id-ctrl {device} -o json"))
    assert ctrl["fuses"] == 1
    # compare, dsm, write zeroes, select, reservations, verify, copy; no write uncorrectable
    assert ctrl["oncs"] == 0x1bd
    ns = json.loads(served.guest.check(f"nvme id-ns {device} -o json"))
    assert ns["rescap"] == 0xff
    assert (ns["mssrl"], ns["mcl"], ns["msrc"]) == (32768, 131072, 127)


# ---- reservations ----

def test_two_hosts_fight_over_the_disk(free):
    served = free
    served.bad(0, "resv-acquire --crkey=0xa --rtype=1 --racqa=0", "conflict")
    served.good(0, "resv-register --nrkey=0xa --rrega=0")
    served.good(1, "resv-register --nrkey=0xb --rrega=0")
    served.bad(1, "resv-register --nrkey=0xc --rrega=0", "conflict")
    served.good(0, "resv-acquire --crkey=0xa --rtype=1 --racqa=0")
    served.bad(1, "resv-acquire --crkey=0xb --rtype=1 --racqa=0", "conflict")
    report = served.report(1)
    assert (report["rtype"], report["regctl"], report["gen"]) == (1, 2, report["gen"])
    holders = {entry["rkey"]: entry["rcsts"] for entry in report["regctlext"]}
    assert holders == {0xa: 1, 0xb: 0}
    # write exclusive: the other one may read
    make(served.guest, "a", "karst")
    served.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    served.bad(1, "write -s 0 -c 7 -z 4096 -d /tmp/a", "conflict")
    served.bad(1, "write-zeroes -s 0 -c 7", "conflict")
    served.bad(1, "copy --sdlba=64 --slbs=0 --blocks=3 --format=0", "conflict")
    served.good(1, "read -s 0 -c 7 -z 4096 -d /tmp/back")
    # preempted by the other, with another type
    served.good(1, "resv-acquire --crkey=0xb --prkey=0xa --rtype=2 --racqa=2")
    served.bad(0, "read -s 0 -c 7 -z 4096 -d /tmp/back", "conflict")
    served.bad(0, "resv-release --crkey=0xa --rtype=2 --rrela=0", "conflict")
    served.good(1, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    note = json.loads(served.guest.check(
        f"nvme resv-notif-log {served.devices[0][:-2]} -o json"))
    assert (note["rn_log_type"], note["nsid"]) == (1, 1)
    served.good(1, "resv-release --crkey=0xb --rtype=2 --rrela=0")
    served.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    # registered anew, the first one clears everything
    served.good(0, "resv-register --nrkey=0xa --rrega=0")
    served.good(0, "resv-release --crkey=0xa --rrela=1")
    assert served.report()["regctl"] == 0


def test_a_reservation_that_persists_outlives_karst(free):
    served = free
    served.good(0, "resv-register --nrkey=0xa --rrega=0 --cptpl=3")
    served.good(1, "resv-register --nrkey=0xb --rrega=0")
    served.good(0, "resv-acquire --crkey=0xa --rtype=1 --racqa=0")
    before = served.report()
    assert before["ptpls"] == 1
    served.restart()
    assert served.report() == before
    make(served.guest, "a", "karst")
    served.bad(1, "write -s 0 -c 7 -z 4096 -d /tmp/a", "conflict")
    served.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    # without persistence a restart ends it
    served.good(0, "set-feature -n 1 -f 0x83 --value=0")
    served.restart()
    assert served.report()["regctl"] == 0
    served.good(1, "write -s 0 -c 7 -z 4096 -d /tmp/a")
