# SPDX-License-Identifier: BSD-3-Clause
"""The reader that judges what Karst writes: it reads what SPDK wrote, and sees what is wrong with a store."""
import struct

import golden
import pytest
from blobstore import NONE, PAGE, NotAStore, Store
from crc32c import crc32c

MD5S = golden.md5s()
IMAGE = golden.image()
WHOLE = Store(IMAGE)
MD = WHOLE.super.md_start * PAGE


def sealed(image, at):
    """The page at AT gets the CRC that fits its bytes."""
    struct.pack_into("<I", image, at + PAGE - 4, crc32c(image[at:at + PAGE - 4]))


def changed(at, raw, page=None):
    """The golden drive with other bytes at AT, of the page that begins at PAGE (None: no CRC there)."""
    image = bytearray(IMAGE)
    image[at:at + len(raw)] = raw
    if page is not None:
        sealed(image, page)
    return image


def root(name):
    return MD + WHOLE.volumes[name].pages[0] * PAGE


def extent_page(name):
    return MD + WHOLE.volumes[name].extent_pages[0] * PAGE


def problems(image, recover=False):
    return "\n".join(Store(image, recover=recover).problems)


def test_reads_every_volume_that_spdk_wrote():
    assert WHOLE.clean and WHOLE.problems == []
    assert (WHOLE.name, WHOLE.uuid) == ("lvs0", "1b5ad963-ac65-4bed-8381-7d12505dbdbf")
    assert {name: volume.md5() for name, volume in WHOLE.volumes.items()} == MD5S
    assert {name: volume.allocated for name, volume in WHOLE.volumes.items()} == {
        "thick": 8, "thin": 2, "base": 1, "snap": 3, "clone": 1}
    assert WHOLE.volumes["base"].parent.name == WHOLE.volumes["clone"].parent.name == "snap"


def test_recovery_finds_what_the_masks_say():
    found = Store(IMAGE, recover=True)
    assert not found.clean and found.problems == []
    assert {name: volume.md5() for name, volume in found.volumes.items()} == MD5S
    assert found.used_clusters == WHOLE.used_clusters


@pytest.mark.parametrize("at,raw,why", [
    (0, b"X", "no signature"), (8, b"\4", "bad CRC"), (PAGE - 1, b"\x99", "bad CRC")])
def test_a_superblock_that_is_damaged_is_no_store(at, raw, why):
    with pytest.raises(NotAStore, match=why):
        Store(changed(at, raw))


def test_a_store_larger_than_its_disk_is_none():
    with pytest.raises(NotAStore, match="larger"):
        Store(IMAGE[:-PAGE])


def test_a_bad_crc_names_the_blob():
    found = Store(changed(root("thin") + 2000, b"\x55"))
    assert list(found.damaged) == [WHOLE.volumes["thin"].id]
    assert "bad CRC" in found.problems[0]
    assert found.volumes["thick"].md5() == MD5S["thick"]


def test_a_chain_into_another_blob_is_noticed():
    other = WHOLE.volumes["thick"].pages[0]
    at = root("thin")
    assert "sequence 0" in problems(changed(at + 4088, struct.pack("<I", other), at))
    assert "comes back" in problems(changed(
        at + 4088, struct.pack("<I", WHOLE.volumes["thin"].pages[0]), at))
    assert "beyond" in problems(changed(at + 4088, struct.pack("<I", NONE - 1), at))


def test_clusters_that_are_owned_twice_leaked_or_outside_are_noticed():
    at = extent_page("thick")
    mine, theirs = WHOLE.volumes["thick"].clusters[0], next(filter(None, WHOLE.volumes["thin"].clusters))
    text = problems(changed(at + 25, struct.pack("<I", theirs), at))
    assert f"cluster {theirs} belongs to" in text and f"leaked: [{mine}]" in text
    assert "belongs to" in problems(changed(at + 25, struct.pack("<I", theirs), at), recover=True)
    assert "not one to give out" in problems(changed(at + 25, struct.pack("<I", WHOLE.total_clusters), at))
    assert "is thick and has clusters that are not allocated" in problems(changed(at + 25, bytes(4), at))


def test_masks_are_compared_with_what_is_owned():
    for start, what in ((WHOLE.super.page_mask_start, "page"), (WHOLE.super.cluster_mask_start, "cluster")):
        at = start * PAGE + 5
        assert f"{what} mask: leaked" in problems(changed(at + 11, bytes([IMAGE[at + 11] | 0x80])))
        assert f"{what} mask: in use and free" in problems(changed(at, bytes([IMAGE[at] & ~1])))
        assert f"{what} mask is of type 7" in problems(changed(at - 5, b"\7"))
        assert "bits, not" in problems(changed(at - 4, b"\1"))
    at = WHOLE.super.blobid_mask_start * PAGE + 5
    assert "page 2 of the chain is of blob" in problems(changed(at, b"\xff"))


def test_relations_between_blobs_are_checked():
    at = root("snap")
    image = IMAGE[at:at + PAGE]
    flags = image.index(struct.pack("<BI", 3, 24)) + 5
    assert "can be written" in problems(changed(at + flags + 8, bytes(8), at))
    at = root("clone")
    flags = IMAGE[at:at + PAGE].index(struct.pack("<BI", 3, 24)) + 5
    assert "that nobody may open" in problems(changed(at + flags, b"\x87", at))
    link = IMAGE[at:at + PAGE].index(b"SNAP") + 4
    assert "is not there" in problems(changed(at + link, struct.pack("<Q", 1 << 32 | 90), at))


def test_a_snapshot_under_way_is_finished_or_forgotten():
    """`snap` with the mark of one being deleted for `clone`: whose parent it is decides."""
    def marked(parent):
        image = bytearray(IMAGE)
        at = root("snap")
        page = image[at:at + PAGE]
        end = page.index(struct.pack("<BI", 5, 16))        # the extent table comes last
        mark = struct.pack("<BIHH6sQ", 4, 18, 6, 8, b"SNAPRM", WHOLE.volumes["clone"].id)
        flags = page.index(struct.pack("<BI", 3, 24)) + 5
        page[flags] |= 2
        page[end:end + len(mark) + 21] = mark + page[end:end + 21]
        image[at:at + PAGE] = page
        sealed(image, at)
        at = root("clone")
        link = bytes(image[at:at + PAGE]).index(b"SNAP") + 4
        struct.pack_into("<Q", image, at + link, parent)
        sealed(image, at)
        return image

    kept = Store(marked(WHOLE.volumes["snap"].id), recover=True)
    assert kept.problems == [] and kept.volumes["snap"].md5() == MD5S["snap"]
    gone = Store(marked(WHOLE.volumes["thick"].id), recover=True)
    assert gone.forgotten == [WHOLE.volumes["snap"].id] and "snap" not in gone.volumes
    assert "in a store that was unloaded" in problems(marked(WHOLE.volumes["snap"].id))
