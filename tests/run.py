#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs test programs, as many at a time as there are CPUs, and says in one line each what failed.

run.py [--seeds FOLDER] TITLE PROGRAM...: with --seeds, fuzz_NAME is given the files of FOLDER/NAME.
The output of a program is shown only when it fails.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import time

TIMEOUT_S = 400


def run(program, arguments):
    started = time.monotonic()
    try:
        done = subprocess.run([program] + arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT_S)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b""), f"no end after {TIMEOUT_S} s"
    return code, output.decode(errors="replace"), time.monotonic() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds")
    parser.add_argument("title")
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()

    jobs = {}
    failed = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for program in options.programs:
            arguments = []
            name = os.path.basename(program)
            if options.seeds:
                folder = os.path.join(options.seeds, name.removeprefix("fuzz_"))
                arguments = sorted(entry.path for entry in os.scandir(folder)) if os.path.isdir(folder) else []
                if not arguments:
                    print(f"{options.title}: {name} has no seeds in {folder}")
                    failed.append(name)
                    continue
            jobs[pool.submit(run, program, arguments)] = name
        for job in concurrent.futures.as_completed(jobs):
            code, output, seconds = job.result()
            if code != 0:
                failed.append(jobs[job])
                print(output, end="")
                print(f"{options.title}: FAILED {jobs[job]} ({code}) after {seconds:.1f} s")
    total = len(options.programs)
    print(f"{options.title}: {total - len(failed)} of {total} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
