#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The appliance in QEMU: the one place that knows the command line. `make run` and the system tests use it.

A q35 machine with an IOMMU, two NVMe drives (512 and 4096-byte blocks, each behind a root port of its own so that it
can be unplugged), one NIC with user networking, a watchdog, and the serial console on this terminal or on a UNIX
socket. `command()` gives the arguments, for Python; the program runs them. Needs no root.
"""
import argparse
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

QEMU = "qemu-system-x86_64"
DRIVE_BYTES = 1 << 30
MIB = 1 << 20
NVME_PORT = 4420
OVMF = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")
KVM_PROOF_S = 15


# What it runs on

def kvm_is_proven(kernel):
    """Whether a guest really runs under KVM: KERNEL without a root file system has to get as far as its panic.

    A /dev/kvm that opens proves nothing: on some machines it exists and no ordinary guest runs. The answer is kept until
    the machine reboots.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karst"
    known = cache / f"kvm-{boot_id}"
    if not known.exists():
        arguments = [QEMU, "-M", "q35", "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-no-user-config",
                     "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel),
                     "-append", "console=ttyS0 panic=-1"]
        try:
            done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, timeout=KVM_PROOF_S)
            proven = b"Kernel panic - not syncing: VFS" in done.stdout
        except subprocess.TimeoutExpired:
            proven = False
        cache.mkdir(parents=True, exist_ok=True)
        known.write_text("yes" if proven else "no")
    return known.read_text() == "yes"


def accel_arguments(accel, kernel):
    accel = accel or ("kvm" if kvm_is_proven(kernel) else "tcg")
    if accel == "kvm":
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


# What it boots from, and its drives

def sparse_file(path, size):
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.truncate(size)
    return path


def config_partition(image):
    """Offset and length in bytes of the partition karst-config of a disk image, or None."""
    with open(image, "rb") as file:
        file.seek(1024)
        table = file.read(128 * 128)
    for at in range(0, len(table), 128):
        entry = table[at:at + 128]
        if entry[56:].decode("utf-16-le").rstrip("\0") == "karst-config":
            first, last = int.from_bytes(entry[32:40], "little"), int.from_bytes(entry[40:48], "little")
            return first * 512, (last - first + 1) * 512
    return None


