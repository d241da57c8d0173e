#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""What Karst costs, as a table. Nothing here passes or fails: promises are in tests/system.

Counts (instructions, system calls, allocations per request) are differences of two runs of the hosted firmware that
differ only in their number of requests, so that start and end cancel out; they hardly depend on the machine. Rates
are given beside those of a bare-socket echo of the same message sizes, on the same cores, in turns with it: the ratio
is the figure, the rest depends on the machine. Disks are null disks: what is measured is everything but the disk.
"""
import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/system/lib"), str(TOP / "images")]

import nvme_tcp  # noqa: E402
import qemu  # noqa: E402
from bench_vhost import bench_vhost  # noqa: E402
from bench_volumes import bench_volumes  # noqa: E402
from console import Console  # noqa: E402
from hosted import Karst  # noqa: E402
from measure import callgrind_counts, may_be_first, placed, put_first, strace_counts, two_cores  # noqa: E402
from vm import free_port, spawn, wait_for  # noqa: E402

NQN = "nqn.2026-01.io.karst.bench:null"
SCRIPT = f"""disk create null bench size=1G block=512
subsystem create {NQN} allow-any
namespace add {NQN} disk=bench
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""
FAR_SCRIPT = f"""disk create null null size=1G block=4096
disk create ram ram size=128M block=4096
subsystem create {NQN} allow-any
namespace add {NQN} disk=null
namespace add {NQN} disk=ram
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""
NEAR_SCRIPT = f"disk attach remote far transport=tcp address=127.0.0.1 port={{far}} nqn={NQN}\n"
NEAR_DISKS = {"null": "farn1", "ram": "farn2"}
NATIVE = ((4096, 1), (4096, 32), (4096, 128), (131072, 32))
# Bytes of a request and of its answer on the wire, without digests: NVMe/TCP 1.0c 3.6.
SIZES = {"read": (72, 24 + 4096), "write": (72 + 4096, 24)}
DEPTHS = (1, 32, 128)


class Table:
    """Rows of (what, figure, remark) under headings, printed as they come."""

    def heading(self, text):
        print(f"\n{text}", flush=True)

    def row(self, what, figure, remark=""):
        print(f"  {what:<44} {figure:>14}  {remark}".rstrip(), flush=True)


class Bench:
    def __init__(self, out, folder, quick):
        self.out, self.folder, self.quick = out, folder, quick
        self.binary, self.load, self.vhost_load = (out / name for name in (
            "karst", "bench/nvme_tcp_load", "bench/vhost_load"))
        self.serial = 0

    def new_folder(self):
        self.serial += 1
        folder = self.folder / str(self.serial)
        folder.mkdir()
        return folder

    def run_load(self, load, *args):
        """The key=value line of a load that has ended. It runs where a host would: on the last core."""
        command = [*placed(two_cores()[1]), load, *map(str, args)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        return dict(re.findall(r"(\w+)=(\S+)", done.stdout))

    def nvme(self, port, op, depth, count, *how):
        return float(self.run_load(self.load, "nvme", "127.0.0.1", port, NQN, op, depth, count, *how)["iops"])

    def echo(self, port, sizes, depth, count):
        return float(self.run_load(self.load, "echo", "127.0.0.1", port, *sizes, depth, count)["iops"])

    @contextlib.contextmanager
    def under_valgrind(self, script=SCRIPT, args=()):
        """A hosted karst under callgrind: its port and folder. Ends in order."""
        folder, port = self.new_folder(), free_port()
        path = folder / "startup.rc"
        path.write_text(script.format(port=port, folder=folder))
        log = folder / "log"
        process = spawn(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind", self.binary,
                         "-s", folder / "sock", "--no-huge", *args, "-f", path], log)
        wait_for("READY", lambda: re.search("^READY", log.read_text(errors="replace"), re.M), process, 120)
        yield port, folder
        process.terminate()
        process.wait(120)

    @contextlib.contextmanager
    def under_strace(self, script=SCRIPT, args=()):
        """
        A hosted karst under `strace -c`, whose result is FOLDER/strace when it has ended. Attached after the start, which
        polls for what its threads have done a varying number of times.
        """
        with Karst(self.binary, self.new_folder(), script, args) as karst:
            log = karst.folder / "strace.log"
            tracer = spawn(["strace", "-f", "-c", "-o", karst.folder / "strace", "-p", karst.process.pid], log)
            wait_for("strace", lambda: "attached" in log.read_text(), tracer)
            yield karst
            tracer.send_signal(signal.SIGINT)
            tracer.wait(60)

    def disk_bench(self, socket, disk, rw, size, depth, seconds):
        """The row of all cores of `disk bench` at the karst of SOCKET."""
        done = subprocess.run([self.binary, "ctl", "-s", socket, "-j", "disk", "bench", disk, f"rw={rw}", f"bs={size}",
                               f"qd={depth}", f"time={int(seconds * 1000)}ms", "force"], check=True,
                              capture_output=True, text=True, timeout=600)
        return json.loads(done.stdout)["rows"][-1]


# ---- counts ----

def callgrind_run(bench, op, depth, count):
    with bench.under_valgrind() as (port, folder):
        bench.nvme(port, op, depth, count, "lockstep")
    return callgrind_counts(folder / "callgrind")


def strace_run(bench, op, depth, count):
    with bench.under_strace() as karst:
        bench.nvme(karst.port, op, depth, count)
    return strace_counts(karst.folder / "strace")


def bench_counts(bench, table):
    table.heading("Target, per request of 4 KiB (difference of two runs)")
    short, long = (1000, 3000) if bench.quick else (2000, 10000)
    ops = long - short
    for depth in (1, 32):
        for op in SIZES:
            few, many = callgrind_run(bench, op, depth, short), callgrind_run(bench, op, depth, long)
            total, own, calls = ((b - a) / ops for a, b in zip(few, many))
            table.row(f"{op}, depth {depth}: instructions", f"{own:.0f}",
                      f"of Karst's own code; {total:.0f} with libc and polling; allocations {calls:g}, must be 0")
    for depth in (1, 32):
        for op in SIZES:
            few, many = strace_run(bench, op, depth, short), strace_run(bench, op, depth, long)
            calls = {name: (many[name] - few.get(name, 0)) / ops for name in many if not name.startswith("epoll")}
            often = sorted((n for n in calls if calls[n] >= 0.005), key=lambda n: -calls[n])
            table.row(f"{op}, depth {depth}: system calls", f"{sum(calls.values()):.2f}",
                      " ".join(f"{name} {calls[name]:.2f}" for name in often) + "; without polling in vain")


# ---- rates ----

@contextlib.contextmanager
def echo_server(bench, request, answer):
    log = bench.new_folder() / "log"
    process = spawn([*placed(two_cores()[0]), bench.load, "echo-server", "127.0.0.1", request, answer], log)
    port = wait_for("echo server", lambda: re.search(r"port=(\d+)", log.read_text()), process).group(1)
    try:
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def cpu_seconds(pid):
    """User and kernel time of a process, to the nanosecond as the scheduler counts it, summed over its threads."""
    return sum(int(path.read_text(encoding="ascii").split()[0])
               for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measured(pid, count, run):
    """(requests per second, microseconds of CPU time of PID per request) of RUN()."""
    before = cpu_seconds(pid)
    rate = run()
    return rate, (cpu_seconds(pid) - before) * 1e6 / count


def bench_rates(bench, table):
    table.heading("Requests of 4 KiB, one connection: rate as a share of bare sockets with the same messages")
    seconds, rounds = (0.3, 3) if bench.quick else (1.0, 5)
    with Karst(bench.binary, bench.new_folder(), SCRIPT, ["-c", str(two_cores()[0])]) as karst:
        put_first(karst)
        for op, sizes in SIZES.items():
            with echo_server(bench, *sizes) as (port, echo_pid):
                for depth in DEPTHS:
                    count = max(2000, int(bench.nvme(karst.port, op, depth, 2000) * seconds))
                    # in turns, so that both meet the same machine
                    pairs = [(measured(karst.process.pid, count, lambda: bench.nvme(karst.port, op, depth, count)),
                              measured(echo_pid, count, lambda: bench.echo(port, sizes, depth, count)))
                             for _ in range(rounds)]
                    ratio = median(ours[0] / echo[0] for ours, echo in pairs)
                    figures = [median(pair[who][what] for pair in pairs) for what in (0, 1) for who in (0, 1)]
                    table.row(f"{op}, depth {depth}", f"{ratio:.2f}", "{:.0f} of {:.0f} a second; CPU {:.1f} against "
                              "{:.1f} us each".format(*figures))


# ---- target and host ----

def on_cores():
    """The arguments that put a target and a host on cores of their own, as far as there are."""
    return tuple(["-c", str(core)] for core in two_cores())


def native_rates(bench, table, seconds, rounds):
    on_far, on_near = on_cores()
    with Karst(bench.binary, bench.new_folder(), FAR_SCRIPT, on_far) as far, \
            Karst(bench.binary, bench.new_folder(), NEAR_SCRIPT.format(far=far.port), on_near) as near:
        put_first(far)
        put_first(near)
        for rw, (size, depth) in ((rw, how) for how in NATIVE for rw in ("randread", "randwrite")):
            sizes = (72, 24 + size) if rw == "randread" else (72 + size, 24)
            with echo_server(bench, *sizes) as (port, _):
                count = max(2000, int(bench.echo(port, sizes, depth, 2000) * seconds))
                ours, echoes = {name: [] for name in NEAR_DISKS}, []
                for _ in range(rounds):
                    echoes.append(bench.echo(port, sizes, depth, count))
                    for name, disk in NEAR_DISKS.items():
                        ours[name].append(bench.disk_bench(near.socket, disk, rw, size, depth, seconds))
            for name, rows in ours.items():
                ratio = median(row["iops"] / echo for row, echo in zip(rows, echoes))
                iops, mean, tail = (median(row[what] for row in rows) for what in ("iops", "mean", "p99"))
                stream = f"; {iops * size / 1e9:.1f} GB/s" if size > 4096 else ""
                table.row(f"{name}, {rw} {size >> 10} KiB, depth {depth}", f"{ratio:.2f}",
                          f"{iops:.0f} of {median(echoes):.0f} a second{stream}; mean {mean / 1000:.0f} us, "
                          f"p99 {tail / 1000:.0f} us")


def native_counts(bench, side, rw, depth, seconds):
    """(requests, instructions of own code, all instructions) of SIDE, \"target\" or \"host\", under callgrind."""
    on_far, on_near = on_cores()
    with contextlib.ExitStack() as stack:
        if side == "target":
            far, folder = stack.enter_context(bench.under_valgrind(FAR_SCRIPT, on_far))
            near = stack.enter_context(Karst(bench.binary, bench.new_folder(), NEAR_SCRIPT.format(far=far), on_near))
            socket = near.socket
        else:
            far = stack.enter_context(Karst(bench.binary, bench.new_folder(), FAR_SCRIPT, on_far)).port
            _, folder = stack.enter_context(bench.under_valgrind(NEAR_SCRIPT.format(far=far), on_near))
            socket = folder / "sock"
        requests = bench.disk_bench(socket, NEAR_DISKS["null"], rw, 4096, depth, seconds)["requests"]
    total, own, _ = callgrind_counts(folder / "callgrind")
    return requests, own, total


