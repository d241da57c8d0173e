# SPDX-License-Identifier: BSD-3-Clause
"""CRC32C (Castagnoli, reflected 0x82F63B78): the digest of NVMe/TCP and of Karst's own records."""


def _table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(data, crc=0):
    """The CRC of DATA; pass the CRC of what came before to go on."""
    table = _TABLE
    crc ^= 0xFFFFFFFF
    for byte in bytes(data):
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283
