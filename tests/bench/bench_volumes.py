# SPDX-License-Identifier: BSD-3-Clause
"""What a volume costs beside the disk underneath, and what its operations take. Part of bench.py."""
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from hosted import Karst
from measure import callgrind_counts, put_first

GIB = 1 << 30
RAM_SCRIPT = """disk create ram raw size=1G block=4096
disk create ram below size=2G block=4096
store create s disk=below
volume create s/thick size=1G
"""
FILE_SCRIPT = """disk create file raw path={folder}/raw.img size=256M block=4096
disk create file below path={folder}/below.img size=512M block=4096
store create s disk=below
volume create s/thick size=256M
"""
THIN_SCRIPT = """disk create ram below size=64G block=4096
store create s disk=below cluster={cluster}
volume create s/thick size=8G
volume create s/thin size=8G thin
"""
SNAPSHOT_GIB = (1, 16, 128)
VOLUMES = 10000


def ratios(bench, table, name, script, seconds, rounds):
    """The same bench on the raw disk and on a thick volume of the same size, in turns."""
    with Karst(bench.binary, bench.new_folder(), script, ["-c", str(min(os.sched_getaffinity(0)))]) as karst:
        put_first(karst)
        for rw in ("randwrite", "randread"):
            for depth in (1, 32):
                rows = {"raw": [], "s/thick": []}
                for disk in rows:                       # once unmeasured: pages come into being
                    bench.disk_bench(karst.socket, disk, rw, 4096, depth, seconds)
                for _ in range(rounds):
                    for disk, found in rows.items():
                        found.append(bench.disk_bench(karst.socket, disk, rw, 4096, depth, seconds)["iops"])
                ratio = median(ours / raw for raw, ours in zip(*rows.values()))
                table.row(f"thick on {name}, {rw} 4 KiB, depth {depth}", f"{ratio:.3f}",
                          "goal 0.98; {:.0f} of {:.0f} a second".format(*(median(rows[d]) for d in ("s/thick", "raw"))))


def instructions(bench, rw, disk, seconds):
    with bench.under_valgrind(RAM_SCRIPT, ["-c", str(min(os.sched_getaffinity(0)))]) as (_, folder):
        requests = bench.disk_bench(folder / "sock", disk, rw, 4096, 32, seconds)["requests"]
    total, own, _ = callgrind_counts(folder / "callgrind")
    return requests, own, total


def added_instructions(bench, table):
    short, long = (0.3, 1.5) if bench.quick else (1, 4)
    for rw in ("randread", "randwrite"):
        per = {}
        for disk in ("raw", "s/thick"):
            few, many = (instructions(bench, rw, disk, seconds) for seconds in (short, long))
            ops, own, _ = (b - a for a, b in zip(few, many))
            per[disk] = own / ops
        table.row(f"{rw}: instructions added by the volume", f"{per['s/thick'] - per['raw']:.0f}",
                  f"{per['s/thick']:.0f} against {per['raw']:.0f} of Karst's own code")


def first_writes(bench, table, seconds):
    """4 KiB here and there over far more clusters than are written: nearly every one is the first of its cluster."""
    for cluster in ("64K", "1M"):
        with Karst(bench.binary, bench.new_folder(), THIN_SCRIPT.replace("{cluster}", cluster)) as karst:
            again = bench.disk_bench(karst.socket, "s/thick", "randwrite", 4096, 1, seconds)
            first = bench.disk_bench(karst.socket, "s/thin", "randwrite", 4096, 1, seconds)
            taken = karst.ctl("volume show s/thin")[0]["clusters_own"]
            table.row(f"write to a new cluster of {cluster}, depth 1", f"{first['mean'] / 1000:.1f} us",
                      f"{again['mean'] / 1000:.1f} us to one that is there; {taken / first['requests']:.0%} were new")


