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
    core, row = karst.ctl(f"disk bench one rw={rw} bs=8K qd=4 time=200ms force")
    assert core["core"] == "0" and row["core"] == "all" and core["iops"] == row["iops"]
    assert row["rw"] == rw and row["bs"] == 8192 and row["qd"] == 4
    assert 0 < row["iops"] <= row["requests"] * 5
    assert abs(row["per_second"] / row["iops"] - 8192) < 8192 / 100
    assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["p99.9"] <= row["p99.99"] <= row["max"] * 1.07
    wait_memory(karst, before)
    assert all(disk["users"] == 0 for disk in karst.ctl("disk list") if disk["name"] == "one")


@pytest.mark.parametrize("command,code,says", [
    ("disk bench busy rw=write time=1s", "EPERM", "used by"),
    ("disk bench busy rw=write time=1s verify force", "EBUSY", "alone"),
    ("disk bench one rw=write bs=1M qd=17 time=1s verify force", "EINVAL", "verify"),
    ("disk bench busy bs=512 time=1s", "EINVAL", "4096"),
    ("disk bench one bs=16M", "ERANGE", "bs"),
    ("disk bench one qd=0", "ERANGE", "qd"),
    ("disk bench none", "ENOENT", "none"),
])
def test_bench_refuses_by_name(karst, command, code, says):
    with pytest.raises(CtlError) as refused:
        karst.ctl(command)
    assert (refused.value.code, says in refused.value.text) == (code, True), refused.value


def test_a_blank_disk_and_one_that_only_a_bench_has_written_need_no_force(karst):
    karst.ctl("disk create ram blank size=4M block=4096")
    for words in ("rw=randwrite bs=4K", "rw=write bs=64K verify", "rw=randrw bs=8K", "rw=write bs=128K"):
        assert karst.ctl(f"disk bench blank {words} qd=4 time=100ms")[-1]["iops"] > 0
    karst.ctl("disk delete blank force")


@pytest.mark.parametrize("at", [0, 512, 1024, 65536, (1 << 20) - 1], ids="byte-{}".format)
def test_a_disk_that_holds_data_is_overwritten_only_with_force(karst, at):
    path = karst.folder / "foreign.raw"
    data = bytearray(2 << 20)
    data[at] = 1
    path.write_bytes(data)
    karst.ctl(f"disk create file foreign path={path}")
    with pytest.raises(CtlError) as refused:
        karst.ctl("disk bench foreign rw=randwrite time=100ms")
    assert refused.value.code == "EPERM" and "force" in refused.value.text
    assert path.read_bytes() == data
    assert karst.ctl("disk bench foreign rw=write bs=64K time=100ms force")[-1]["iops"] > 0
    karst.ctl("disk delete foreign force")
    path.unlink()


def test_a_store_that_is_not_loaded_is_overwritten_only_with_force(karst):
    karst.ctl("disk create ram shelf size=64M")
    karst.ctl("store create shelf disk=shelf")
    with pytest.raises(CtlError) as refused:
        karst.ctl("disk bench shelf rw=randwrite time=100ms force")
    assert refused.value.code == "EBUSY" and "store" in refused.value.text
    karst.ctl("store unload shelf")
    with pytest.raises(CtlError) as refused:
        karst.ctl("disk bench shelf rw=randwrite time=100ms")
    assert refused.value.code == "EPERM"
    karst.ctl("store load disk=shelf")
    karst.ctl("store delete shelf force")
    karst.ctl("disk delete shelf force")


@pytest.mark.parametrize("words", ["", " rw=write force"], ids=["reads", "writes-when-forced"])
def test_bench_runs_on_a_disk_that_others_use(karst, words):
    assert karst.ctl(f"disk bench busy time=100ms{words}")[-1]["iops"] > 0


@pytest.mark.parametrize("rw,bs", [("write", "64K"), ("randwrite", "4K"), ("randrw", "512"), ("randrw", "1M")])
def test_verify_reads_again_what_it_wrote(karst, rw, bs):
    before = memory_in_use(karst)
    row = karst.ctl(f"disk bench one rw={rw} bs={bs} qd=8 time=200ms verify force")[-1]
    assert row["iops"] > 0 and row["verified"] > 0
    wait_memory(karst, before)


@pytest.fixture
def harmed(karst):
    """The file of disk `harmed`, every block of which holds a pattern."""
    path, blocks, ms = karst.folder / "harmed.raw", 64, 250
    karst.ctl(f"disk create file harmed path={path} size={blocks * 4096} block=4096")
    while karst.ctl(f"disk bench harmed rw=write bs=4K qd=4 time={ms}ms verify force")[-1]["verified"] < blocks:
        ms *= 2
        assert ms < 60000
    karst.ctl("disk bench harmed rw=read bs=16K qd=4 time=100ms verify")
    yield path
    karst.ctl("disk delete harmed force")
    path.unlink()


def harm_bit(data):
    data[5 * 4096 + 1000] ^= 4


def harm_place(data):
    data[5 * 4096:6 * 4096] = data[9 * 4096:10 * 4096]


def harm_lost(data):
    data[5 * 4096:6 * 4096] = bytes(4096)


@pytest.mark.parametrize("harm,says", [(harm_bit, "CRC"), (harm_place, "pattern of block 9"),
                                       (harm_lost, "no pattern")], ids=["bit", "place", "lost"])
def test_verify_names_the_first_block_that_is_wrong(karst, harmed, harm, says):
    with open(harmed, "r+b") as file:
        data = bytearray(file.read())
        harm(data)
        file.seek(0)
        file.write(data)
    with pytest.raises(CtlError) as refused:
        karst.ctl("disk bench harmed rw=read bs=4K qd=1 time=30s verify")
    assert refused.value.code == "EIO"
    assert "block 5 holds" in refused.value.text and says in refused.value.text, refused.value


def test_verify_finds_out_a_disk_that_forgets(karst):
    karst.ctl("disk create null void size=16M")
    with pytest.raises(CtlError) as refused:
        karst.ctl("disk bench void rw=randwrite bs=4K qd=4 time=100ms verify force")
    assert (refused.value.code, "no pattern" in refused.value.text) == ("EIO", True), refused.value
    karst.ctl("disk delete void force")
