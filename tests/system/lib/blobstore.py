#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Blobstore version 3, read by code of its own: nothing here knows how Karst does it.

    store = Store(open_image("disk.img"))       NotAStore, when the superblock says so
    store.problems                              what is wrong with it, in words; [] when nothing is
    store.volumes["thin"].md5()                 through all snapshots below it

A clean store is read by its masks, any other by the recovery rules: every metadata page is looked at, a root that
is whole brings its chain and its extent pages, and a snapshot that was under way is either finished or forgotten.

On drives that may tear a 4 KiB page, Karst writes a page that something names to a slot before it writes it in place;
what is found in the slot stands for a page with a bad CRC, as in docs/blob-format.md. `slot=False` reads as SPDK would.

By hand: blobstore.py FILE prints its volumes and problems; the exit status is 1 when there are problems.
"""
import hashlib
import mmap
import struct
import sys
from collections import namedtuple

from crc32c import crc32c

PAGE = 4096
NONE = 0xFFFFFFFF
NO_BLOB = 0xFFFFFFFFFFFFFFFF
PER_EXTENT_PAGE = 512
THIN, INTERNAL_XATTR, TABLE, EXTERNAL = 1, 2, 4, 8              # flags, invalid
READ_ONLY = 1                                                   # flags, data_ro
PADDING, RLE, XATTR, FLAGS, XATTR_INTERNAL, EXTENT_TABLE, EXTENT_PAGE = range(7)

Super = namedtuple("Super", (
    "signature version length clean super_blob cluster_size page_mask_start page_mask_len cluster_mask_start "
    "cluster_mask_len md_start md_len bstype blobid_mask_start blobid_mask_len size io_unit md_page"))
SUPER = struct.Struct("<8sIIIQIIIIIII16sIIQII")
assert SUPER.size == 96


class NotAStore(Exception):
    """No superblock that can be used."""


class Damage(Exception):
    """A blob that cannot be read, and why."""


_crc_good = {}


def crc_is_good(page):
    """Whether the last four bytes are the CRC of the others. Pages repeat from image to image: remembered."""
    good = _crc_good.get(page)
    if good is None:
        good = _crc_good[page] = crc32c(page[:-4]) == struct.unpack_from("<I", page, PAGE - 4)[0]
    return good


def torn_superblock(raw):
    """One whose update of `clean` was torn from that of its CRC: as it is with the other value, but never clean."""
    other = bytearray(raw)
    other[12] ^= 1
    if not crc_is_good(bytes(other)):
        raise NotAStore("superblock with a bad CRC")
    other[12] = 0
    return bytes(other)


def open_image(path):
    """The bytes of a file, without reading them all."""
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class Page:
    """A metadata page whose CRC is good."""

    def __init__(self, raw):
        self.id, self.sequence = struct.unpack_from("<QI", raw)
        self.next = struct.unpack_from("<I", raw, 4088)[0]
        self.body = raw[16:4088]

    def descriptors(self):
        at = 0
        while at + 5 <= len(self.body):
            kind, length = struct.unpack_from("<BI", self.body, at)
            if kind == PADDING and length == 0:
                return
            at += 5
            if at + length > len(self.body):
                raise Damage(f"descriptor of type {kind} ends beyond its page")
            yield kind, self.body[at:at + length]
            at += length


class Blob:
    """A blob as its chain says: flags, xattrs, internal xattrs, clusters (0: not allocated)."""

    def __init__(self, store, root):
        self.store, self.id = store, 1 << 32 | root
        self.pages, self.extent_pages = [], []
        self.invalid = self.data_ro = self.md_ro = 0
        self.xattrs, self.internal, self.clusters = {}, {}, []
        self._runs, self._table, self._size = [], [], None

    def load(self):
        """Raises Damage."""
        index = self.id & NONE
        while index != NONE:
            if index in self.pages:
                raise Damage(f"chain comes back to page {index}")
            page = self.store.page(index)
            if page is None:
                raise Damage(f"page {index} of the chain: bad CRC or beyond the metadata")
            if page.id != self.id or page.sequence != len(self.pages):
                raise Damage(f"page {index} of the chain is of blob {page.id:#x}, sequence {page.sequence}")
            self.pages.append(index)
            for kind, payload in page.descriptors():
                self._take(kind, payload)
            index = page.next
        if self._runs and self._table:
            raise Damage("has extents in both forms")
        if self._size is not None:
            self._load_table()
        else:
            self.clusters = self._runs
        if 0 in self.clusters and not self.invalid & THIN:
            raise Damage("is thick and has clusters that are not allocated")
        if self.internal and not self.invalid & INTERNAL_XATTR:
            raise Damage("has internal xattrs and not their flag")
        if (self._size is not None) != bool(self.invalid & TABLE) and (self._runs or self._size is not None):
            raise Damage("flag and form of its extents do not agree")
        return self

    def _take(self, kind, payload):
        if kind == FLAGS:
            if len(payload) != 24:
                raise Damage("flags of a wrong length")
            self.invalid, self.data_ro, self.md_ro = struct.unpack("<QQQ", payload)
            if self.invalid & ~15:
                raise Damage(f"flags {self.invalid:#x} that nobody may open")
        elif kind in (XATTR, XATTR_INTERNAL):
            name_len, value_len = struct.unpack_from("<HH", payload) if len(payload) >= 4 else (0, 0)
            if not name_len or 4 + name_len + value_len != len(payload):
                raise Damage("xattr of a wrong length")
            name = payload[4:4 + name_len].decode("latin-1")
            where = self.xattrs if kind == XATTR else self.internal
            if name in where:
                raise Damage(f"xattr {name} twice")
            where[name] = payload[4 + name_len:]
        elif kind == RLE:
            if len(payload) % 8:
                raise Damage("runs of a wrong length")
            for first, count in struct.iter_unpack("<II", payload):
                if len(self._runs) + count > self.store.total_clusters:
                    raise Damage("runs longer than the store")
                self._runs += [first + n if first else 0 for n in range(count)]
        elif kind == EXTENT_TABLE:
            if len(payload) < 8 or len(payload) % 8:
                raise Damage("extent table of a wrong length")
            size = struct.unpack_from("<Q", payload)[0]
            if self._size not in (None, size):
                raise Damage("pieces of the extent table disagree about the size")
            self._size = size
            for page, count in struct.iter_unpack("<II", payload[8:]):
                if page and count != 1:
                    raise Damage(f"extent page {page} counts {count}")
                if len(self._table) + count > -(-NONE // PER_EXTENT_PAGE):
                    raise Damage("extent table longer than any volume")
                self._table += [page] * count
        else:
            raise Damage(f"descriptor of unknown type {kind}")

    def _load_table(self):
        if len(self._table) != -(-self._size // PER_EXTENT_PAGE):
            raise Damage(f"extent table of {len(self._table)} pages for {self._size} clusters")
        for nth, index in enumerate(self._table):
            start = nth * PER_EXTENT_PAGE
            length = min(PER_EXTENT_PAGE, self._size - start)
            if not index:
                self.clusters += [0] * length
                continue
            page = self.store.page(index)
            if page is None or page.sequence or page.next != NONE:
                raise Damage(f"extent page {index}: bad CRC, or no extent page")
            found = list(page.descriptors())
            if len(found) != 1 or found[0][0] != EXTENT_PAGE:
                raise Damage(f"page {index} is no extent page")
            first, *clusters = struct.unpack(f"<{len(found[0][1]) // 4}I", found[0][1])
            if first != start or len(clusters) != length:
                raise Damage(f"extent page {index} covers {len(clusters)} from {first}, not {length} from {start}")
            self.extent_pages.append(index)
            self.clusters += clusters

    # What a user of it sees

    def text(self, name):
        value = self.xattrs.get(name)
        return None if value is None else value.split(b"\0")[0].decode()

    name = property(lambda self: self.text("name"))
    size = property(lambda self: len(self.clusters) * self.store.super.cluster_size)
    allocated = property(lambda self: sum(1 for cluster in self.clusters if cluster))
    thin = property(lambda self: bool(self.invalid & THIN))
    readonly = property(lambda self: bool(self.data_ro & READ_ONLY))

    @property
    def uuid(self):
        return self.text("uuid") or f"{self.store.uuid}_{self.id:#x}"

    def link(self, name):
        """The blob id in an internal xattr, or None."""
        value = self.internal.get(name)
        return struct.unpack("<Q", value)[0] if value is not None and len(value) == 8 else None

    @property
    def parent(self):
        return self.store.blobs.get(self.link("SNAP"))

    def cluster(self, nth):
        """The bytes of a cluster, wherever in the chain they are."""
        size, blob, seen = self.store.super.cluster_size, self, set()
        while blob and nth < len(blob.clusters) and blob.id not in seen:
            seen.add(blob.id)
            at = blob.clusters[nth] * size
            if at:
                return self.store.image[at:at + size]
            if "EXTSNAP" in blob.internal:
                base = self.store.external[blob.internal["EXTSNAP"].rstrip(b"\0").decode()]
                return base[nth * size:(nth + 1) * size].ljust(size, b"\0")
            blob = blob.parent
        return bytes(size)

    def read(self, offset=0, length=None):
        size = self.store.super.cluster_size
        end = self.size if length is None else offset + length
        assert end <= self.size
        parts = [self.cluster(nth) for nth in range(offset // size, -(-end // size))]
        return b"".join(parts)[offset % size:][:end - offset]

    def md5(self):
        digest = hashlib.md5()
        for nth in range(len(self.clusters)):
            digest.update(self.cluster(nth))
        return digest.hexdigest()


class Store:
    """IMAGE: anything that can be sliced into bytes. EXTERNAL: {id: bytes} of snapshots outside of the store."""

    def __init__(self, image, external=None, recover=False, slot=True):
        self.image, self.external = image, external or {}
        self.problems, self.blobs, self.damaged, self.mended = [], {}, {}, {}
        self.super = self._superblock()
        self.page_size = self.super.md_page or PAGE
        self.size = self.super.size or len(image)
        self.total_clusters = self.size // self.super.cluster_size
        self.clean = self.super.clean == 1 and self.super.blobid_mask_len > 0 and not recover
        self._layout()
        if slot and not self.clean:
            self._slot()
        roots = self._mask(2) if self.clean else self._scan()
        for root in sorted(roots):
            self._load(root)
        self._unfinished()
        self._owners()
        self._relations()

    def problem(self, text):
        self.problems.append(text)

    # Superblock and layout

    def _superblock(self):
        raw = bytes(self.image[:PAGE])
        if len(raw) < PAGE or raw[:8] != b"SPDKBLOB":
            raise NotAStore("no signature")
        if not crc_is_good(raw):
            raw = torn_superblock(raw)
        found = Super(*SUPER.unpack_from(raw))
        if not 1 <= found.version <= 3 or found.length != PAGE:
            raise NotAStore(f"version {found.version}, length {found.length}")
        if found.cluster_size < PAGE or found.cluster_size % PAGE:
            raise NotAStore(f"cluster size {found.cluster_size}")
        if found.size > len(self.image):
            raise NotAStore(f"larger ({found.size}) than its disk ({len(self.image)})")
        if any(raw[96:PAGE - 4]):
            self.problem("reserved bytes of the superblock are not zero")
        return found

    def _layout(self):
        """Nothing of it overlaps; all of it lies below the clusters that are given out."""
        found = self.super
        places = [("superblock", 0, 1), ("page mask", found.page_mask_start, found.page_mask_len),
                  ("cluster mask", found.cluster_mask_start, found.cluster_mask_len),
                  ("blobid mask", found.blobid_mask_start, found.blobid_mask_len),
                  ("metadata", found.md_start, found.md_len)]
        places = sorted((start, length, name) for name, start, length in places if length)
        for (start, length, name), (then, _, other) in zip(places, places[1:]):
            if start + length > then:
                self.problem(f"{name} and {other} overlap")
        end = (found.md_start + found.md_len) * self.page_size
        self.md_clusters = -(-end // found.cluster_size)
        if end > self.size:
            raise NotAStore("metadata is longer than the store")
        for bits, length, name in ((found.md_len, found.page_mask_len, "page mask"),
                                   (self.total_clusters, found.cluster_mask_len, "cluster mask"),
                                   (found.md_len, found.blobid_mask_len, "blobid mask")):
            if length * self.page_size < 5 + -(-bits // 8) and (length or name != "blobid mask"):
                self.problem(f"{name} has no room for {bits} bits")

    def page(self, index):
        """A metadata page, or None."""
        if index >= self.super.md_len:
            return None
        raw = self._raw(index)
        return Page(raw) if crc_is_good(raw) else None

    def _raw(self, index):
        at = (self.super.md_start + index) * self.page_size
        return self.mended.get(index) or bytes(self.image[at:at + PAGE])

    def _slot(self):
        """The end of the page mask's last page says where the slot is: a page that says what the next one holds."""
        end = (self.super.page_mask_start + self.super.page_mask_len) * self.page_size
        marker = bytes(self.image[end - 24:end])
        magic, _, slot, _, crc = struct.unpack("<8sIIII", marker)
        if magic != b"KARSTCOV" or crc != crc32c(marker[:20]) or not 0 < slot < self.super.md_len - 1:
            return
        head = self._raw(slot)
        magic, kind, page, crc = struct.unpack_from("<8sIII", head)
        image = bytes(byte ^ 0xFF for byte in self._raw(slot + 1))
        if magic == b"KARSTSLT" and crc_is_good(head) and kind == 0 and crc == crc32c(image) and not self.page(page):
            self.mended[page] = image

    def _mask(self, kind):
        """The bits that are set, from a mask on disk."""
        found = self.super
        start, length, bits = ((found.page_mask_start, found.page_mask_len, found.md_len),
                               (found.cluster_mask_start, found.cluster_mask_len, self.total_clusters),
                               (found.blobid_mask_start, found.blobid_mask_len, found.md_len))[kind]
        at = start * self.page_size
        raw = bytes(self.image[at:at + length * self.page_size])
        has, count = struct.unpack_from("<BI", raw)
        name = ("page", "cluster", "blobid")[kind]
        if has != kind:
            self.problem(f"{name} mask is of type {has}")
        if count != bits:
            self.problem(f"{name} mask has {count} bits, not {bits}")
        end = 5 + -(-min(bits, count) // 8)
        return {8 * nth + bit for nth, byte in enumerate(raw[5:end]) if byte
                for bit in range(8) if byte >> bit & 1 and 8 * nth + bit < bits}

    # Blobs

    def _scan(self):
        """Every page that is the root of a blob, told from the page alone."""
        roots = []
        for index in range(self.super.md_len):
            root, sequence = struct.unpack_from("<QI", self._raw(index))
            if sequence == 0 and root == 1 << 32 | index and self.page(index):
                roots.append(index)
        return roots

    def _load(self, root):
        blob = Blob(self, root)
        try:
            self.blobs[blob.id] = blob.load()
        except (Damage, struct.error) as error:
            self.damaged[blob.id] = str(error)
            self.problem(f"blob {blob.id:#x}: {error}")

    def _unfinished(self):
        """Snapshots that were being made or deleted: kept when they are their clone's parent, else gone."""
        self.forgotten = []
        for blob in list(self.blobs.values()):
            marks = [mark for mark in ("SNAPTMP", "SNAPRM") if mark in blob.internal]
            if not marks:
                continue
            if self.clean:
                self.problem(f"blob {blob.id:#x}: {marks[0]} in a store that was unloaded")
            clone = self.blobs.get(blob.link(marks[0]))
            if clone and clone.link("SNAP") == blob.id:
                for mark in marks:
                    del blob.internal[mark]
                blob.data_ro |= READ_ONLY
            else:
                self.forgotten.append(blob.id)
                del self.blobs[blob.id]

    def _owners(self):
        """Each page and cluster belongs to one blob, and the masks of a clean store say the same."""
        pages, clusters = {}, {}
        for blob in self.blobs.values():
            for owners, items, what in ((pages, blob.pages + blob.extent_pages, "page"),
                                        (clusters, filter(None, blob.clusters), "cluster")):
                for item in items:
                    if item in owners:
                        self.problem(f"{what} {item} belongs to {owners[item]:#x} and to {blob.id:#x}")
                    owners[item] = blob.id
        for cluster in clusters:
            if not self.md_clusters <= cluster < self.total_clusters:
                self.problem(f"cluster {cluster} of {clusters[cluster]:#x} is not one to give out")
        self.used_clusters = set(clusters) | set(range(self.md_clusters))
        if self.clean:
            self._compare("page", self._mask(0), set(pages))
            self._compare("cluster", self._mask(1), self.used_clusters)

    def _compare(self, name, mask, used):
        if mask - used:
            self.problem(f"{name} mask: leaked: {sorted(mask - used)[:8]}")
        if used - mask:
            self.problem(f"{name} mask: in use and free: {sorted(used - mask)[:8]}")

    def _relations(self):
        """Parents, names, the super blob."""
        for blob in self.blobs.values():
            parent = blob.link("SNAP")
            if parent is not None and parent not in self.blobs:
                self.problem(f"blob {blob.id:#x}: its parent {parent:#x} is not there")
            elif parent is not None and not self.blobs[parent].readonly:
                self.problem(f"blob {blob.id:#x}: its parent {parent:#x} can be written")
            if parent is not None and not blob.thin:
                self.problem(f"blob {blob.id:#x}: has a parent and is thick")
            seen = {blob.id}
            while (blob := blob.parent) and blob.id not in seen:
                seen.add(blob.id)
            if blob:
                self.problem(f"blob {blob.id:#x}: is its own ancestor")
        head = self.blobs.get(self.super.super_blob)
        self.name, self.uuid = (head.name, head.text("uuid")) if head else (None, None)
        self.volumes = {}
        if self.super.bstype.rstrip(b"\0") != b"LVOLSTORE":
            return
        if not head or not self.name or not self.uuid:
            self.problem("no super blob with name and uuid")
        for blob in self.blobs.values():
            if blob is head:
                continue
            if not blob.name:
                self.problem(f"blob {blob.id:#x}: has no name")
            elif blob.name in self.volumes:
                self.problem(f"blob {blob.id:#x}: there is another volume {blob.name}")
            self.volumes[blob.name] = blob

    free_clusters = property(lambda self: self.total_clusters - len(self.used_clusters))


def main(path):
    store = Store(open_image(path))
    print(f"store {store.name} {store.uuid}, {'clean' if store.clean else 'recovered'}, cluster "
          f"{store.super.cluster_size}, {store.free_clusters} of {store.total_clusters} free")
    for name, volume in sorted(store.volumes.items()):
        below = f", on {volume.parent.name}" if volume.parent else ""
        print(f"{name}: {volume.size} bytes, {volume.allocated} clusters{', thin' if volume.thin else ''}"
              f"{', read-only' if volume.readonly else ''}{below}, {volume.uuid}, md5 {volume.md5()}")
    for problem in store.problems:
        print("problem:", problem)
    return 1 if store.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