def bench_native(bench, table):
    table.heading("Karst to Karst over loopback, a core each: rate as a share of bare sockets with the same messages")
    if not may_be_first():
        table.row("other processes disturb these rates", "!", "no right to SCHED_FIFO, or one core only")
    native_rates(bench, table, *((0.15, 3) if bench.quick else (0.4, 9)))
    table.heading("Karst to Karst, per request of 4 KiB, null disk (difference of two runs)")
    short, long = (0.3, 1.5) if bench.quick else (1, 5)
    for side, depth, rw in ((s, d, r) for s in ("target", "host") for d in (1, 32) for r in ("randread", "randwrite")):
        few, many = (native_counts(bench, side, rw, depth, seconds) for seconds in (short, long))
        ops, own, total = (b - a for a, b in zip(few, many))
        table.row(f"{side}, {rw}, depth {depth}: instructions", f"{own / ops:.0f}",
                  f"of Karst's own code; {total / ops:.0f} with libc and polling")


# ---- idle, memory, sizes ----

def bench_idle(bench, table):
    table.heading("Idle, hosted, one listener")
    seconds = 2 if bench.quick else 10
    with Karst(bench.binary, bench.new_folder(), SCRIPT) as karst:
        before, start = karst.cpu_seconds(), time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            karst.process.wait(seconds)
        used = (karst.cpu_seconds() - before) / (time.monotonic() - start)
        table.row("share of one CPU", f"{used:.2%}")
        table.row("resident memory", f"{resident_kib(karst) / 1024:.0f} MiB")
        table.row("start to READY", f"{karst.ready.group(1)} ms")


