# SPDX-License-Identifier: BSD-3-Clause
"""A stock Linux host asks for everything there is, comes and goes a hundred times, and works on while namespaces change.

Its kernel and nvme-cli are the judges; figures and leaks are looked for on our side.
"""
import os
import re

import pytest

from conftest import artefact
from guest import HOST, fio_command
from hosted import Karst, memory_in_use, wait_memory
from vm import wait_for

NQN = "nqn.2026-01.io.karst.test:linux"
FRIEND = "nqn.2026-01.io.karst.test:friend"
UUIDS = ["6b617273-0000-4000-8000-00000000000" + c for c in "123456"]

SCRIPT = f"""
disk create ram r0 size=32M
disk create ram r1 size=16M block=4096
disk create ram r2 size=16M
disk create ram r3 size=24M
disk create file f0 path={{folder}}/f0 size=16M
subsystem create {NQN} serial=KARSTLINUX model="Karst Test" allow-any
ana create {NQN} 2 state=non-optimized
namespace add {NQN} disk=r0 uuid={UUIDS[0]}
namespace add {NQN} disk=r1 uuid={UUIDS[1]} nguid={UUIDS[1]} ana-group=2
namespace add {NQN} disk=r2 nsid=9 private
namespace grant {NQN} 9 {FRIEND}
listener add {NQN} transport=tcp address=127.0.0.1 port={{port}}
referral add transport=tcp address=192.0.2.1 port=8009
"""


@pytest.fixture(scope="module")
def karst(out, tmp_path_factory):
    with Karst(artefact(out / "karst", "firmware"), tmp_path_factory.mktemp("linux"), SCRIPT,
               ("-c", "0,1")) as process:
        yield process


@pytest.fixture
def linux(guest, karst):
    guest.load("nvme-tcp")
    yield guest
    guest.run("nvme disconnect-all")
    karst.check_log()
    # what a removed namespace says is no trouble
    assert not [t for t in guest.trouble() if "I/O error" not in t]


def controller(guest):
    """The kernel's name of the controller."""
    return guest.check("for c in /sys/class/nvme/nvme*; do "
                       f"[ \"$(cat $c/subsysnqn)\" = {NQN} ] && echo ${{c##*/}}; done; true").strip()


# What nvme-cli is asked, and what has to be in its answer. Of those after "-" the command has to fail.
WALK = [
    ("id-ctrl", r"cntrltype : 1", r"anacap\s*: (0x5f|95)", r"anatt\s*: 10", r"nanagrpid : 32",
     r"cmic\s*: 0xb", rf"subnqn\s*: {NQN}", r"mn\s*: Karst Test"),
    ("id-ns -n 1", r"nsze\s*: 0x10000", r"anagrpid: 1", r"nmic\s*: 0x1"),
    ("id-ns -n 2", r"nsze\s*: 0x1000\b", r"anagrpid: 2", r"lbads:12"),
    ("ns-descs -n 2", rf"uuid\s*: {UUIDS[1]}", r"csi\s*: 0"),
    ("list-ns", r"0x1\b", r"0x2\b"),
    ("cmdset-ind-id-ns -n 1", r"anagrpid: 1|anagrpid\s*: 1", r"nstat\s*: 0x1"),
    ("nvm-id-ctrl", r"vsl|VSL"),
    ("nvm-id-ns -n 1", r"lbstm|LBSTM|logical"),
    ("id-iocs", r"iocsc|I/O Command Set|NVM"),
    ("supported-log-pages", r"0xc|0x0c", r"0x80|0x4"),
    ("error-log -e 4", r"Error Log Entries"),
    ("smart-log", r"available_spare\s*: \d+"),
    ("fw-log", r"afi|Firmware Log"),
    ("changed-ns-list-log", r"."),
    ("effects-log -c 0", r"ACS|Admin"),
    ("resv-notif-log", r"[Rr]eservation|[Ll]og"),
    ("get-feature -f 0x82 -n 1", r"0x"), ("get-feature -f 0x83 -n 1", r"0x"),
    ("ana-log", r"ngrps\s*:\s*2", r"non-optimized"),
    ("get-feature -f 1", r"0x"), ("get-feature -f 2", r"0x"),
    ("get-feature -f 4", r"0x0*ffff"), ("get-feature -f 5", r"0x"),
    ("get-feature -f 6", r"0x0*1"), ("get-feature -f 7", r"0x"),
    ("get-feature -f 0xb", r"0x"), ("get-feature -f 0xf -s 3", r"."),
    ("get-feature -f 0x16 -l 512", r"."), ("get-feature -f 0x81 -l 16 --cdw11=1", r"."),
    ("get-feature -f 1 -s 1", r"Default value:0+\b"), ("get-feature -f 1 -s 3", r"."),
    ("set-feature -f 4 -v 0x140", r"."), ("get-feature -f 4", r"0x0*140\b"),
    ("set-feature -f 6 -v 0", r"."), ("get-feature -f 6", r"value:0+\b"), ("set-feature -f 6 -v 1", r"."),
    ("fid-support-effects-log", r"FID|Feature|feature"),
    ("get-property -o 8", r"20000\b"),
    ("get-property -o 0x1c", r"value: *0*1\b"),
]
REFUSED = ["id-ns -n 9", "ns-descs -n 9", "get-feature -f 0x0e", "get-log -i 0xc0 -l 512", "list-ns -a"]


