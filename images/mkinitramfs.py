#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes an initramfs (newc cpio), the same bytes for the same files, without root.

mkinitramfs.py OUTPUT PATH=FILE...: OUTPUT gets /dev/console, the folders that init mounts on, and each FILE at PATH,
executable. Times, owners and inode numbers are constants; entries are in alphabetical order.
"""
import stat
import sys

FOLDERS = ("bin", "dev", "dev/pts", "dev/hugepages", "etc", "proc", "run", "sys", "tmp")
CONSOLE = ("dev/console", stat.S_IFCHR | 0o600, 5, 1)


def entry(inode, name, mode, data=b"", major=0, minor=0):
    fields = (inode, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, major, minor, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def main():
    output, files = sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:])
    entries = {folder: (stat.S_IFDIR | 0o755, b"", 0, 0) for folder in FOLDERS}
    entries[CONSOLE[0]] = (CONSOLE[1], b"", *CONSOLE[2:])
    for path, source in files.items():
        with open(source, "rb") as file:
            entries[path.lstrip("/")] = (stat.S_IFREG | 0o755, file.read(), 0, 0)
    with open(output, "wb") as file:
        for inode, name in enumerate(sorted(entries), 1):
            mode, data, major, minor = entries[name]
            file.write(entry(inode, name, mode, data, major, minor))
        file.write(entry(0, "TRAILER!!!", 0))


if __name__ == "__main__":
    main()
