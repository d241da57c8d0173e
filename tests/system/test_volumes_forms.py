# SPDX-License-Identifier: BSD-3-Clause
"""What others may have left on a drive and what is asked for less often, by console and reader: runs instead of extent
tables, another parent, stores that are refused by the name of what is wrong with them."""
import struct

import pytest

import nvme_tcp
from blobstore import FLAGS, RLE, TABLE, EXTENT_TABLE, PAGE, Store, open_image
from crc32c import crc32c
from hosted import CtlError, Karst
from test_volumes import MIB, Served, binary, judged, served       # noqa: F401  pylint: disable=unused-import


# ---- runs ----

def runs_of(clusters):
    """Clusters as [first, count], holes too."""
    runs = []
    for at in clusters:
        if runs and at == (runs[-1][0] + runs[-1][1] if runs[-1][0] else 0):
            runs[-1][1] += 1
        else:
            runs.append([at, 1])
    return runs


def with_crc(page):
    return page[:-4] + struct.pack("<I", crc32c(page[:-4]))


def as_runs(path, name):
    """Volume NAME of an unloaded store in the form without extent pages, as after a crash: masks do not count."""
    store = Store(open_image(path))
    blob = store.volumes[name]
    start = store.super.md_start
    assert len(blob.pages) == 1, "its chain is one page"
    root = store.page(blob.pages[0])
    body = b""
    for kind, payload in root.descriptors():
        if kind == FLAGS:
            payload = struct.pack("<QQQ", blob.invalid & ~TABLE, blob.data_ro, blob.md_ro)
        elif kind == EXTENT_TABLE:
            kind, payload = RLE, b"".join(struct.pack("<II", *run) for run in runs_of(blob.clusters))
        body += struct.pack("<BI", kind, len(payload)) + payload
    page = with_crc(struct.pack("<QII", blob.id, 0, 0) + body.ljust(PAGE - 24, b"\0") + struct.pack("<II", root.next, 0))
    with open(path, "r+b") as file:
        for index in blob.extent_pages:
            file.seek((start + index) * PAGE)
            file.write(bytes(PAGE))
        file.seek((start + blob.pages[0]) * PAGE)
        file.write(page)
        file.seek(0)
        head = file.read(PAGE)
        file.seek(0)
        file.write(with_crc(head[:16] + struct.pack("<I", 0) + head[20:]))


def test_volumes_in_runs_are_read_written_and_changed(binary, tmp_path):        # noqa: F811
    data = nvme_tcp.pattern(2 * MIB, 5)
    with Served(binary, tmp_path) as it:
        it.ctl("volume create a/v size=40M thin")
        it.write("v", 3 * MIB, data)
        it.write("v", 20 * MIB, data)
        it.unload()
        it.ctl("disk delete d0 force")
    as_runs(tmp_path / "d0.img", "v")
    before = judged(tmp_path / "d0.img").volumes["v"]
    assert not before.invalid & TABLE and before.allocated == 4
    with Served(binary, tmp_path, create=False) as it:
        assert it.ctl("store check a") == []
        assert it.md5("v") == before.md5()
        it.write("v", 30 * MIB + 4096, data[:4096])
        it.ctl("volume resize a/v size=48M")
        it.ctl("volume snapshot a/v s")
        it.write("v", 3 * MIB, data[4096:8192])
        assert it.read("s", 3 * MIB, 8192) == data[:8192]
        it.unserve("s")
        it.ctl("volume clone a/s c")
        it.ctl("volume inflate a/c")
        assert it.ctl("store check a") == []
        sums = {name: it.md5(name) for name in ("v", "s", "c")}
        store = it.unload()
    assert {name: store.volumes[name].md5() for name in sums} == sums
    assert store.volumes["c"].allocated == 48 and store.volumes["c"].parent is None


# ---- another parent ----

def test_a_volume_with_a_snapshots_contents_is_put_above_it(served):         # noqa: F811
    data = nvme_tcp.pattern(4 * MIB, 6)
    for name in ("one", "two"):
        served.ctl(f"volume create a/{name} size=8M thin")
        served.write(name, 0, data)
    served.ctl("volume snapshot a/one s")
    with pytest.raises(CtlError) as refused:
        served.ctl("volume set a/two parent=a/one")
    assert "can change" in refused.value.text
    served.ctl("volume create a/small size=4M thin")
    with pytest.raises(CtlError) as refused:
        served.ctl("volume set a/small parent=a/s")
    assert "another size" in refused.value.text
    served.ctl("volume create a/thick size=8M")
    with pytest.raises(CtlError) as refused:
        served.ctl("volume set a/thick parent=a/s")
    assert "thick" in refused.value.text
    served.ctl("volume set a/two parent=a/s")
    row = served.ctl("volume show a/two")[0]
    assert row["parent"] == "s" and row["kind"] == "clone"
    assert served.ctl("volume show a/s")[0]["clones"] == 2
    served.write("two", MIB + 4096, data[:4096])
    # where nothing is beneath it a trim gives back, where the snapshot has something it does not
    served.write("two", 6 * MIB, data[:MIB])
    own = served.ctl("volume show a/two")[0]["clusters_own"]
    served.host.deallocate(served.serve("two"), [(0, 8 * MIB // 512)])
    assert served.ctl("volume show a/two")[0]["clusters_own"] == own - 1
    sums = {name: served.md5(name) for name in ("one", "two", "s")}
    store = served.unload()
    assert store.volumes["two"].parent is store.volumes["s"]
    assert {name: store.volumes[name].md5() for name in sums} == sums


# ---- refused by name ----

FIELDS = {"io_unit": 88, "md_page": 92, "version": 8, "cluster": 28, "size": 80}


@pytest.mark.parametrize("field,value,text", [
    ("md_page", 8192, "has metadata pages of 8192 bytes; known are 4096"),
    ("io_unit", 3000, "has blocks of 3000 bytes"),
    ("version", 4, "is of version 4; known are 1 to 3"),
    ("cluster", 4097, "has clusters of 4097 bytes"),
    ("size", 1 << 30, "the disk has shrunk, or is another one"),
])
def test_what_is_not_known_here_is_named_and_left_as_it_is(binary, tmp_path, field, value, text):        # noqa: F811
    with Served(binary, tmp_path) as it:
        it.unload()
    image = tmp_path / "d0.img"
    with open(image, "r+b") as file:
        head = file.read(PAGE)
        file.seek(0)
        file.write(with_crc(head[:FIELDS[field]] + struct.pack("<I", value) + head[FIELDS[field] + 4:]))
    before = image.read_bytes()
    with Karst(binary, tmp_path / "again", f"disk create file d0 path={image} size=128M\n") as karst:
        with pytest.raises(CtlError) as refused:
            karst.ctl("store load disk=d0")
        assert text in refused.value.text and refused.value.text.startswith("disk d0:")
        assert karst.ctl("store list") == []
    assert image.read_bytes() == before


def test_a_disk_of_blocks_larger_than_a_page_takes_no_store(binary, tmp_path):      # noqa: F811
    with Karst(binary, tmp_path, "disk create ram d0 size=64M block=8192\n") as karst:
        with pytest.raises(CtlError) as refused:
            karst.ctl("store create a disk=d0")
        assert "8192" in refused.value.text and "disk d0" in refused.value.text