def resident_kib(karst):
    status = Path(f"/proc/{karst.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:.*?(\d+)", status).group(1))


def bench_queues(bench, table):
    """What a connected queue that does nothing takes: memory that is there once and reused is no part of it."""
    table.heading("Memory of idle queues, hosted")
    queues, hosts = 16, 4 if bench.quick else 16
    with Karst(bench.binary, bench.new_folder(), SCRIPT) as karst, contextlib.ExitStack() as stack:
        for depth in (32, 128):
            def connect(count, depth=depth):
                for _ in range(count):
                    stack.enter_context(nvme_tcp.Host("127.0.0.1", karst.port, NQN, queues=queues, depth=depth))
            connect(1)
            before = resident_kib(karst)
            connect(hosts)
            each = (resident_kib(karst) - before) / (hosts * queues)
            table.row(f"a queue pair of depth {depth}", f"{each:.0f} KiB", "resident, with its share of the controller")


def bench_sizes(bench, table):
    table.heading("Sizes")
    for name in ("karst", "init", "images/karst.stripped", "images/bzImage", "images/initramfs"):
        path = bench.out / name
        if path.exists():
            table.row(name, f"{path.stat().st_size / (1 << 20):.2f} MiB")


# ---- the appliance ----

def bench_appliance(bench, table):
    """Boots the kernel directly and asks at the console; what the appliance says of itself is the figure."""
    table.heading("Appliance in QEMU, kernel and initramfs loaded directly")
    folder = bench.new_folder()
    path = folder / "console"
    process = spawn(qemu.command(bench.out, folder=folder, forward={}, serial=f"unix:{path},server=on,wait=on",
                                 reboot=False), folder / "qemu.log")
    wait_for("the console's socket", path.exists, process)
    console = Console.unix(path, folder / "console.log")
    try:
        ready = console.expect(r"READY t_ms=(\d+)([^\r\n]*)", 180)
        table.row("kernel start to READY", f"{ready.group(1)} ms", ready.group(2).strip())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        console.send("reactor show | json\r")
        for row in re.findall(r"\{[^{}]*\}", console.expect(r'"rows":\[(.*)\]', 60).group(1)):
            values = json.loads(row)
            table.row(f"idle: CPU of reactor {values['reactor']}", f"{values['cpu']:.2f} %", "for 5 s")
        console.send("system poweroff\r")
        process.wait(60)
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=TOP / "out")
    parser.add_argument("--quick", action="store_true", help="shorter runs, rougher figures")
    parser.add_argument("--only", choices=("counts", "rates", "native", "vhost", "volumes", "queues", "idle", "sizes", "appliance"),
                        action="append")
    options = parser.parse_args()
    table = Table()
    parts = {"counts": bench_counts, "rates": bench_rates, "native": bench_native,
             "vhost": bench_vhost, "volumes": bench_volumes, "queues": bench_queues, "idle": bench_idle,
             "sizes": bench_sizes, "appliance": bench_appliance}
    with tempfile.TemporaryDirectory(prefix="karst-bench-") as folder:
        bench = Bench(options.out.resolve(), Path(folder), options.quick)
        for name, part in parts.items():
            if not options.only or name in options.only:
                part(bench, table)


if __name__ == "__main__":
    main()
