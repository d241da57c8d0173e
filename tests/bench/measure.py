# SPDX-License-Identifier: BSD-3-Clause
"""Where the programs of a bench run, and what callgrind and strace have counted. Part of bench.py."""
import os
import re
import subprocess

ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "memalign", "posix_memalign", "mmap", "__mmap",
              "brk", "sbrk", "dma_alloc", "rte_malloc", "rte_zmalloc", "rte_malloc_socket", "task_start"}


# ---- cores ----

def two_cores():
    """Of the target (or the server of the bare echo), and of the host (or the load)."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def may_be_first():
    """Whether processes may be put before all others: what else runs on this machine is then in no figure."""
    return two_cores()[0] != two_cores()[1] and subprocess.run(
        ["chrt", "-f", "1", "true"], check=False, capture_output=True).returncode == 0


def placed(core):
    """What to start a program with, so that it runs on CORE, before all others if that may be."""
    return ["taskset", "-c", str(core), *(["chrt", "-f", "1"] if may_be_first() else [])]


def put_first(karst):
    if may_be_first():
        subprocess.run(["chrt", "-f", "-a", "-p", "1", str(karst.process.pid)], check=True)


# ---- counts ----

# The turning of a reactor, worked or not: how often it turns for a request is chance.
TURNING = re.compile(r"core/(reactor|poller|timer|fd_source|task\w*|clock)\.[ch]$")
OWN = re.compile(r"(core|drivers|targets|blob)/")


def callgrind_counts(path):
    """(instructions, those of own code but for the turning of reactors, calls of allocators) of a callgrind file."""
    files, functions = {}, {}
    total = own = calls = 0
    callee, counted, inclusive = None, False, False

    def name_of(table, number, name):
        if name:
            table[number] = name
        return table.get(number, "")

    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"(fl|fi|fe|fn|cfn)=\((\d+)\)(?: (.*))?$", line)
        if match and match.group(1) == "cfn":
            callee = re.sub(r"'\d+$", "", name_of(functions, *match.groups()[1:]))
        elif match and match.group(1) == "fn":
            name_of(functions, *match.groups()[1:])
        elif match:
            source = name_of(files, *match.groups()[1:])
            counted = bool(OWN.search(source)) and not TURNING.search(source)
        elif line.startswith("calls="):
            calls += int(line[6:].split()[0]) if callee in ALLOCATORS else 0
            inclusive = True            # the next line is the callee's cost
        elif line.startswith(("summary:", "totals:")):
            total = int(line.split()[1])
        elif re.match(r"[+\-*\d]\S* \d+$", line):
            own += int(line.split()[1]) if counted and not inclusive else 0
            inclusive = False
        elif line.startswith(("cfi=", "cfl=")):
            match = re.match(r"cf[il]=\((\d+)\)(?: (.*))?$", line)
            name_of(files, *match.groups())
    return total, own, calls


def strace_counts(path):
    """{system call: count} of `strace -c`, without those that failed, which are reads in vain of who polls."""
    counts = {}
    for line in path.read_text().splitlines():
        fields = line.split()
        if len(fields) >= 5 and re.match(r"[\d.]+$", fields[0]) and fields[-1] != "total":
            counts[fields[-1]] = int(fields[3]) - (int(fields[4]) if len(fields) > 5 else 0)
    return counts
