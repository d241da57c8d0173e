# SPDX-License-Identifier: BSD-3-Clause
"""A Linux host with two paths: to two listeners of one karst, and to two karsts that serve one disk.

Paths change their ANA state and are lost under a load that is verified; the load never sees an error.
"""
import pytest

from conftest import artefact
from guest import HOST, fio_command
from hosted import Karst
from vm import free_port, wait_for

NQN = "nqn.2026-01.io.karst.test:paths"
BACK = "nqn.2026-01.io.karst.test:back"
UUID = "6b617273-0000-4000-8000-00000000abcd"
PATIENT = "--reconnect-delay=1 --ctrl-loss-tmo=600 --keep-alive-tmo=5"

ONE = f"""
disk create ram r0 size=32M
disk create ram r1 size=32M
subsystem create {NQN} serial=PATHS allow-any
ana create {NQN} 2 state=non-optimized
namespace add {NQN} disk=r0 uuid={UUID}
namespace add {NQN} disk=r1 ana-group=2
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
listener add {NQN} transport=tcp address=127.0.0.1 port={{second}}
"""

BEHIND = f"""
disk create ram r0 size=32M
subsystem create {BACK} allow-any
namespace add {BACK} disk=r0
listener add {BACK} transport=tcp address=127.0.0.1 port={{port}}
"""

FRONT = f"""
disk attach remote far transport=tcp address=127.0.0.1 port={{back}} nqn={BACK}
subsystem create {NQN} serial=PATHS allow-any cntlid-min={{low}} cntlid-max={{high}}
namespace add {NQN} disk=farn1 nsid=1 uuid={UUID}
listener add {NQN} transport=tcp address=127.0.0.1 port={{{{port}}}}
"""

# Paths of the subsystem: port, state of the controller, ANA state of namespace 1 there.
PATHS = f"""
for c in /sys/class/nvme/nvme*; do
[ "$(cat $c/subsysnqn 2>/dev/null)" = {NQN} ] || continue
a=none
for n in $c/nvme*c*n1; do [ -e $n/ana_state ] && a=$(cat $n/ana_state); done
s=$(cat $c/address); s=${{s##*trsvcid=}}
echo ${{s%%,*}} $(cat $c/state) $a
done; true
"""


@pytest.fixture(scope="module")
def binary(out):
    return artefact(out / "karst", "firmware")


@pytest.fixture
def linux(guest):
    guest.load("nvme-tcp")
    yield guest
    guest.run("nvme disconnect-all")
    # what a lost path says is no trouble
    assert not [t for t in guest.trouble() if "I/O error" not in t]


def paths(guest):
    """{port: (state, ANA state)}"""
    lines = guest.check(PATHS).split("\n")
    return {int(p): (s, a) for p, s, a in (line.split() for line in lines if line)}


def wait_path(guest, port, state, ana, timeout_s=90):
    want = (state, ana) if state else None
    wait_for(f"path {port} {want}", lambda: paths(guest).get(port) == want, guest.vm.process,
             timeout_s)


def connect(guest, *ports):
    for port in ports:
        guest.nvme(f"connect -t tcp -a {HOST} -s {port} -n {NQN} -i 1 {PATIENT}")
    for port in ports:
        wait_path(guest, port, "live", "optimized")
    devices = wait_for("the namespace", lambda: guest.block_devices(NQN), guest.vm.process, 60)
    return devices[1]


class Load:
    """fio writes and verifies on the device until it is told to end."""

    def __init__(self, guest, device):
        self.guest = guest
        self.job = guest.start(fio_command(
            "paths", device, "--rw=randrw --bs=16k --iodepth=8 --size=16M --time_based --runtime=900 "
            "--verify=crc32c --verify_fatal=1 --verify_backlog=64"))
        self.goes_on()

    def done(self):
        """I/O that the paths have done: the kernel counts nothing for the device above them."""
        return sum(int(n) for n in self.guest.check(
            "for s in /sys/block/nvme*c*n1/stat; do set -- $(cat $s 2>/dev/null) 0 0 0 0 0; "
            "echo $(($1 + $5)); done").split())

    def goes_on(self):
        """I/O has ended well that began after now: more than was under way."""
        goal = self.done() + 64
        wait_for("the load goes on", lambda: self.done() >= goal or not self.job.running(),
                 self.guest.vm.process, 120)
        assert self.job.running(), self.job.output()

    def end(self):
        self.guest.check("kill -INT $(pidof fio)")
        assert self.job.wait().status in (0, 128), self.job.output()
        assert self.guest.fio_results("paths")["write"]["total_ios"] > 0


def session_at(karst, port):
    """The session that came in at the port."""
    return next(s for s in {row["session"] for row in karst.ctl("session list")}
                if karst.ctl(f"session show {s}")[0]["listener"].endswith(f":{port}"))


def test_two_listeners_are_one_device_with_two_paths(binary, linux, tmp_path):
    second = free_port()
    with Karst(binary, tmp_path, ONE.replace("{second}", str(second)), ("-c", "0,1")) as karst:
        device = connect(linux, karst.port, second)
        assert sorted(linux.block_devices(NQN)) == [1, 2], "one device for each namespace"
        load = Load(linux, device)
        for port, state in ((karst.port, "inaccessible"), (second, "persistent-loss"),
                            (karst.port, "change")):
            where = f"transport=tcp address=127.0.0.1 port={port}"
            karst.ctl(f"ana set {NQN} 1 state={state} {where}")
            wait_path(linux, port, "live", state)
            load.goes_on()
            karst.ctl(f"ana set {NQN} 1 state=optimized {where}")
            wait_path(linux, port, "live", "optimized")
        for port in (karst.port, second):
            session = session_at(karst, port)
            karst.ctl(f"listener remove {NQN} transport=tcp address=127.0.0.1 port={port}")
            karst.ctl(f"session close {session}")
            wait_path(linux, port, "connecting", "optimized")
            load.goes_on()
            karst.ctl(f"listener add {NQN} transport=tcp address=127.0.0.1 port={port}")
            wait_path(linux, port, "live", "optimized")
        load.goes_on()
        load.end()
        linux.nvme(f"disconnect -n {NQN}")
        wait_for("the sessions' end", lambda: not karst.ctl("session list"), karst.process)


def test_two_karsts_that_serve_one_disk_are_one_device(binary, linux, tmp_path):
    ports = [free_port(), free_port()]
    with Karst(binary, tmp_path / "back", BEHIND, ("-c", "0")) as back:
        def start(i):
            script = FRONT.format(back=back.port, low=1 + 1000 * i, high=1000 * (i + 1))
            front = Karst(binary, tmp_path / f"front{i}", script, ("-c", str(i)), port=ports[i])
            front.allowed = r"lost|reset|closed"
            return front

        fronts = [start(0), start(1)]
        try:
            device = connect(linux, *ports)
            ids = [front.ctl(f"session show {front.ctl('session list')[0]['session']}")[0]["cntlid"]
                   for front in fronts]
            assert ids[0] <= 1000 < ids[1] <= 2000
            load = Load(linux, device)
            for i in (0, 1):
                fronts[i].kill()
                wait_path(linux, ports[i], "connecting", "optimized")
                load.goes_on()
                fronts[i] = start(i)
                wait_path(linux, ports[i], "live", "optimized")
                load.goes_on()
            load.end()
            linux.nvme(f"disconnect -n {NQN}")
            for front in fronts:
                front.stop()
        finally:
            for front in fronts:
                front.kill()
