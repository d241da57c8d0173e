# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user disks of a hosted karst, driven by a front end and guest of our own: what the guest gets, what
survives the end of karst, and that nothing a guest or monitor does wrong reaches anybody else."""
import os
import select
import signal
import socket
import struct

import pytest

import vhost_user as vu
from conftest import artefact
from hosted import CtlError, Karst
from vhost_user import Blk, Gone, Scsi
from vm import wait_for

SCRIPT = """
disk create ram r0 size=16M
disk create ram r1 size=16M block=4096
disk create ram r2 size=8M
vhost create blk b0 disk=r0 socket={folder}/b0.sock queues=4
vhost create blk b1 disk=r1 socket={folder}/b1.sock queues=1
vhost create blk ro disk=r2 socket={folder}/ro.sock queues=1 readonly
vhost create scsi s0 socket={folder}/s0.sock queues=2
vhost target add s0 5 disk=r1 lun=3
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "host/karst", "host")


@pytest.fixture(scope="module")
def karst(binary, tmp_path_factory):
    with Karst(binary, tmp_path_factory.mktemp("vhost"), SCRIPT, ("-c", "0,1")) as karst:
        yield karst


def blk(karst, name="b0"):
    return Blk(karst.folder / f"{name}.sock")


def healthy(karst):
    """Another guest is served as if nothing had happened."""
    with blk(karst, "b1") as guest:
        guest.start()
        data = os.urandom(4096)
        guest.write(8, data)
        assert guest.read(8, 4096) == data


def test_a_device_offers_more_queues_than_there_are_reactors(karst):
    """A monitor that wants one for each of many processors does not start with fewer."""
    karst.ctl(f"vhost create blk wide disk=r2 readonly socket={karst.folder}/wide.sock")
    with blk(karst, "wide") as guest:
        guest.start(queues=64, size=4)
        assert struct.unpack("<Q", guest.ask(vu.GET_QUEUE_NUM))[0] == 64
        assert all(guest.read(0, 512, queue) == bytes(512) for queue in (0, 31, 63))
        assert len(karst.ctl("vhost queues wide")) == 64
    karst.ctl("vhost delete wide force")


# virtio-blk

@pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event-idx"])
@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_blk_data_is_read_back_through_each_queue(karst, packed, event_idx):
    with blk(karst) as guest:
        guest.start(queues=4, size=16, packed=packed, event_idx=event_idx)
        for turn in range(3):                           # more requests than a ring has places
            for queue in range(4):
                for indirect in (False, True):
                    data = os.urandom(12288)
                    guest.write(64 * queue + turn, data, queue, indirect)
                    assert guest.read(64 * queue + turn, 12288, (queue + 1) % 4, indirect) == data
        rows = karst.ctl("vhost queues b0")
        assert [row["queue"] for row in rows] == [0, 1, 2, 3]
        assert {row["reactor"] for row in rows} == {0, 1}, "each queue on a reactor of its own"
        assert {row["ring"] for row in rows} == {"packed" if packed else "split"}


def test_blk_header_and_data_in_any_layout(karst):
    with blk(karst) as guest:
        guest.start()
        data = os.urandom(1536)
        header = struct.pack("<IIQ", vu.BLK_OUT, 0, 9)
        got, _ = guest.request(0, [header[:3], header[3:] + data[:700], data[700:701], data[701:]], [1])
        assert got == [b"\0"]
        got, written = guest.request(0, [struct.pack("<IIQ", vu.BLK_IN, 0, 9)], [5, 1500, 32])
        assert b"".join(got) == data + b"\0" and written == 1537


def test_blk_says_what_it_is(karst):
    with blk(karst) as guest:
        guest.start()
        config = guest.config()
        assert struct.unpack("<Q", config[:8])[0] == 16 << 11
        assert struct.unpack("<I", config[20:24])[0] == 512
        assert struct.unpack("<H", config[34:36])[0] == 4
        status, ident, _ = guest.command(vu.BLK_GET_ID, 0, (), [20])
        assert status == vu.BLK_OK and ident.rstrip(b"\0")
        assert guest.command(vu.BLK_FLUSH)[0] == vu.BLK_OK
    with blk(karst, "b1") as guest:
        guest.start()
        assert struct.unpack("<I", guest.config()[20:24])[0] == 4096


