# SPDX-License-Identifier: BSD-3-Clause
"""A drive of QEMU whose every change is logged (driver blklogwrites, the format of Linux' dm-log-writes), and the
disks that a loss of power could have left of it."""
import random
import struct
from collections import namedtuple

import qemu

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD = 1, 2, 4

Entry = namedtuple("Entry", "at length flags data")         # data None: zeroes


class LoggedDrive:
    """An NVMe drive in FOLDER for Appliance(extra=drive.arguments()). VOLATILE: it has a cache, and says so."""

    def __init__(self, folder, name, size, volatile=True, block_bytes=512):
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.size, self.volatile, self.block_bytes = name, size, volatile, block_bytes
        self.image = qemu.sparse_file(folder / f"{name}.img", size)
        self.log = qemu.sparse_file(folder / f"{name}.log.img", 0)

    def arguments(self):
        name = self.name
        return ["-blockdev", f"driver=file,node-name={name}-file,filename={self.image},discard=unmap",
                "-blockdev", f"driver=file,node-name={name}-log,filename={self.log}",
                "-blockdev", f"driver=blklogwrites,node-name={name},file={name}-file,log={name}-log,discard=unmap",
                "-device", f"nvme,drive={name},serial={name},write-cache={'on' if self.volatile else 'off'},"
                           f"logical_block_size={self.block_bytes},physical_block_size={self.block_bytes}"]

    def entries(self):
        """What was written, in the order in which it was done, up to where the log was cut off."""
        found = []
        with open(self.log, "rb") as log:
            magic, version, _, sector = struct.unpack("<QQQI", log.read(28))
            assert (magic, version, sector) == (MAGIC, 1, SECTOR)
            log.seek(SECTOR)
            while len(header := log.read(SECTOR)) == SECTOR:
                at, count, flags, _ = struct.unpack_from("<QQQQ", header)
                data = None
                if not count and not flags:
                    break
                if count and not flags & DISCARD:
                    data = log.read(count * SECTOR)
                    if len(data) < count * SECTOR:
                        break
                found.append(Entry(at * SECTOR, count * SECTOR, flags, data))
        return found


def put(image, entry, keep=lambda: True):
    """ENTRY into IMAGE, those of its sectors that are KEPT."""
    for at in range(0, entry.length, SECTOR):
        if keep():
            image[entry.at + at:entry.at + at + SECTOR] = \
                bytes(SECTOR) if entry.data is None else entry.data[at:at + SECTOR]


def put_whole(image, entry):
    if entry.length:
        image[entry.at:entry.at + entry.length] = bytes(entry.length) if entry.data is None else entry.data


def crashes(drive, most, seed):
    """(name, image) of disks that a loss of power could have left, each good until the next: at flushes chosen evenly,
    exactly what was flushed, and with some of what came after it, by the write and by the sector."""
    entries, chance = drive.entries(), random.Random(seed)
    flushes = [nth for nth, entry in enumerate(entries) if entry.flags & FLUSH]
    chosen = set(flushes[::max(1, len(flushes) // most)]) | set(flushes[-3:])
    image = bytearray(drive.size)
    for nth, entry in enumerate(entries):
        put_whole(image, entry)
        if nth not in chosen:
            continue
        yield f"{drive.name} flush {nth}", image
        later = []
        for following in entries[nth + 1:]:
            if following.flags & FLUSH:
                break
            later.append(following)
        if not later:
            continue
        some, torn = bytearray(image), bytearray(image)
        for following in later:
            if chance.random() < 0.5:
                put_whole(some, following)
            put(torn, following, lambda: chance.random() < 0.5)
        yield f"{drive.name} flush {nth} and some", some
        yield f"{drive.name} flush {nth} and torn", torn
