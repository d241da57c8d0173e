#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""`make run` without a person: boots the disk image, waits for READY, then as an NVMe/TCP host on localhost
discovers, connects, writes, reads back and compares, powers the machine off, and prints one line of result.

Takes a port that is free and drives of its own, so that it disturbs nothing that is running.
"""
import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "images"), str(TOP / "tests/system/lib")]

import nvme_tcp                                         # noqa: E402
import qemu                                             # noqa: E402
from console import Console                             # noqa: E402
from vm import Vm, free_port                            # noqa: E402

READY_S = 180
POWEROFF_S = 60


def smoke(options, folder):
    port = free_port()
    serial = folder / "serial"
    started = time.monotonic()
    vm = Vm(qemu.command(options.out, boot=options.boot, memory_mib=options.memory, accel=options.accel,
                         forward={port: qemu.NVME_PORT}, folder=folder, serial=f"unix:{serial},server=on,wait=on"),
            folder)
    try:
        vm.socket_ready(serial)
        console = Console.unix(serial, folder / "console.log")
        ready = console.expect(r"\bREADY t_ms=(\d+)", READY_S).group(1)
        result = nvme_tcp.smoke("127.0.0.1", port)
        console.send("\rsystem poweroff\r")
        vm.wait(POWEROFF_S)
    finally:
        vm.kill()
    return f"{result}; READY {ready} ms after kernel start, {time.monotonic() - started:.1f} s in all"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="out")
    parser.add_argument("--boot", choices=("bios", "uefi", "direct"), default="bios")
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB")
    parser.add_argument("--accel", choices=("tcg", "kvm"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="karst-smoke-"))
    try:
        print("smoke: PASS:", smoke(options, folder))
    except Exception as error:                          # one line and a status, whatever went wrong
        told = str(error).split("\n")[0]
        print(f"smoke: FAIL: {type(error).__name__}: {told}; logs: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