def ranges(*parts):
    return b"".join(struct.pack("<QII", *part) for part in parts)


def test_blk_discard_and_write_zeroes(karst):
    with blk(karst) as guest:
        guest.start()
        guest.write(0, b"x" * 16384)
        assert guest.command(vu.BLK_DISCARD, 0, [ranges((0, 4, 0), (8, 4, 0))])[0] == vu.BLK_OK
        assert guest.command(vu.BLK_WRITE_ZEROES, 0, [ranges((16, 2, 1), (20, 2, 0))])[0] == vu.BLK_OK
        got = guest.read(0, 16384)
        for first, count in ((16, 2), (20, 2)):
            assert not any(got[512 * first:512 * (first + count)])
        assert got[512 * 4:512 * 8] == b"x" * 2048
        refused = {
            "unmap flag of a discard": (vu.BLK_DISCARD, ranges((0, 1, 1)), vu.BLK_UNSUPP),
            "unknown flag": (vu.BLK_WRITE_ZEROES, ranges((0, 1, 2)), vu.BLK_UNSUPP),
            "past the end": (vu.BLK_DISCARD, ranges((32767, 2, 0)), vu.BLK_IOERR),
            "a sum that wraps": (vu.BLK_DISCARD, ranges((2 ** 64 - 1, 2, 0)), vu.BLK_IOERR),
            "half a range": (vu.BLK_DISCARD, ranges((0, 1, 0))[:15], vu.BLK_IOERR),
            "too many": (vu.BLK_DISCARD, ranges((0, 1, 0)) * 17, vu.BLK_IOERR),
        }
        for what, (kind, data, status) in refused.items():
            assert guest.command(kind, 0, [data])[0] == status, what


def test_blk_refuses_what_is_not_on_the_disk(karst):
    with blk(karst) as guest:
        guest.start()
        end = 16 << 11
        for sector in (end, end - 1, 2 ** 55, 2 ** 64 - 1):
            assert guest.command(vu.BLK_IN, sector, (), [1024])[0] == vu.BLK_IOERR
            assert guest.command(vu.BLK_OUT, sector, [bytes(1024)])[0] == vu.BLK_IOERR
        assert guest.command(vu.BLK_IN, 0, (), [100])[0] == vu.BLK_IOERR
        assert guest.command(vu.BLK_IN, 0)[0] == vu.BLK_IOERR
        assert guest.command(99)[0] == vu.BLK_UNSUPP
        guest.write(0, bytes(512))
    with blk(karst, "ro") as guest:
        guest.start()
        assert guest.features & 1 << 5
        assert guest.command(vu.BLK_OUT, 0, [bytes(512)])[0] == vu.BLK_IOERR
        assert guest.read(0, 512) == bytes(512)


# what a guest does wrong

def bad_chain(guest, pieces, queue=0):
    guest.rings[queue].add(pieces)
    guest.kick(queue)


def in_memory(guest, length=512, flags=0):
    return (guest.memory.alloc(max(length, 1), 16), length, flags)


def loop(guest):
    addr = guest.memory.alloc(64)
    for i in range(2):
        guest.rings[0].set_desc(i, addr, 16, vu.NEXT, 1 - i)
    guest.rings[0].offer(0)
    guest.kick(0)


def table_loop(guest):
    table, addr = guest.memory.alloc(32), guest.memory.alloc(64)
    for i in range(2):
        guest.memory.write(table + 16 * i, struct.pack("<QIHH", addr, 16, vu.NEXT, 1 - i))
    bad_chain(guest, [(table, 32, vu.INDIRECT)])


def nested_table(guest):
    table = guest.memory.alloc(32)
    guest.memory.write(table, struct.pack("<QIHH", table, 16, vu.INDIRECT, 0))
    bad_chain(guest, [(table, 16, vu.INDIRECT)])


def far_index(guest):
    guest.memory.set_u16(guest.rings[0].avail + 2, 60000)
    guest.kick(0)


def far_head(guest):
    guest.rings[0].offer(5000)
    guest.kick(0)