def boot_disk(image, folder):
    """The copy of IMAGE that the machine boots from and saves into; a new image keeps the saved configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / "boot.img"
    if disk.exists() and disk.stat().st_mtime >= image.stat().st_mtime:
        return disk
    saved = None
    if disk.exists():
        at, size = config_partition(disk)
        with open(disk, "rb") as file:
            file.seek(at)
            saved = file.read(size)
    subprocess.run(["cp", "--sparse=always", str(image), str(disk)], check=True)
    if saved and any(saved):
        with open(disk, "r+b") as file:
            file.seek(config_partition(disk)[0])
            file.write(saved)
    return disk


def boot_arguments(boot, images, folder, append, disk):
    drive = ["-drive", f"if=none,id=boot,file={disk or boot_disk(images / 'disk.img', folder)},format=raw",
             "-device", "virtio-blk-pci,drive=boot,bootindex=1"]
    if boot == "bios":
        return drive
    if boot == "uefi":
        variables = folder / "uefi-vars.fd"
        if not variables.exists():
            shutil.copyfile(OVMF[1], variables)
        return drive + ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF[0]}",
                        "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    cmdline = (images / "cmdline").read_text().strip()
    # The disk is there only to save configurations on; without one, direct boot still works.
    return (drive if disk or (images / "disk.img").exists() else []) + [
        "-kernel", str(images / "bzImage"), "-initrd", str(images / "initramfs"), "-append", f"{cmdline} {append}".strip()]


def nvme_arguments(index, path, block_bytes, serial=None):
    """An NVMe drive that can be unplugged: device_del nvmeN."""
    return ["-device", f"pcie-root-port,id=port{index},chassis={index + 1},slot={index + 1}",
            "-drive", f"if=none,id=drive{index},file={path},format=raw,cache=writeback,discard=unmap",
            "-device", f"nvme,id=nvme{index},bus=port{index},drive=drive{index},serial={serial or f'KARST{index:04}'},"
                       f"logical_block_size={block_bytes},physical_block_size={block_bytes}"]


def default_drives(folder):
    return [(sparse_file(folder / "nvme0.img", DRIVE_BYTES), 512), (sparse_file(folder / "nvme1.img", DRIVE_BYTES), 4096)]


def command(out, boot="direct", memory_mib=1024, cpus=2, accel=None, drives=None, forward=None, nic="virtio-net-pci",
            serial="stdio", qmp=None, append="", disk=None, folder=None, reboot=True, gdb=None, iommu=True, extra=()):
    """The arguments of QEMU.

    out      the build's folder                     boot     bios, uefi or direct (-kernel)
    drives   [(path, block size)] of NVMe drives, default two in FOLDER of 1 GiB
    forward  {port of this machine: port of the appliance}, default {4420: 4420}
    serial   stdio (with the monitor behind Ctrl-A), or a QEMU chardev such as unix:PATH,server=on,wait=off
    disk     the boot disk as it is, instead of a copy of disk.img in FOLDER, default OUT/run
    reboot   False: QEMU ends when the machine reboots
    append   more of the kernel's command line, with boot=direct
    iommu    False: a machine without one, where drives use physical addresses
    """
    out = Path(out)
    images, folder = out / "images", Path(folder) if folder else out / "run"
    folder.mkdir(parents=True, exist_ok=True)
    forward = {NVME_PORT: NVME_PORT} if forward is None else forward
    arguments = [QEMU, "-name", "karst", "-M", "q35,kernel-irqchip=split", *accel_arguments(accel, images / "bzImage"),
                 "-smp", str(cpus), "-m", str(memory_mib), "-nodefaults", "-no-user-config", "-display", "none",
                 *(["-device", "intel-iommu,intremap=on,caching-mode=on"] if iommu else [])]
    arguments += boot_arguments(boot, images, folder, append, disk)
    for index, (path, block_bytes) in enumerate(default_drives(folder) if drives is None else drives):
        arguments += nvme_arguments(index, path, block_bytes)
    if nic:
        rules = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in forward.items())
        arguments += ["-netdev", "user,id=net0" + rules, "-device", f"{nic},netdev=net0,romfile="]
    arguments += ["-device", "i6300esb", "-action", "watchdog=reset"]
    if serial == "stdio":
        arguments += ["-chardev", "stdio,id=console,mux=on,signal=off", "-serial", "chardev:console",
                      "-mon", "chardev=console"]
    else:
        arguments += ["-serial", serial]
    if qmp:
        arguments += ["-qmp", f"unix:{qmp},server=on,wait=off"]
    if gdb:
        arguments += ["-gdb", f"tcp:127.0.0.1:{gdb}", "-S"]
    return arguments + ([] if reboot else ["-no-reboot"]) + [str(argument) for argument in extra]


def check_port(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"localhost:{port}: {error.strerror}; choose another port: make run PORT=N")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="out", help="the build's folder")
    parser.add_argument("--boot", choices=("bios", "uefi", "direct"), default="bios")
    parser.add_argument("--memory", type=int, default=1024, metavar="MIB")
    parser.add_argument("--smp", type=int, default=2, metavar="CPUS")
    parser.add_argument("--accel", choices=("tcg", "kvm"))
    parser.add_argument("--drive", action="append", metavar="FILE:BLOCK", help="an NVMe drive and its block size")
    parser.add_argument("--no-drives", action="store_true")
    parser.add_argument("--port", type=int, default=NVME_PORT, help="port of localhost for NVMe/TCP")
    parser.add_argument("--nic", default="virtio-net-pci")
    parser.add_argument("--serial", default="stdio")
    parser.add_argument("--qmp", metavar="SOCKET")
    parser.add_argument("--gdb", type=int, metavar="PORT", help="wait for gdb")
    parser.add_argument("--append", default="", help="more kernel command line (direct)")
    parser.add_argument("--disk", help="boot disk to use as it is")
    parser.add_argument("--folder", help="where drives and the boot disk are kept")
    parser.add_argument("--once", action="store_true", help="end when the machine reboots")
    parser.add_argument("--print", action="store_true", help="print the command instead of running it")
    parser.add_argument("extra", nargs="*", help="more arguments for QEMU, after --")
    options = parser.parse_args()
    drives = None
    if options.no_drives or options.drive:
        drives = [(path, int(block or 512)) for path, _, block in (d.rpartition(":") for d in options.drive or [])]
    arguments = command(options.out, boot=options.boot, memory_mib=options.memory, cpus=options.smp, accel=options.accel,
                        drives=drives, forward={options.port: NVME_PORT}, nic=options.nic, serial=options.serial,
                        qmp=options.qmp, append=options.append, disk=options.disk, folder=options.folder,
                        reboot=not options.once, gdb=options.gdb, extra=options.extra)
    if options.print:
        print(shlex.join(arguments))
        return
    check_port(options.port)
    print(f"Karst in QEMU: NVMe/TCP on localhost:{options.port}, Ctrl-A X leaves.", flush=True)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
