# SPDX-License-Identifier: BSD-3-Clause
"""docs/vhost.md: its commands work as they are written. What is put in place of the document's is where sockets lie; `…` is
the rest of the machine."""
import re
import shlex

import pytest

from conftest import TOP, artefact
from guest import Guest
from hosted import Karst
from vhost_guest import Load, migrate

DISKS = """
disk create ram nvme0n1 size=64M
disk create ram nvme1n1 size=64M
disk create ram drive size=64M
store create pool disk=drive cluster=1M
volume create pool/log size=16M
"""


def blocks():
    """The document's examples with QEMU in them: {device: (karst's commands, QEMU's, the monitor's)}."""
    text = (TOP / "docs/vhost.md").read_text()
    found = {}
    for block in re.findall(r"(?:^    .*\n)+", text, re.M):
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        said = {prompt: [line[len(prompt):].strip() for line in lines if line.startswith(prompt)]
                for prompt in ("karst>", "$", "(qemu)")}
        if said["$"]:
            found[said["karst>"][0].split()[3]] = (said["karst>"], said["$"], said["(qemu)"])
    return found


class Documented:
    """A karst with the disks of the document, and the guests of its command lines."""

    def __init__(self, binary, folder, commands):
        self.folder, self.guests = folder, []
        self.karst = Karst(binary, folder, DISKS)
        for command in commands:
            if " create " in command:
                command += f" socket={folder}/{command.split()[3]}.sock"
            self.karst.ctl(command)

    def start(self, command):
        words = shlex.split(command.replace("/run/karst", str(self.folder)))
        assert words[1] == "…"
        guest = Guest(self.folder / f"guest{len(self.guests)}", cpus=2, machine=[words[0], *words[2:]])
        self.guests.append(guest)
        return guest

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for guest in self.guests:
            guest.stop()
        self.karst.__exit__(kind)


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "karst", "firmware")


VERIFY = "--rw=randwrite --bs=16k --size=8M --verify=crc32c --verify_fatal=1 --iodepth=8"


def test_each_example_with_qemu_is_run_here():
    assert sorted(blocks()) == ["db", "here", "web"]


def test_commands_for_a_disk_work_as_written(binary, tmp_path):
    commands, (qemu,), _ = blocks()["web"]
    with Documented(binary, tmp_path, commands) as documented:
        guest = documented.start(qemu)
        guest.fio("web", "/dev/vdb", VERIFY)
        assert len(documented.karst.ctl("vhost queues web")) == 2
        assert guest.trouble() == []


def test_commands_for_a_scsi_adapter_work_as_written(binary, tmp_path):
    commands, (qemu,), _ = blocks()["db"]
    with Documented(binary, tmp_path, commands) as documented:
        guest = documented.start(qemu)
        guest.load("virtio_scsi", "sd_mod", "sg")
        for name in ("/dev/sda", "/dev/sdb"):
            guest.check(f"while [ ! -b {name} ]; do usleep 10000; done")
            guest.fio("db", name, VERIFY)
        assert guest.trouble() == []


def test_commands_for_moving_a_guest_work_as_written(binary, tmp_path):
    commands, (first, second), (move,) = blocks()["here"]
    with Documented(binary, tmp_path, commands) as documented:
        source = documented.start(first)
        load = Load(source, "/dev/vdb")
        target = documented.start(second)
        verb, address = move.replace("/run/karst", str(tmp_path)).split()
        assert verb == "migrate"
        migrate(source, target, address)
        load.moved(target)
        load.stop()
        assert target.trouble() == []