END = vu.GUEST + (8 << 20)
BAD_RINGS = {
    "outside of memory": lambda g: bad_chain(g, [(1 << 40, 16, 0)]),
    "across the end of memory": lambda g: bad_chain(g, [(END - 8, 16, 0)]),
    "an address that wraps": lambda g: bad_chain(g, [(2 ** 64 - 8, 16, 0)]),
    "a length of 4 GiB": lambda g: bad_chain(g, [(vu.GUEST, 2 ** 32 - 1, 0)]),
    "no bytes": lambda g: bad_chain(g, [in_memory(g, 0)]),
    "no header": lambda g: bad_chain(g, [in_memory(g, 8), in_memory(g, 1, vu.WRITE)]),
    "no status": lambda g: bad_chain(g, [in_memory(g, 16)]),
    "read after write": lambda g: bad_chain(g, [in_memory(g, 16), in_memory(g, 1, vu.WRITE), in_memory(g, 16)]),
    "a table of no whole descriptors": lambda g: bad_chain(g, [(vu.GUEST, 17, vu.INDIRECT)]),
    "a table of nothing": lambda g: bad_chain(g, [(vu.GUEST, 0, vu.INDIRECT)]),
    "a table outside of memory": lambda g: bad_chain(g, [(1 << 40, 32, vu.INDIRECT)]),
    "a table that goes on": lambda g: bad_chain(g, [(vu.GUEST, 16, vu.INDIRECT), in_memory(g, 16)]),
    "a table in a table": nested_table,
    "a chain without end": loop,
    "a table without end": table_loop,
    "an available index far ahead": far_index,
    "a descriptor outside of the table": far_head,
}


@pytest.mark.parametrize("what", BAD_RINGS)
def test_bad_ring_stops_that_queue_and_nothing_else(karst, what):
    with blk(karst) as guest:
        guest.start(queues=2)
        BAD_RINGS[what](guest)
        wait_for("a broken queue", lambda: karst.ctl("vhost queues b0")[0]["state"] == "broken", karst.process)
        row = karst.ctl("vhost queues b0")[0]
        assert row["why"] != "-"
        data = os.urandom(512)
        guest.write(3, data, queue=1)
        assert guest.read(3, 512, queue=1) == data
        # the guest resets: the queue begins anew
        guest.stop_ring(0)
        guest.rings[0] = vu.Split(guest.memory, 64, False)
        guest.start_ring(0, guest.rings[0], 64)
        assert guest.read(3, 512, queue=0) == data
    healthy(karst)


def test_memory_that_is_cut_away_ends_that_guest_only(karst):
    with blk(karst) as guest:
        guest.start()
        guest.write(0, bytes(512))
        # the file loses its pages under karst; our own mapping is not touched any more
        os.ftruncate(guest.memory.fd, 0)
        guest.kick(0)
        assert guest.gone()
    wait_for("no session", lambda: karst.ctl("vhost show b0")[0]["guest"] == "-", karst.process)
    healthy(karst)


# what a monitor does wrong

def region(fd, guest=vu.GUEST, size=8 << 20, user=vu.USER, offset=0):
    return (guest, size, user, offset, fd)


BAD_MESSAGES = {
    "unknown": lambda f, fd: f.send(99),
    "request 0": lambda f, fd: f.send(0),
    "of another version": lambda f, fd: f.send(vu.GET_FEATURES, flags=2),
    "too long": lambda f, fd: f.send(vu.SET_FEATURES, b"", size=1 << 20),
    "longer than it may be": lambda f, fd: f.send(vu.SET_FEATURES, bytes(16)),
    "shorter than it may be": lambda f, fd: f.send(vu.SET_FEATURES, bytes(4)),
    "features not offered": lambda f, fd: f.send(vu.SET_FEATURES, struct.pack("<Q", 1 << 63)),
    "descriptors that it may not have": lambda f, fd: f.send(vu.GET_FEATURES, fds=[fd]),
    "more descriptors than any": lambda f, fd: f.send(vu.SET_MEM_TABLE, struct.pack("<II", 0, 0), [fd] * 20),
    "nine regions": lambda f, fd: f.send(vu.SET_MEM_TABLE, struct.pack("<II", 9, 0)),
    "fewer descriptors than regions": lambda f, fd: f.send(
        vu.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)),
    "a queue that is not there": lambda f, fd: f.send(vu.SET_VRING_NUM, struct.pack("<II", 77, 16)),
    "a ring of no size": lambda f, fd: f.send(vu.SET_VRING_NUM, struct.pack("<II", 0, 0)),
    "a ring that is too large": lambda f, fd: f.send(vu.SET_VRING_NUM, struct.pack("<II", 0, 40000)),
    "a kick that is no eventfd": lambda f, fd: f.send(vu.SET_VRING_KICK, struct.pack("<Q", 0), [fd]),
    "a kick without its descriptor": lambda f, fd: f.send(vu.SET_VRING_KICK, struct.pack("<Q", 0)),
    "enabled, but how": lambda f, fd: f.send(vu.SET_VRING_ENABLE, struct.pack("<II", 0, 7)),
    "a feature that was not agreed on": lambda f, fd: f.send(vu.GET_CONFIG, struct.pack("<III", 0, 8, 0) + bytes(8)),
}


