# SPDX-License-Identifier: BSD-3-Clause
"""What nvme-cli of a Linux guest does with one disk that it sees as two hosts: every I/O command, and a fight
over reservations. The same on every transport."""
import json


class TwoHosts:
    """DEVICES of GUEST: the disk as the first and as the second host has it, of 512-byte blocks."""

    def __init__(self, guest, devices):
        self.guest, self.devices = guest, devices

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

    def clear(self):
        """Nobody is registered any more."""
        for host in (0, 1):
            self.nvme(host, "resv-register --iekey --rrega=2 --nrkey=0x77")
            self.nvme(host, "resv-release --crkey=0x77 --rrela=1")
        assert self.report()["regctl"] == 0


def make(guest, name, text, size=4096):
    guest.check(f"yes {text} | head -c {size} > /tmp/{name}")


def every_io_command(hosts):
    guest = hosts.guest
    make(guest, "a", "karst")
    make(guest, "b", "other")
    for device in hosts.devices:
        assert guest.check(f"cat /sys/block/{device[5:]}/queue/logical_block_size").strip() == "512"
    end = int(guest.check(f"cat /sys/block/{hosts.devices[0][5:]}/size"))
    hosts.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    hosts.good(1, "compare -s 0 -c 7 -z 4096 -d /tmp/a")
    hosts.bad(1, "compare -s 0 -c 7 -z 4096 -d /tmp/b", "compare")
    hosts.good(0, "read -s 0 -c 7 -z 4096 -d /tmp/back")
    guest.check("cmp /tmp/a /tmp/back")
    hosts.good(0, "verify -s 0 -c 0xffff")
    hosts.bad(0, f"verify -s {end - 1} -c 1", "lba")
    hosts.good(0, "copy --sdlba=64 --slbs=0,4 --blocks=3,3 --format=0")
    hosts.good(0, "compare -s 64 -c 7 -z 4096 -d /tmp/a")
    hosts.bad(0, "copy --sdlba=4 --slbs=0 --blocks=7 --format=0", "invalid field")
    hosts.bad(0, f"copy --sdlba={end} --slbs=0 --blocks=7 --format=0", "lba")
    hosts.good(0, "write -s 128 -c 7 -z 4096 -d /tmp/b --force-unit-access")
    hosts.good(0, "write-zeroes -s 64 -c 7")
    hosts.good(0, "write-zeroes -s 128 -c 7 --deac")
    hosts.good(0, "dsm --ad --slbs=0 --blocks=8")
    guest.check("head -c 4096 /dev/zero > /tmp/zero")
    for at in (0, 64, 128):
        hosts.good(1, f"compare -s {at} -c 7 -z 4096 -d /tmp/zero")
    hosts.bad(0, f"dsm --ad --slbs={end} --blocks=1", "lba")
    hosts.good(0, "flush")
    hosts.bad(0, "write-uncor -s 0 -c 0", "opcode")


def reservations(hosts):
    """Registers, acquires, conflicts, preempts, reports, is told, releases, clears."""
    hosts.bad(0, "resv-acquire --crkey=0xa --rtype=1 --racqa=0", "conflict")
    hosts.good(0, "resv-register --nrkey=0xa --rrega=0")
    hosts.good(1, "resv-register --nrkey=0xb --rrega=0")
    hosts.bad(1, "resv-register --nrkey=0xc --rrega=0", "conflict")
    hosts.good(0, "resv-acquire --crkey=0xa --rtype=1 --racqa=0")
    hosts.bad(1, "resv-acquire --crkey=0xb --rtype=1 --racqa=0", "conflict")
    report = hosts.report(1)
    assert (report["rtype"], report["regctl"]) == (1, 2)
    holders = {entry["rkey"]: entry["rcsts"] for entry in report["regctlext"]}
    assert holders == {0xa: 1, 0xb: 0}
    # write exclusive: the other one may read
    make(hosts.guest, "a", "karst")
    hosts.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    hosts.bad(1, "write -s 0 -c 7 -z 4096 -d /tmp/a", "conflict")
    hosts.bad(1, "write-zeroes -s 0 -c 7", "conflict")
    hosts.bad(1, "copy --sdlba=64 --slbs=0 --blocks=3 --format=0", "conflict")
    hosts.good(1, "read -s 0 -c 7 -z 4096 -d /tmp/back")
    # preempted by the other, with another type
    hosts.good(1, "resv-acquire --crkey=0xb --prkey=0xa --rtype=2 --racqa=2")
    hosts.bad(0, "read -s 0 -c 7 -z 4096 -d /tmp/back", "conflict")
    hosts.bad(0, "resv-release --crkey=0xa --rtype=2 --rrela=0", "conflict")
    hosts.good(1, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    note = json.loads(hosts.guest.check(f"nvme resv-notif-log {hosts.devices[0][:-2]} -o json"))
    assert (note["rn_log_type"], note["nsid"]) == (1, 1)
    hosts.good(1, "resv-release --crkey=0xb --rtype=2 --rrela=0")
    hosts.good(0, "write -s 0 -c 7 -z 4096 -d /tmp/a")
    # registered anew, the first one clears everything
    hosts.good(0, "resv-register --nrkey=0xa --rrega=0")
    hosts.good(0, "resv-release --crkey=0xa --rrela=1")
    assert hosts.report()["regctl"] == 0
