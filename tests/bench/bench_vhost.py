# SPDX-License-Identifier: BSD-3-Clause
"""Disks of virtual machines: a front end that polls, natively, beside qemu-storage-daemon. Part of bench.py.

Target and front end are two processes on a core each, with one queue. qemu-storage-daemon has the same kind of disk
(null-co for the null disk, a file in memory for the RAM disk), polls in a thread of its own on the same core, and serves
virtio-blk only, which both of ours are compared with.
"""
import contextlib
import os
from pathlib import Path
from statistics import median

from hosted import Karst
from measure import callgrind_counts, placed, put_first, strace_counts, two_cores
from vm import spawn, wait_for

SPAN = 64 << 20
KINDS = ("blk", "scsi")
OPS = ("read", "write")
DEPTHS = (1, 32, 128)
SCRIPT = "".join(f"""disk create {disk} {disk} size={SPAN} block=512
vhost create blk blk-{disk} disk={disk} socket={{folder}}/blk-{disk}
vhost create scsi scsi-{disk} socket={{folder}}/scsi-{disk}
vhost target add scsi-{disk} 0 disk={disk}
""" for disk in ("ram", "null"))


def load(bench, socket, kind, op, depth, *how):
    return bench.run_load(bench.vhost_load, socket, kind, op, f"depth={depth}", *how)


@contextlib.contextmanager
def storage_daemon(bench):
    """qemu-storage-daemon with both disks: the folder of its sockets, named as Karst's."""
    folder = bench.new_folder()
    image = Path("/dev/shm") / f"karst-bench-vhost-{os.getpid()}.img"
    command = [*placed(two_cores()[0]), "qemu-storage-daemon", "--object", "iothread,id=loop,poll-max-ns=1000000",
               "--blockdev", f"driver=null-co,node-name=null,size={SPAN}",
               "--blockdev", f"driver=file,node-name=ram,filename={image},cache.direct=off"]
    for disk in ("ram", "null"):
        command += ["--export", f"type=vhost-user-blk,id={disk},node-name={disk},writable=on,iothread=loop,"
                    f"addr.type=unix,addr.path={folder}/blk-{disk}"]
    try:
        with image.open("wb") as file:
            file.truncate(SPAN)
        process = spawn(command, folder / "log")
        wait_for("qemu-storage-daemon", lambda: all((folder / f"blk-{disk}").exists() for disk in ("ram", "null")),
                 process)
        yield folder
        process.terminate()
        process.wait(60)
    finally:
        image.unlink(missing_ok=True)


def rates(bench, table, ms, rounds):
    with Karst(bench.binary, bench.new_folder(), SCRIPT, ["-c", str(two_cores()[0])]) as karst, \
            storage_daemon(bench) as peer:
        put_first(karst)
        for folder in (karst.folder, peer):             # pages of the disks come into being
            load(bench, folder / "blk-ram", "blk", "write", 32, "sequential", f"count={SPAN // 4096}")
        for disk, op, depth in ((d, o, n) for d in ("ram", "null") for o in OPS for n in DEPTHS):
            ours, theirs = {kind: [] for kind in KINDS}, []
            for _ in range(rounds):
                for kind, rows in ours.items():
                    rows.append(float(load(bench, karst.folder / f"{kind}-{disk}", kind, op, depth, f"ms={ms}")["iops"]))
                theirs.append(float(load(bench, peer / f"blk-{disk}", "blk", op, depth, f"ms={ms}")["iops"]))
            for kind, rows in ours.items():
                ratio = median(our / their for our, their in zip(rows, theirs))
                table.row(f"{disk}, {kind} {op}, depth {depth}", f"{ratio:.1f}",
                          f"{median(rows) / 1000:.0f} of {median(theirs) / 1000:.0f} thousand a second"
                          + ("; goal 3" if depth == 32 else ""))


def instructions(bench, kind, op, depth, count):
    with bench.under_valgrind(SCRIPT, ["-c", str(two_cores()[0])]) as (_, folder):
        load(bench, folder / f"{kind}-null", kind, op, depth, f"count={count}", "lockstep")
    return callgrind_counts(folder / "callgrind")


def calls(bench, kind, op, depth, count):
    with bench.under_strace(SCRIPT, ["-c", str(two_cores()[0])]) as karst:
        load(bench, karst.folder / f"{kind}-null", kind, op, depth, f"count={count}")
    return strace_counts(karst.folder / "strace")


def counts(bench, table):
    short, long = (2000, 6000) if bench.quick else (5000, 25000)
    ops = long - short
    for kind, depth, op in ((k, d, o) for k in KINDS for d in (1, 32) for o in OPS):
        few, many = (instructions(bench, kind, op, depth, count) for count in (short, long))
        total, own, allocations = ((b - a) / ops for a, b in zip(few, many))
        few, many = (calls(bench, kind, op, depth, count) for count in (short, long))
        system = sum(many[name] - few.get(name, 0) for name in many if not name.startswith("epoll")) / ops
        table.row(f"{kind} {op}, depth {depth}: instructions", f"{own:.0f}",
                  f"of Karst's own code; {total:.0f} with libc and polling; allocations "
                  f"{max(allocations, 0):.2f}, system calls {max(system, 0):.2f}, must be 0")


def bench_vhost(bench, table):
    table.heading("vhost, 4 KiB anywhere, one queue, a core each: rate as a multiple of qemu-storage-daemon's")
    rates(bench, table, *((200, 3) if bench.quick else (500, 5)))
    table.heading("vhost target, per request of 4 KiB, null disk (difference of two runs)")
    counts(bench, table)
