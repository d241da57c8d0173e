# SPDX-License-Identifier: BSD-3-Clause
"""Stores and volumes of a hosted karst, over NVMe/TCP; every image that it leaves is judged by the reader."""
import shutil
import threading

import pytest

import golden
import nvme_tcp
from blobstore import Store, open_image
from conftest import artefact
from hosted import CtlError, Karst
from vm import wait_for

NQN = "nqn.2026-01.io.karst.test:volumes"
MIB = 1 << 20
CAPACITY_EXCEEDED = 0x81
ASYNC_EVENTS, SPARE, SMART_LOG = 0x0B, 1, 2
SCRIPT = f"""
disk create file d0 path={{folder}}/d0.img size=128M
subsystem create {NQN} allow-any
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "karst", "firmware")


def judged(path):
    """The store in a file, by the reader: nothing is wrong with it."""
    store = Store(open_image(path))
    assert store.problems == [], "\n".join(store.problems)
    return store


class Served:
    """A karst with the store `a` on a file, whose volumes are served as they are asked for."""

    def __init__(self, binary, folder, script=SCRIPT, create=True):
        self.folder, self.image = folder, folder / "d0.img"
        self.karst = Karst(binary, folder, script)
        self.ctl = self.karst.ctl
        self.nsid = {}
        if create:
            self.ctl("store create a disk=d0 cluster=1M")
        self.host = nvme_tcp.Host("127.0.0.1", self.karst.port, NQN, queues=2, depth=32)

    def serve(self, volume):
        if volume not in self.nsid:
            self.nsid[volume] = len(self.nsid) + 1
            self.ctl(f"namespace add {NQN} disk=a/{volume} nsid={self.nsid[volume]}")
        return self.nsid[volume]

    def free(self):
        return self.ctl("store show a")[0]["clusters_free"]

    def write(self, volume, offset, data):
        nsid = self.serve(volume)
        for at in range(0, len(data), 128 * 1024):
            self.host.write(nsid, (offset + at) // 512, data[at:at + 128 * 1024])

    def read(self, volume, offset, length):
        nsid, parts = self.serve(volume), []
        for at in range(0, length, 128 * 1024):
            parts.append(self.host.read(nsid, (offset + at) // 512, min(128 * 1024, length - at) // 512))
        return b"".join(parts)

    def md5(self, volume):
        import hashlib
        rows = {row["name"]: row for row in self.ctl("volume list a")}
        return hashlib.md5(self.read(volume, 0, rows[f"a/{volume}"]["size"])).hexdigest()

    def unserve(self, volume):
        self.ctl(f"namespace remove {NQN} {self.nsid.pop(volume)}")

    def unload(self):
        for volume in list(self.nsid):
            self.unserve(volume)
        self.ctl("store unload a")
        return judged(self.image)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.host.close()
        self.karst.__exit__(kind)


@pytest.fixture
def served(binary, tmp_path):
    with Served(binary, tmp_path) as it:
        yield it


def test_volumes_are_disks_and_the_reader_finds_what_was_written(served):
    thick, thin = nvme_tcp.pattern(3 * MIB, 1), nvme_tcp.pattern(2 * MIB, 2)
    served.ctl("volume create a/thick size=8M")
    served.ctl("volume create a/thin size=32M thin")
    served.write("thick", MIB // 2, thick)
    served.write("thin", 20 * MIB + 512, thin)
    served.host.flush(served.serve("thin"))
    assert served.read("thick", MIB // 2, len(thick)) == thick
    dirty = judged(served.image)
    assert not dirty.clean and dirty.volumes["thin"].read(20 * MIB + 512, len(thin)) == thin
    rows = {row["name"]: row for row in served.ctl("volume list")}
    assert rows["a/thin"]["own"] == 3 * MIB and rows["a/thick"]["own"] == 8 * MIB
    store = served.unload()
    assert store.clean and store.name == "a"
    assert store.volumes["thick"].read() == bytes(MIB // 2) + thick + bytes(8 * MIB - MIB // 2 - len(thick))
    assert store.volumes["thin"].read() == bytes(20 * MIB + 512) + thin + bytes(10 * MIB - 512)


def test_snapshot_clone_inflate_decouple_resize_rename_delete(served):
    first, second = nvme_tcp.pattern(2 * MIB, 3), nvme_tcp.pattern(MIB // 4, 4)
    free = served.free()
    served.ctl("volume create a/v size=4M thin")
    served.write("v", 0, first)
    served.ctl("volume snapshot a/v s1")
    served.write("v", MIB // 4, second)
    served.ctl("volume snapshot a/v a/s2")
    served.ctl("volume clone a/s1 c")
    now = first[:MIB // 4] + second + first[MIB // 2:] + bytes(2 * MIB)
    old = first + bytes(2 * MIB)
    assert served.read("v", 0, 4 * MIB) == served.read("s2", 0, 4 * MIB) == now
    assert served.read("s1", 0, 4 * MIB) == served.read("c", 0, 4 * MIB) == old
    with pytest.raises(CtlError) as busy:
        served.ctl("volume delete a/s1 force")
    assert busy.value.code == "EBUSY"
    dirty = judged(served.image)
    assert dirty.volumes["v"].read() == now and dirty.volumes["c"].read() == old
    served.unserve("c")
    served.ctl("volume inflate a/c")
    served.ctl("volume decouple a/v")
    served.ctl("volume rename a/c d")
    served.ctl("volume resize a/v size=6M")
    assert served.read("d", 0, 4 * MIB) == old and served.read("v", 0, 6 * MIB) == now + bytes(2 * MIB)
    for volume in ("s1", "s2"):
        served.unserve(volume)
    served.ctl("volume delete a/s2 force")
    served.ctl("volume delete a/s1 force")
    assert served.read("v", 0, 6 * MIB) == now + bytes(2 * MIB)
    served.unserve("v")
    served.ctl("volume resize a/v size=1M force")
    store = served.unload()
    assert set(store.volumes) == {"v", "d"} and store.volumes["d"].parent is None
    assert store.volumes["v"].read() == now[:MIB] and store.volumes["d"].read() == old
    assert store.free_clusters == free - 5


def test_a_volume_on_another_disk_reads_it_and_writes_its_own(served):
    served.ctl("disk create ram base size=4M")
    below = nvme_tcp.pattern(4 * MIB, 5)
    served.ctl(f"namespace add {NQN} disk=base nsid=30")
    served.host.write(30, 0, below[:MIB])
    served.ctl(f"namespace remove {NQN} 30")
    served.ctl("volume create a/over base=base")
    assert served.read("over", 0, 2 * MIB) == below[:MIB] + bytes(MIB)
    served.write("over", MIB // 2, below[:512])
    assert served.read("over", 0, MIB) == below[:MIB // 2] + below[:512] + below[MIB // 2 + 512:MIB]
    served.unserve("over")
    served.ctl("store unload a")
    store = Store(open_image(served.image), external={"base": below[:MIB] + bytes(3 * MIB)})
    assert store.problems == []


def test_trimmed_clusters_are_free_again(served):
    served.ctl("volume create a/t size=16M thin")
    free = served.free()
    served.write("t", 0, nvme_tcp.pattern(4 * MIB, 6))
    assert served.free() == free - 4
    served.host.deallocate(served.serve("t"), [(0, 2 * MIB // 512), (3 * MIB // 512, 8)])
    assert served.free() == free - 2
    assert served.read("t", 0, 2 * MIB) == bytes(2 * MIB)
    assert served.unload().free_clusters == free - 2


def test_a_full_store_says_so_in_the_protocols_words_and_deleting_makes_room(served):
    served.ctl("store set a warn=50 critical=90")
    served.ctl("volume create a/big size=1G thin")
    served.serve("big")
    served.host.set_feature(ASYNC_EVENTS, SPARE)
    told = served.host.async_event()
    assert served.host.get_log(SMART_LOG, 512)[0] == 0
    served.ctl("volume create a/other size=8M")
    free = served.free()
    data = nvme_tcp.pattern(128 * 1024, 7)
    nsid = served.serve("big")
    for cluster in range(free):
        served.host.write(nsid, cluster * (MIB // 512), data)
    with pytest.raises(nvme_tcp.Status) as full:
        served.host.write(nsid, free * (MIB // 512), data)
    assert full.value.rsp.status & 0x7FF == CAPACITY_EXCEEDED
    served.host.write(nsid, 256, data)                          # what is there already can be written
    assert served.ctl("store show a")[0]["level"] == "full"
    assert served.host.admin.wait(told)[0].dw0 == 0x020201
    assert served.host.get_log(SMART_LOG, 512)[0] == SPARE
    texts = [row["text"] for row in served.ctl("log show") if "store a" in row["text"] and "%" in row["text"]]
    assert len(texts) >= 2, texts
    served.ctl("volume delete a/other force")
    assert served.free() == 8
    served.host.write(nsid, free * (MIB // 512), data)
    store = served.unload()
    assert store.volumes["big"].allocated == free + 1


def test_snapshots_under_load_are_of_one_moment(served):
    """A writer counts upwards, block after block: a snapshot has no later block without all the earlier ones."""
    served.ctl("volume create a/w size=8M thin")
    served.serve("w")
    blocks, stop, done = 2048, threading.Event(), []

    def writer():
        with nvme_tcp.Host("127.0.0.1", served.karst.port, NQN) as host:
            count = 0
            while not stop.is_set() or count < blocks:
                host.write(1, count % blocks * 8, (count + 1).to_bytes(8, "little") * 512)
                count += 1
            done.append(count)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        for nth in range(8):
            served.ctl(f"volume snapshot a/w s{nth}")
            if nth == 3:
                served.ctl("volume create a/busy size=4M")
            if nth >= 2:
                served.ctl(f"volume delete a/s{nth - 2} force")
            served.ctl(f"volume resize a/w size={9 + nth}M")
    finally:
        stop.set()
        thread.join()
    assert done
    served.host.flush(1)
    store = judged(served.image)
    for nth in range(6, 8):
        data = store.volumes[f"s{nth}"].read(0, blocks * 4096)
        values = [int.from_bytes(data[at:at + 8], "little") for at in range(0, len(data), 4096)]
        newest = max(values)
        # block b holds the newest value up to `newest` that falls on it
        for block, value in enumerate(values):
            behind = (newest - 1 - block) % blocks
            assert value == max(newest - behind, 0), (nth, block, value, newest)
        assert served.read(f"s{nth}", 0, 8 * MIB) == data[:8 * MIB]
    show = served.ctl("store show a")[0]
    assert show["longest_freeze"] > 0
    served.unload()


def test_killed_under_load_everything_acknowledged_is_there(binary, tmp_path, figure):
    data = nvme_tcp.pattern(4 * MIB, 8)
    with Served(binary, tmp_path) as it:
        it.ctl("volume create a/v size=64M thin")
        nsid = it.serve("v")
        for at in range(0, len(data), 65536):
            it.host.write(nsid, (at * 7 % (60 * MIB)) // 512, data[at:at + 65536])
        it.ctl("volume snapshot a/v s")
        it.host.write(nsid, 0, data[:512])
        it.karst.kill()
        it.karst.stop = lambda *_: None
    found = judged(tmp_path / "d0.img")
    assert not found.clean and set(found.volumes) == {"v", "s"}
    script = SCRIPT + f"store load disk=d0\nnamespace add {NQN} disk=a/v nsid=1\n"
    with Served(binary, tmp_path, script, create=False) as it:
        it.nsid["v"] = 1
        show = it.ctl("store show a")[0]
        assert show["loaded"].startswith("recovered")
        figure(f"recovery of a small store: {show['load_time'] / 1000:.0f} us")
        assert it.read("v", 0, 512) == data[:512]
        for at in range(65536, len(data), 65536):
            assert it.read("v", at * 7 % (60 * MIB), 65536) == data[at:at + 65536]
        assert it.ctl("store check a") == []
        it.unload()


def test_the_saved_configuration_brings_everything_up(binary, tmp_path):
    state = tmp_path / "state"
    with Karst(binary, tmp_path, SCRIPT, args=("--state", state)) as karst:
        karst.ctl("store create a disk=d0")
        karst.ctl("store set a warn=70 critical=85")
        karst.ctl("volume create a/v size=8M")
        karst.ctl(f"namespace add {NQN} disk=a/v")
        karst.ctl("config save")
        saved = karst.ctl_run("config", "show").stdout
        assert "store load disk=d0\n" in saved and "store set a warn=70 critical=85\n" in saved
        assert saved.index("store load") < saved.index("namespace add")
    with Karst(binary, tmp_path, None, args=("--state", state)) as karst:
        assert "failed" not in karst.ready.group()
        assert [row["disk"] for row in karst.ctl("namespace list")] == ["a/v"]
        assert karst.ctl_run("config", "show").stdout == saved
        show = karst.ctl("store show a")[0]
        assert (show["warn"], show["critical"], show["loaded"]) == (70, 85, "as it was unloaded")


def test_a_namespace_waits_for_the_volume_of_a_store_that_comes_later(binary, tmp_path):
    script = SCRIPT + f"store load disk=late\nnamespace add {NQN} disk=b/v nsid=1\n"
    with Karst(binary, tmp_path / "first", SCRIPT) as karst:
        karst.ctl("store create b disk=d0")
        karst.ctl("volume create b/v size=8M")
    with Karst(binary, tmp_path, script) as karst:
        assert karst.ctl("namespace list")[0]["state"] == "waiting"
        karst.ctl(f"disk create file late path={tmp_path}/first/d0.img")
        wait_for("the namespace", lambda: karst.ctl("namespace list")[0]["state"] == "ready", karst.process, 60)
        with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
            assert host.active_namespaces() == [1]


def test_a_store_on_a_volume_is_loaded_when_told_and_grows_with_it(served):
    served.ctl("volume create a/below size=32M")
    served.ctl("store create b disk=a/below cluster=64K")
    served.ctl("volume create b/v size=4M thin")
    with pytest.raises(CtlError):
        served.ctl("store unload a")
    served.ctl("store unload b")
    served.ctl("store load disk=a/below")
    assert [row["name"] for row in served.ctl("volume list b")] == ["b/v"]
    free = served.ctl("store show b")[0]["clusters_free"]
    served.ctl("volume resize a/below size=40M")
    assert served.ctl("store grow b")[0]["added"] == 8 * MIB
    assert served.ctl("store show b")[0]["clusters_free"] == free + 128
    served.ctl("store unload b")
    inner = Store(served.unload().volumes["below"].read())
    assert inner.problems == [] and inner.size == 40 * MIB and set(inner.volumes) == {"v"}


def test_ended_karst_leaves_clean_stores_also_one_inside_another(binary, tmp_path):
    with Served(binary, tmp_path) as it:
        it.ctl("volume create a/below size=32M")
        it.ctl("store create b disk=a/below cluster=64K")
        it.ctl("volume create b/v size=4M")
    store = judged(tmp_path / "d0.img")
    assert store.clean
    inner = Store(store.volumes["below"].read())
    assert inner.problems == [] and inner.clean and set(inner.volumes) == {"v"}


@pytest.mark.parametrize("command,code,text", [
    ("store create a disk=d0", "EEXIST", "a"),
    ("store create b disk=d0", "EBUSY", "d0"),
    ("store create b disk=nothere", "ENOENT", "nothere"),
    ("store create b disk=r0 cluster=3M", "EINVAL", "cluster"),
    ("store create b disk=r0 cluster=1K", None, "cluster"),
    ("store create b disk=tiny cluster=1M", None, "b"),
    ("store create b/c disk=r0", "EINVAL", "b/c"),
    ("store load disk=r0", "ENOENT", "r0"),
    ("store load disk=d0", "EEXIST", "d0"),
    ("store unload b", "ENOENT", "b"),
    ("store set a", "EINVAL", "warn="),
    ("store set a warn=90 critical=80", "EINVAL", "warn=90"),
    ("store delete a", "EPERM", "force"),
    ("volume create v size=1M", "EINVAL", "STORE/NAME"),
    ("volume create b/v size=1M", "ENOENT", "b"),
    ("volume create a/v size=1M", "EEXIST", "a/v"),
    ("volume create a/big size=1T", "ENOSPC", "a"),
    ("volume create a/x", "EINVAL", "size="),
    ("volume create a/x base=nothere", "ENOENT", "nothere"),
    ("volume show a/x", "ENOENT", "a/x"),
    ("volume resize a/v size=1M", "EPERM", "force"),
    ("volume rename a/v w", "EEXIST", "w"),
    ("volume rename a/v b/w", "EXDEV", "b/w"),
    ("volume delete a/v", "EPERM", "force"),
    ("volume clone a/v c", "EINVAL", "a/v"),
    ("volume set a/v", "EINVAL", "readonly="),
    ("volume set a/v parent=a/nothere", "ENOENT", "a/nothere"),
    ("disk delete a/v force", "EOPNOTSUPP", "a/v"),
])
def test_what_is_refused_names_its_object(refusing, command, code, text):
    with pytest.raises(CtlError) as refused:
        refusing.ctl(command)
    assert text in refused.value.text, refused.value.text
    assert code in (None, refused.value.code), (refused.value.code, refused.value.text)


@pytest.fixture(scope="module")
def refusing(binary, tmp_path_factory):
    script = SCRIPT + ("disk create ram r0 size=64M\ndisk create ram tiny size=64K\nstore create a disk=d0\n"
                       "volume create a/v size=8M\nvolume create a/w size=8M\n")
    with Karst(binary, tmp_path_factory.mktemp("refusing"), script) as karst:
        assert "failed" not in karst.ready.group()
        yield karst


def test_the_drive_that_spdk_wrote_reads_back_and_stays_what_it_is(binary, tmp_path):
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    image = tmp_path / "golden.img"
    image.write_bytes(golden.image())
    md5s = golden.md5s()
    script = SCRIPT.replace("d0.img size=128M", "golden.img block=4096") + "store load disk=d0\n"
    with Karst(binary, tmp_path, script) as karst:
        assert "failed" not in karst.ready.group(), karst.log()
        with nvme_tcp.Host("127.0.0.1", karst.port, NQN) as host:
            import hashlib
            for nsid, name in enumerate(md5s, 1):
                karst.ctl(f"namespace add {NQN} disk=lvs0/{name} nsid={nsid}")
                space, digest = host.namespace(nsid), hashlib.md5()
                for lba in range(0, space.blocks, 32):
                    digest.update(host.read(nsid, lba, 32, 4096))
                assert digest.hexdigest() == md5s[name], name
            nsids = {name: nsid for nsid, name in enumerate(md5s, 1)}
            data = nvme_tcp.pattern(2 * MIB, 9)
            for name in ("thick", "thin", "base", "clone"):
                for at in range(0, len(data), 131072):
                    host.write(nsids[name], (3 * MIB + at) // 4096, data[at:at + 131072], 4096)
            karst.ctl("volume snapshot lvs0/thick frozen")
            karst.ctl("volume resize lvs0/thin size=24M")
            host.write(nsids["thick"], 0, data[:4096], 4096)
            host.write(nsids["thin"], 23 * MIB // 4096, data[:4096], 4096)
            for nsid in nsids.values():
                karst.ctl(f"namespace remove {NQN} {nsid}")
        karst.ctl("volume rename lvs0/clone twin")
        karst.ctl("volume decouple lvs0/base")
        karst.ctl("store unload lvs0")
    before, after = Store(golden.image()), judged(image)
    assert after.clean and after.super.version == 3 and set(after.volumes) == {
        "thick", "thin", "base", "snap", "twin", "frozen"}
    assert after.volumes["snap"].md5() == md5s["snap"]

    def written(name, size=None, head=b""):
        was = before.volumes[name].read()
        was = was[:3 * MIB] + data + was[5 * MIB:]
        return head + was[len(head):] + bytes((size or len(was)) - len(was))

    assert after.volumes["frozen"].read() == written("thick")
    assert after.volumes["thick"].read() == written("thick", head=data[:4096])
    assert after.volumes["base"].read() == written("base") and after.volumes["base"].parent is None
    assert after.volumes["twin"].read() == written("clone")
    thin = written("thin", 24 * MIB)
    assert after.volumes["thin"].read() == thin[:23 * MIB] + data[:4096] + thin[23 * MIB + 4096:]