@pytest.mark.parametrize("what", BAD_MESSAGES)
def test_bad_message_ends_that_session_only(karst, what):
    fd = os.memfd_create("bad")
    os.ftruncate(fd, 4096)
    with blk(karst) as front:
        BAD_MESSAGES[what](front, fd)
        assert front.gone(), "closed"
    os.close(fd)
    healthy(karst)


BAD_REGIONS = {
    "past the end of its file": {"size": 16 << 20},
    "of no bytes": {"size": 0},
    "whose offset wraps": {"offset": 2 ** 64 - 4096},
    "whose guest address wraps": {"guest": 2 ** 64 - 4096},
}


@pytest.mark.parametrize("what", BAD_REGIONS)
def test_bad_region_is_refused_and_the_session_goes_on(karst, what):
    with blk(karst) as front:
        front.start()
        assert front.share([region(front.memory.fd, **BAD_REGIONS[what])]) != 0
        assert front.share([region(front.memory.fd), region(front.memory.fd, guest=vu.GUEST + 4096)]) != 0
        front.write(0, b"y" * 512)
        assert front.read(0, 512) == b"y" * 512


def test_messages_that_stall_hold_up_nobody(karst):
    stalled = [blk(karst), Scsi(karst.folder / "s0.sock")]
    stalled[0].sock.sendall(b"\x01\0")
    stalled[1].sock.sendall(struct.pack("<III", vu.SET_FEATURES, 1, 8) + b"\0")
    healthy(karst)
    for front in stalled:
        front.close()


def test_second_front_end_is_served_after_the_first(karst):
    with blk(karst) as first:
        first.start()
        first.write(5, b"1" * 512)
        with blk(karst) as second:
            first.sock.shutdown(socket.SHUT_RDWR)
            second.start()
            assert second.read(5, 512) == b"1" * 512


def test_new_call_descriptor_is_called_for_what_went_to_the_old_one(karst):
    """The monitor changes it while requests end, and cannot know to which of the two a call went."""
    with blk(karst) as guest:
        guest.start()
        fresh = os.eventfd(0, os.EFD_NONBLOCK)
        guest.send(vu.SET_VRING_CALL, struct.pack("<Q", 0), [fresh])
        assert select.select([fresh], [], [], 30)[0]
        os.close(fresh)
        guest.write(0, bytes(512))


# memory that comes and goes, restart of karst

