# SPDX-License-Identifier: BSD-3-Clause
"""Every I/O command, and reservations between two hosts, with nvme-cli of a stock Debian kernel.

The disk is served by two subsystems of a hosted karst; the guest is one host on the one and another
host on the other. Tests do not depend on each other: each begins without registrants.
"""
import json

import pytest

from guest import Guest
from hosted import Karst
from io_walk import TwoHosts, every_io_command, make, reservations
from vm import wait_for

NQNS = ("nqn.2026-01.io.karst.test:one", "nqn.2026-01.io.karst.test:two")
UUIDS = ("11111111-0000-4000-8000-00000000000a", "22222222-0000-4000-8000-00000000000b")
SCRIPT = "disk create ram shared size=64M\n" + "".join(
    f"subsystem create {nqn} allow-any\n"
    f"namespace add {nqn} disk=shared uuid={uuid}\n"
    f"listener add {nqn} transport=tcp address=127.0.0.1 port={{port}}\n"
    for nqn, uuid in zip(NQNS, UUIDS))


class Served(TwoHosts):
    """The karst that serves, which a test may restart; and the two hosts' devices."""

    def __init__(self, binary, folder, guest):
        super().__init__(guest, [])
        self.binary, self.folder, self.port = binary, folder, None
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
    served.clear()


# ---- the commands ----

def test_every_io_command(served):
    every_io_command(served)


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
    reservations(free)


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
