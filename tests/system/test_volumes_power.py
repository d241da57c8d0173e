# SPDX-License-Identifier: BSD-3-Clause
"""The appliance loses power under load: every change of its drives was logged, and whatever the loss could have left of
them is a store, with all that was acknowledged in it."""
import threading
from collections import deque

import pytest

import nvme_tcp
from appliance import Appliance
from blobstore import NotAStore, Store, open_image
from conftest import artefact
from hosted import Karst
from logwrites import LoggedDrive, crashes

NQN = "nqn.2026-01.io.karst.test:power"
MIB = 1 << 20
BLOCK = 4096
BLOCKS = 1024                       # of the volume that is written
ROUNDS = 400
SIZE = 32 * MIB


def block(generation, nth):
    return (generation << 32 | nth).to_bytes(8, "little") * (BLOCK // 8)


def ranges(generation):
    """What a generation writes: (block, count), the same whenever it is asked for."""
    chance = generation * 2654435761 & 0xFFFFFFFF
    found = []
    for _ in range(3):
        chance = (chance * 1103515245 + 12345) & 0x7FFFFFFF
        found.append((chance // 7 % (BLOCKS - 8), 1 + chance // 3 % 8))
    return found


class Load:
    """Writes generation after generation to one volume, flushes, and then notes the generation in another."""

    def __init__(self, port, data, note):
        self.port, self.data, self.note = port, data, note
        self.generation = 0
        self.thread = threading.Thread(target=self.run)
        self.stopping = False
        self.error = None
        self.moved = threading.Condition()

    def run(self):
        try:
            with nvme_tcp.Host("127.0.0.1", self.port, NQN) as host:
                while not self.stopping and self.generation < ROUNDS:
                    self.round(host, self.generation + 1)
        except Exception as error:                      # pylint: disable=broad-except
            self.error = error
        with self.moved:
            self.moved.notify_all()

    def round(self, host, generation):
        for nth, count in ranges(generation):
            data = b"".join(block(generation, nth + i) for i in range(count))
            host.write(self.data, nth * 8, data)
        host.flush(self.data)
        host.write(self.note, 0, block(generation, 0))          # QEMU's drive takes FUA and makes nothing of it
        host.flush(self.note)
        with self.moved:
            self.generation = generation
            self.moved.notify_all()

    def reach(self, generation):
        """Waits until the load is there, and returns where it is."""
        with self.moved:
            self.moved.wait_for(lambda: self.generation >= generation or not self.thread.is_alive(), 120)
        assert self.generation >= generation, self.error
        return self.generation


class Deeds:
    """What was told at the console, and the generations around it: (name, before, after, there)."""

    def __init__(self):
        self.told = []

    def check(self, store, generation):
        for name, asked, answered, there in self.told:
            if generation > answered:
                assert (name in store.volumes) == there, (name, there, generation)
            elif generation < asked and there:
                assert name not in store.volumes, (name, generation)


def judge(image, deeds, name):
    """The reader's verdict on a disk; the generation that is noted on it, -1: there is no store on it."""
    try:
        store = Store(image)
    except NotAStore:
        return -1
    assert store.problems == [], (name, store.problems)
    if "note" not in store.volumes or "data" not in store.volumes:
        return 0
    note = int.from_bytes(store.volumes["note"].read(0, 8), "little") >> 32
    must = {}
    for generation in range(1, note + 1):
        for nth, count in ranges(generation):
            for at in range(nth, nth + count):
                must[at] = generation
    data = store.volumes["data"].read(0, BLOCKS * BLOCK)
    for nth in range(BLOCKS):
        found = data[nth * BLOCK:(nth + 1) * BLOCK]
        if found == (block(must[nth], nth) if nth in must else bytes(BLOCK)):
            continue
        # the write under way may be torn between the drive's blocks
        for at in range(0, BLOCK, 512):
            part = found[at:at + 512]
            value = int.from_bytes(part[:8], "little")
            generation = value >> 32
            assert part == value.to_bytes(8, "little") * 64, (name, nth, "neither old nor new")
            assert must.get(nth, 0) <= generation <= note + 1, (name, nth, generation, note)
            assert value & 0xFFFFFFFF == (nth if generation else 0), (name, nth, value)
    deeds.check(store, note)
    return note


def run_load(machine, store, first_nsid):
    """Load on two volumes of STORE, with snapshots, clones, resizes and deletions beside it."""
    deeds = Deeds()
    machine.ctl(f"volume create {store}/data size=16M thin")
    machine.ctl(f"volume create {store}/note size=1M")
    for nsid, name in ((first_nsid, "data"), (first_nsid + 1, "note")):
        machine.ctl(f"namespace add {NQN} disk={store}/{name} nsid={nsid}")
    load = Load(machine.port, first_nsid, first_nsid + 1)
    load.thread.start()

    def tell(command, name, there):
        asked = load.generation
        machine.ctl(command)
        deeds.told = [deed for deed in deeds.told if deed[0] != name]
        deeds.told.append((name, asked, load.generation + 1, there))

    try:
        for nth in range(6):
            load.reach(4 * nth + 2)
            tell(f"volume snapshot {store}/data s{nth}", f"s{nth}", True)
            tell(f"volume clone {store}/s{nth} c{nth}", f"c{nth}", True)
            machine.ctl(f"volume resize {store}/c{nth} size={17 + nth}M")
            if nth >= 2:
                tell(f"volume delete {store}/c{nth - 2} force", f"c{nth - 2}", False)
                tell(f"volume delete {store}/s{nth - 2} force", f"s{nth - 2}", False)
        load.reach(load.generation + 3)
    except BaseException:
        load.stopping = True
        raise
    return load, deeds


def lose(images, folder, volatile):
    """(drive, what was told, generation, folder) of an appliance that loses power in the middle of its load."""
    drive = LoggedDrive(folder, "logged", SIZE, volatile=volatile)
    with Appliance(images, folder, drives=[], extra=drive.arguments()) as machine:
        disk = machine.ctl("disk list | match logged")[0]["name"]
        machine.ctl("namespace remove nqn.2026-01.io.karst:qemu 1")      # the built-in script serves the drive itself
        machine.ctl(f"store create a disk={disk} cluster=64K")
        machine.ctl(f"subsystem create {NQN} allow-any")
        machine.ctl(f"listener add {NQN} transport=tcp address=0.0.0.0 port=4420")
        load, deeds = run_load(machine, "a", 1)
        machine.cut_power()
        load.stopping = True
        load.thread.join()
    return drive, deeds, load.generation, folder


@pytest.fixture(scope="module")
def lost(images, tmp_path_factory):
    """Its drive had a volatile cache."""
    return lose(images, tmp_path_factory.mktemp("volatile"), True)


@pytest.fixture(scope="module")
def lost_durable(images, tmp_path_factory):
    """Each write to its drive was durable when it was done: QEMU flushes after it."""
    return lose(images, tmp_path_factory.mktemp("durable"), False)


@pytest.mark.parametrize("which,most", [("lost", 60), ("lost_durable", 30)])
def test_whatever_is_left_is_a_store_with_all_that_was_acknowledged(request, figure, which, most):
    drive, deeds, generation, _ = request.getfixturevalue(which)
    notes = [judge(image, deeds, name) for name, image in crashes(drive, most, 1)]
    figure(f"{'volatile' if drive.volatile else 'durable'} drive: {len(notes)} disks that a loss of power could have "
           f"left, {max(notes)} of {generation} generations in the last")
    assert len(notes) > most // 2 and max(notes) > 10
    assert -1 not in notes[next(nth for nth, note in enumerate(notes) if note > 0):], "the store is gone again"
    assert judge(open_image(drive.image), deeds, "the drive itself") >= generation


def test_karst_loads_what_is_left(lost, out, tmp_path):
    """A few of them, through Karst: it recovers, finds nothing wrong, and reads what the reader reads."""
    drive, deeds, _, _ = lost
    images = deque(((name, bytes(image)) for name, image in crashes(drive, 4, 2)), maxlen=5)
    for nth, (name, image) in enumerate(images):
        path = tmp_path / f"{nth}.img"
        path.write_bytes(image)
        script = f"disk create file d path={path}\nstore load disk=d\n"
        with Karst(artefact(out / "karst", "firmware"), tmp_path / str(nth), script) as karst:
            show = karst.ctl("store show a")[0]
            assert show["state"] == "ready" and show["damaged"] == 0, name
            assert karst.ctl("store check a") == [], name
            volumes = {row["name"] for row in karst.ctl("volume list a")}
            assert volumes == {f"a/{volume}" for volume in Store(image).volumes}, name
        after = Store(open_image(path))
        assert after.clean and after.problems == [], (name, after.problems)
        judge(open_image(path), deeds, name)


def test_the_appliance_comes_up_with_what_is_left(lost, images):
    drive, deeds, generation, folder = lost
    extra = ["-drive", f"if=none,id=left,file={drive.image},format=raw", "-device", "nvme,drive=left,serial=left"]
    with Appliance(images, folder / "again", drives=[], extra=extra) as machine:
        show = machine.ctl("store show a")[0]
        assert show["loaded"].startswith("recovered") and show["damaged"] == 0
        machine.ctl(f"subsystem create {NQN} allow-any")
        machine.ctl(f"listener add {NQN} transport=tcp address=0.0.0.0 port=4420")
        machine.ctl(f"namespace add {NQN} disk=a/note nsid=1")
        with nvme_tcp.Host("127.0.0.1", machine.port, NQN) as host:
            assert int.from_bytes(host.read(1, 0, 1)[:8], "little") >> 32 >= generation
        assert machine.ctl("store check a") == []
    store = Store(open_image(drive.image))
    assert store.clean and store.problems == []
    judge(open_image(drive.image), deeds, "after the orderly end")