def test_memory_is_added_and_removed_while_the_ring_runs(karst):
    with blk(karst) as guest:
        guest.start()
        more = vu.Memory(1 << 20)
        wire = struct.pack("<QQQQQ", 0, 1 << 32, 1 << 20, 1 << 45, 0)
        assert guest.acked(vu.ADD_MEM_REG, wire, [more.fd]) == 0
        header, status = guest.memory.alloc(16), guest.memory.alloc(1)
        guest.memory.write(header, struct.pack("<IIQ", vu.BLK_IN, 0, 0))
        pieces = [(header, 16, 0), (1 << 32, 4096, vu.WRITE), (status, 1, vu.WRITE)]
        guest.write(0, b"z" * 4096)
        guest.rings[0].add(pieces)
        guest.kick(0)
        guest.wait(0)
        assert more.map[:4096] == b"z" * 4096
        assert guest.acked(vu.REM_MEM_REG, wire) == 0
        guest.rings[0].add(pieces)
        guest.kick(0)
        wait_for("a broken queue", lambda: karst.ctl("vhost queues b0")[0]["state"] == "broken", karst.process)
        more.close()


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_requests_in_flight_are_done_by_the_next_karst(binary, tmp_path, packed):
    """karst dies between taking requests and answering them; the one after it does them again."""
    script = """
disk create file f0 path={folder}/f0.raw size=8M
vhost create blk b0 disk=f0 socket={folder}/b0.sock queues=1
"""
    first = Karst(binary, tmp_path, script, ("-c", "0"))
    guest = Blk(tmp_path / "b0.sock")
    guest.start(packed=packed, size=32)
    payload = struct.pack("<QQHH", 0, 0, 1, 32)
    guest.send(vu.GET_INFLIGHT_FD, payload)
    answer, fds = guest.reply(vu.GET_INFLIGHT_FD, with_fd=True)
    inflight = (answer, fds[0])
    assert guest.acked(vu.SET_INFLIGHT_FD, answer, fds) == 0
    data = [os.urandom(4096) for _ in range(10)]
    places = []
    os.kill(first.process.pid, signal.SIGSTOP)
    for i, piece in enumerate(data):
        header, body, status = guest.memory.alloc(16), guest.memory.alloc(4096), guest.memory.alloc(1)
        guest.memory.write(header, struct.pack("<IIQ", vu.BLK_OUT, 0, 8 * i))
        guest.memory.write(body, piece)
        guest.memory.write(status, b"\xff")
        places.append(status)
        guest.rings[0].add([(header, 16, 0), (body, 4096, 0), (status, 1, vu.WRITE)])
    guest.kick(0)
    os.kill(first.process.pid, signal.SIGCONT)
    first.kill()
    before = guest.rings[0].reap()
    # the guest's memory and rings live on; the monitor connects again
    second = Karst(binary, tmp_path, script, ("-c", "0"))
    again = Blk(tmp_path / "b0.sock")
    again.start(queues=0, packed=packed, memory=guest.memory, inflight=inflight)
    ring = again.rings[0] = guest.rings[0]
    base = ring.used_at | ring.used_wrap << 15 if packed else ring.next_used
    again.start_ring(0, ring, 32, base | base << 16 if packed else base)
    again.kick(0)
    done = before + (again.wait(0, len(data) - len(before)) if len(before) < len(data) else [])
    assert len(done) == len(data)
    assert all(again.memory.read(place, 1) == b"\0" for place in places)
    for i, piece in enumerate(data):
        assert again.read(8 * i, 4096) == piece
    guest.memory = None
    guest.close()
    again.close()
    second.stop()


# commands

def test_sockets_are_safe_to_take_over(binary, karst, tmp_path):
    with pytest.raises(CtlError, match="somebody serves it"):
        karst.ctl(f"vhost create blk twin disk=r2 socket={karst.folder}/b0.sock")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CtlError, match="no socket"):
        karst.ctl(f"vhost create blk twin disk=r2 socket={tmp_path}/file")
    assert (tmp_path / "file").read_text() == "precious"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale.sock"))
    karst.ctl(f"vhost create blk twin disk=r2 socket={tmp_path}/stale.sock mode=660")
    assert (tmp_path / "stale.sock").stat().st_mode & 0o777 == 0o660
    karst.ctl("vhost delete twin")
    assert not (tmp_path / "stale.sock").exists()


def test_config_makes_the_devices_again(karst):
    lines = [row["text"] for row in karst.ctl("config show")]
    assert f"vhost create blk ro disk=r2 readonly socket={karst.folder}/ro.sock queues=1" in lines
    assert "vhost target add s0 5 disk=r1 lun=3" in lines


def test_disk_of_a_guest_is_kept_until_its_device_goes(binary, tmp_path):
    script = "disk create ram r0 size=16M\nvhost create blk b0 disk=r0 socket={folder}/b0.sock\n"
    with Karst(binary, tmp_path, script) as karst, Blk(tmp_path / "b0.sock") as guest:
        guest.start()
        with pytest.raises(CtlError, match="vhost b0"):
            karst.ctl("disk delete r0 force")
        with pytest.raises(CtlError, match="a guest uses it"):
            karst.ctl("vhost delete b0")
        karst.ctl("vhost delete b0 force")
        assert guest.gone() and karst.ctl("vhost list") == []
        karst.ctl("disk delete r0 force")


def test_gone_is_an_error_that_the_test_would_see(karst):
    with blk(karst) as front, pytest.raises(Gone):
        front.send(99)
        front.ask(vu.GET_FEATURES)