def test_nvme_cli_walks_over_every_admin_command(karst, linux):
    linux.nvme_connect(karst.port, NQN)
    device = "/dev/" + controller(linux)
    script = "".join(f"echo '=== {c[0]}'; nvme {c[0].split()[0]} {device} "
                     f"{' '.join(c[0].split()[1:])} 2>&1; echo \"status $?\"\n"
                     for c in [*WALK, *((r,) for r in REFUSED)])
    answers = linux.check(script).split("=== ")[1:]
    assert len(answers) == len(WALK) + len(REFUSED)
    wrong = []
    for (command, *wanted), answer in zip(WALK, answers):
        missing = [w for w in wanted if not re.search(w, answer)]
        if missing or not answer.rstrip().endswith("status 0"):
            wrong.append(f"{command}: misses {missing}:\n{answer[-1500:]}")
    for command, answer in zip(REFUSED, answers[len(WALK):]):
        # a namespace that is hidden is inactive: Identify answers with zeroes, nvme-cli says so
        if answer.rstrip().endswith("status 0") and not re.search(r"nsze\s*: 0\b", answer):
            wrong.append(f"{command}: was not refused:\n{answer[-1500:]}")
    assert not wrong, "\n".join(wrong)


def test_discovery_and_private_namespaces_by_host_name(karst, linux):
    text = linux.nvme(f"discover -t tcp -a {HOST} -s {karst.port}")
    assert NQN in text and "192.0.2.1" in text and "referral" in text, text
    assert sorted(linux.nvme_connect(karst.port, NQN, f"--hostnqn={FRIEND}")) == [1, 2, 9]
    karst.ctl(f"namespace revoke {NQN} 9 {FRIEND}")
    wait_for("the namespace gone", lambda: sorted(linux.block_devices(NQN)) == [1, 2],
             linux.vm.process, 60)
    karst.ctl(f"namespace grant {NQN} 9 {FRIEND}")
    wait_for("the namespace back", lambda: sorted(linux.block_devices(NQN)) == [1, 2, 9],
             linux.vm.process, 60)


def sectors(guest, device):
    return int(guest.check(f"cat /sys/block/{device[5:]}/size"))