def snapshots(bench, table):
    script = "disk create ram below size=512G block=4096\nstore create s disk=below cluster=1M\n"
    with Karst(bench.binary, bench.new_folder(), script) as karst:
        for size in SNAPSHOT_GIB:
            karst.ctl(f"volume create s/v{size} size={size}G")
            start = time.monotonic()
            karst.ctl(f"volume snapshot s/v{size} snap{size}")
            taken = (time.monotonic() - start) * 1000
            freeze = karst.ctl("store show s")[0]["longest_freeze"] / 1000
            table.row(f"snapshot of {size} GiB, thick, clusters of 1 MiB", f"{taken:.1f} ms",
                      f"with the command's way; I/O held for at most {freeze:.0f} us so far")


def under_load(bench, table, seconds):
    """A volume that is written to while it is snapshotted, resized, and its snapshots are deleted."""
    script = THIN_SCRIPT.replace("{cluster}", "64K")
    with Karst(bench.binary, bench.new_folder(), script) as karst, ThreadPoolExecutor() as pool:
        def load():
            return bench.disk_bench(karst.socket, "s/thick", "randwrite", 4096, 8, 4 * seconds)

        quiet = load()["max"]
        counts, slowest = {"snapshot": 0, "resize": 0, "delete": 0}, {}
        loaded = pool.submit(load)

        def tell(command):
            start = time.monotonic()
            karst.ctl(command)
            verb = command.split()[1]
            counts[verb] += 1
            slowest[verb] = max(slowest.get(verb, 0), (time.monotonic() - start) * 1000)

        while not loaded.done():
            nth = counts["snapshot"]
            tell(f"volume snapshot s/thick snap{nth}")
            tell(f"volume resize s/thick size={9 + nth % 4}G force")
            tell(f"volume delete s/snap{nth} force")
        freeze = karst.ctl("store show s")[0]["longest_freeze"] / 1000
        table.row("longest freeze of writes under load", f"{freeze:.0f} us", ", ".join(
            f"{counts[verb]} times {verb}, at most {slowest[verb]:.0f} ms" for verb in counts))
        table.row("slowest write meanwhile", f"{loaded.result()['max'] / 1000:.0f} us",
                  f"{quiet / 1000:.0f} us without them; copies of clusters and turns of the machine are in it")


def loads(bench, table):
    """Many volumes on a file in memory: as they were unloaded, and as a killed process leaves them."""
    folder = bench.new_folder()
    count = VOLUMES // 10 if bench.quick else VOLUMES
    with contextlib.ExitStack() as stack:
        image = Path("/dev/shm") / f"karst-bench-{os.getpid()}.img"
        stack.callback(lambda: image.unlink(missing_ok=True))
        disk = f"disk create file d path={image} size=4G block=4096\n"
        volumes = "".join(f"volume create s/v{n} size=64K thin\n" for n in range(count))
        start = time.monotonic()
        karst = Karst(bench.binary, folder / "make", disk + "store create s disk=d cluster=64K\n" + volumes, ready_s=600)
        table.row("volume create", f"{(time.monotonic() - start) / count * 1e6:.0f} us", f"{count} of them, by a script")
        karst.kill()
        for name in ("recovered", "clean"):
            with Karst(bench.binary, folder / name, disk + "store load disk=d\n", ready_s=600) as karst:
                show = karst.ctl("store show s")[0]
                assert show["volumes"] == count and show["loaded"].startswith("recovered") == (name == "recovered")
                table.row(f"load of {count} volumes, {name}", f"{show['load_time'] / 1e6:.0f} ms",
                          f"their disks made by {karst.ready.group(1)} ms after the start; goal 2000 ms, clean")


def bench_volumes(bench, table):
    seconds, rounds = (0.3, 3) if bench.quick else (1, 5)
    table.heading("Volumes: rate as a share of the disk underneath, one reactor")
    ratios(bench, table, "a RAM disk", RAM_SCRIPT, seconds, rounds)
    ratios(bench, table, "a file", FILE_SCRIPT, seconds, rounds)
    table.heading("Volumes: per request of 4 KiB, depth 32, RAM disk (difference of two runs)")
    added_instructions(bench, table)
    table.heading("Volumes: operations")
    first_writes(bench, table, seconds)
    snapshots(bench, table)
    under_load(bench, table, seconds)
    loads(bench, table)
