# SPDX-License-Identifier: BSD-3-Clause
"""`disk bench`: figures of a disk without a network before it, and no harm done by asking for them."""
import pytest

from conftest import artefact
from hosted import CtlError, Karst, memory_in_use, wait_memory

SCRIPT = """
disk create ram one size=16M
disk create ram busy size=16M block=4096
subsystem create nqn.2026-01.io.karst.test:bench allow-any
namespace add nqn.2026-01.io.karst.test:bench disk=busy
"""


@pytest.fixture(scope="module", params=["karst", "host/karst"], ids=["firmware", "sanitized"])
def karst(request, out, tmp_path_factory):
    binary = artefact(out / request.param, "firmware" if request.param == "karst" else "host")
    with Karst(binary, tmp_path_factory.mktemp("bench"), SCRIPT, ["-c", "0"]) as process:
        yield process


@pytest.mark.parametrize("rw", ["read", "write", "randread", "randwrite", "randrw"])
def test_bench_reports_what_the_disk_did_and_gives_its_memory_back(karst, rw):
    before = memory_in_use(karst)
    row, = karst.ctl(f"disk bench one rw={rw} bs=8K qd=4 time=200ms force")
    assert row["rw"] == rw and row["bs"] == 8192 and row["qd"] == 4
    assert row["iops"] > 0 and abs(row["per_second"] / row["iops"] - 8192) < 8192 / 100
    assert 0 < row["p50"] <= row["p99"] <= row["max"] * 1.07
    wait_memory(karst, before)
    assert all(disk["users"] == 0 for disk in karst.ctl("disk list") if disk["name"] == "one")


@pytest.mark.parametrize("command,code,says", [
    ("disk bench one rw=write time=1s", "EPERM", "force"),
    ("disk bench busy rw=write time=1s force", "EBUSY", "busy"),
    ("disk bench busy bs=512 time=1s", "EINVAL", "4096"),
    ("disk bench one bs=16M", "ERANGE", "bs"),
    ("disk bench one qd=0", "ERANGE", "qd"),
    ("disk bench none", "ENOENT", "none"),
])
def test_bench_refuses_by_name(karst, command, code, says):
    with pytest.raises(CtlError) as refused:
        karst.ctl(command)
    assert (refused.value.code, says in refused.value.text) == (code, True), refused.value


def test_bench_reads_a_disk_that_others_use(karst):
    row, = karst.ctl("disk bench busy time=100ms")
    assert row["iops"] > 0