def test_namespaces_change_under_load(karst, linux):
    devices = linux.nvme_connect(karst.port, NQN)
    load = linux.start(fio_command("load", devices[1], "--rw=randrw --bs=16k --iodepth=8 --size=16M "
                                   "--time_based --runtime=600 --verify=crc32c --verify_fatal=1 "
                                   "--verify_backlog=64"))

    def there(*nsids):
        wait_for(f"namespaces {nsids}", lambda: sorted(linux.block_devices(NQN)) == list(nsids),
                 linux.vm.process, 60)
        assert load.running(), load.output()

    karst.ctl(f"namespace add {NQN} disk=r3 nsid=3 uuid={UUIDS[2]}")
    there(1, 2, 3)
    karst.ctl(f"namespace add {NQN} disk=f0 nsid=4 uuid={UUIDS[3]}")
    there(1, 2, 3, 4)
    grown = linux.block_devices(NQN)[4]
    assert sectors(linux, grown) == 32768
    os.truncate(karst.folder / "f0", 24 << 20)
    karst.ctl("disk show f0")
    wait_for("the new size", lambda: sectors(linux, grown) == 49152, linux.vm.process, 60)
    # writes to one that goes end with an error, not in a wait
    doomed = linux.start(fio_command("doomed", linux.block_devices(NQN)[3], "--rw=randwrite --bs=16k "
                                     "--iodepth=8 --size=16M --time_based --runtime=600"))
    wait_for("writes to the namespace", lambda: doomed.running() and int(linux.check(
        "set -- $(cat /sys/block/nvme*c*n3/stat); echo $5")) > 16, linux.vm.process, 60)
    karst.ctl(f"namespace remove {NQN} 3")
    there(1, 2, 4)
    assert doomed.wait(60).status not in (0, 128), doomed.output()
    karst.ctl(f"namespace add {NQN} disk=r2 nsid=3 uuid={UUIDS[4]}")
    there(1, 2, 3, 4)
    assert sectors(linux, linux.block_devices(NQN)[3]) == 32768
    uuid = linux.check(f"cat /sys/block/{linux.block_devices(NQN)[3][5:]}/uuid").strip()
    assert uuid == UUIDS[4], "replaced by another"
    linux.check("kill -INT $(pidof fio)")
    assert load.wait().status in (0, 128), load.output()
    assert linux.fio_results("load")["write"]["total_ios"] > 0
    for nsid in (3, 4):
        karst.ctl(f"namespace remove {NQN} {nsid}")


def rounds(guest, port, count):
    """Connects and disconnects by the kernel's own interface: nvme-cli does the same, more slowly."""
    guest.check(f"""
for i in $(seq {count}); do
echo "transport=tcp,traddr={HOST},trsvcid={port},nqn={NQN},nr_io_queues=2,hostnqn={FRIEND},\
hostid=6b617273-0000-4000-8000-0000000000ff" > /dev/nvme-fabrics || exit 1
for c in /sys/class/nvme/nvme*; do
[ "$(cat $c/subsysnqn 2>/dev/null)" = {NQN} ] && echo 1 > $c/delete_controller
done
done
""", 300)


def held(karst):
    """Descriptors and resident memory of the process."""
    with open(f"/proc/{karst.process.pid}/status", encoding="ascii") as file:
        status = file.read()
    return (len(os.listdir(f"/proc/{karst.process.pid}/fd")),
            int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)))


def test_a_hundred_connects_leave_nothing_behind(karst, linux, figure):
    def quiet():
        wait_for("the last session's end", lambda: not karst.ctl("session list"), karst.process)
        return memory_in_use(karst), *held(karst)

    quiet()
    rounds(linux, karst.port, 10)
    before, files, resident = quiet()
    rounds(linux, karst.port, 90)
    _, files_after, resident_after = quiet()
    wait_memory(karst, before)
    assert files_after <= files
    assert resident_after - resident < 1024, "kB that 90 rounds have left"
    assert all(row["sessions"] == 0 for row in karst.ctl("subsystem list"))
    figure(f"100 rounds: {files_after} descriptors as before, {resident_after - resident} kB more")
