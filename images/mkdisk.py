#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the disk image: a sparse file with a GPT, bootable by BIOS and by UEFI, without root and loop devices.

    sector 0     protective MBR with GRUB's boot.img, which loads the first sector of core.img
    karst-bios   1 MiB: GRUB's core.img
    karst-boot   EFI system partition, FAT: GRUB for UEFI, grub.cfg, kernel, initramfs
    karst-config 1 MiB: the saved configuration, raw (written by the firmware, empty here)

Identifiers are derived from what is in the image, so that the same files give the same bytes. The layout is
UEFI 2.10 chapter 5; what GRUB wants patched is in its own i386-pc boot.S and diskboot.S.
"""
import argparse
import binascii
import hashlib
import os
import struct
import uuid

SECTOR = 512
MIB = 1 << 20
ENTRIES = 128
ENTRY_BYTES = 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR

TYPE_BIOS = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
TYPE_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
TYPE_CONFIG = uuid.UUID("6b617273-7463-4f6e-8669-670000000001")
NAMESPACE = uuid.UUID("6b617273-7400-5000-8000-000000000000")

# Offsets in GRUB's boot.img: where core.img begins, and the jump over the check of the boot drive's number.
BOOT_KERNEL_SECTOR = 0x5C
BOOT_DRIVE_CHECK = 0x66
BOOT_CODE_END = 440
# In the first sector of core.img: the list of the sectors that follow, and where in memory they go.
CORE_BLOCKLIST = SECTOR - 12
CORE_SEGMENT = 0x820


class Partition:
    def __init__(self, name, kind, first_mib, size_mib):
        self.name = name
        self.kind = kind
        self.first = first_mib * MIB // SECTOR
        self.last = self.first + size_mib * MIB // SECTOR - 1


def gpt_entries(partitions, seed):
    table = b""
    for partition in partitions:
        unique = uuid.uuid5(NAMESPACE, seed + partition.name)
        table += struct.pack("<16s16sQQQ72s", partition.kind.bytes_le, unique.bytes_le, partition.first,
                             partition.last, 0, partition.name.encode("utf-16-le"))
    return table.ljust(ENTRIES * ENTRY_BYTES, b"\0")


def gpt_header(here, other, table_at, sectors, table, seed):
    def pack(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, here, other, 2 + TABLE_SECTORS,
                           sectors - TABLE_SECTORS - 2, uuid.uuid5(NAMESPACE, seed + "disk").bytes_le, table_at,
                           ENTRIES, ENTRY_BYTES, binascii.crc32(table))
    return pack(binascii.crc32(pack(0))).ljust(SECTOR, b"\0")


def mbr(boot_img, core_at, sectors):
    boot = bytearray(boot_img[:SECTOR])
    struct.pack_into("<Q", boot, BOOT_KERNEL_SECTOR, core_at)
    boot[BOOT_DRIVE_CHECK:BOOT_DRIVE_CHECK + 2] = b"\x90\x90"
    boot[BOOT_CODE_END:] = bytes(SECTOR - BOOT_CODE_END)
    struct.pack_into("<B3sB3sII", boot, 446, 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1,
                     min(sectors - 1, 0xFFFFFFFF))
    boot[510:] = b"\x55\xaa"
    return bytes(boot)


def core_patched(core_img, core_at):
    core = bytearray(core_img.ljust(-(-len(core_img) // SECTOR) * SECTOR, b"\0"))
    struct.pack_into("<QHH", core, CORE_BLOCKLIST, core_at + 1, len(core) // SECTOR - 1, CORE_SEGMENT)
    return bytes(core)


def write_sparse(file, offset, data, block=65536):
    """Writes DATA but for its blocks of zeroes, which stay holes."""
    for start in range(0, len(data), block):
        piece = data[start:start + block]
        if piece.count(0) != len(piece):
            file.seek(offset + start)
            file.write(piece)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size-mib", type=int, required=True)
    parser.add_argument("--boot-img", required=True)
    parser.add_argument("--core-img", required=True)
    parser.add_argument("--esp", required=True)
    parser.add_argument("output")
    options = parser.parse_args()
    boot_img, core_img, esp = (open(path, "rb").read() for path in (options.boot_img, options.core_img, options.esp))
    esp_mib = -(-len(esp) // MIB)
    partitions = [Partition("karst-bios", TYPE_BIOS, 1, 1), Partition("karst-boot", TYPE_ESP, 2, esp_mib),
                  Partition("karst-config", TYPE_CONFIG, 2 + esp_mib, 1)]
    if 3 + esp_mib + 1 > options.size_mib or len(core_img) > MIB:
        raise SystemExit(f"mkdisk: {options.size_mib} MiB are too few: set IMAGE_SIZE_MIB to {esp_mib + 4} or more")
    sectors = options.size_mib * MIB // SECTOR
    seed = hashlib.sha256(boot_img + core_img + esp).hexdigest()
    table = gpt_entries(partitions, seed)
    with open(options.output, "wb") as file:
        os.truncate(file.fileno(), sectors * SECTOR)
        file.write(mbr(boot_img, partitions[0].first, sectors))
        file.write(gpt_header(1, sectors - 1, 2, sectors, table, seed) + table)
        write_sparse(file, partitions[0].first * SECTOR, core_patched(core_img, partitions[0].first))
        write_sparse(file, partitions[1].first * SECTOR, esp)
        file.seek((sectors - 1 - TABLE_SECTORS) * SECTOR)
        file.write(table + gpt_header(sectors - 1, 1, sectors - 1 - TABLE_SECTORS, sectors, table, seed))


if __name__ == "__main__":
    main()
