# SPDX-License-Identifier: BSD-3-Clause
"""The appliance's target over RDMA: soft-RoCE on its NIC, a stock Debian kernel as the host in the guest."""
import json
from contextlib import contextmanager

import pytest

import wire
from appliance import Appliance
from guest import Guest, fio_command
from io_walk import TwoHosts, every_io_command, reservations
from vm import wait_for

NQN = "nqn.2026-01.io.karst.test:rdma"
PATIENT = "--reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5"


@contextmanager
def machines(images, folder):
    """(appliance, guest), joined by a wire with RDMA at both ends; the appliance serves a RAM disk."""
    cable = wire.Wire(folder)
    guest = Guest(folder / "guest", extra=cable.arguments(1))
    try:
        with Appliance(images, folder / "appliance", extra=pluggable(cable.arguments(0))) as appliance:
            appliance.address, guest.address = cable.addresses
            appliance.ctl("disk create ram scratch size=32M block=512")
            appliance.ctl(f"subsystem create {NQN} allow-any")
            appliance.ctl(f"namespace add {NQN} disk=scratch")
            appliance.retried = appliance.ctl(
                f"listener add {NQN} transport=rdma address={appliance.address} port={wire.PORT}")
            appliance.ctl(f"listener add discovery transport=rdma address={appliance.address} port={wire.PORT}")
            wire.appliance_up(appliance, appliance.address)
            wire.guest_up(guest, guest.address)
            wire.reachable(guest, appliance.address)
            wait_for("the listeners", lambda: all(state == "listening" for state in listeners(appliance)),
                     appliance.vm.process, 60)
            # the first connection registers memory, which stays so
            appliance.ctl(f"remote discover {appliance.address} transport=rdma port={wire.PORT}")
            wait_for("the first session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
            yield appliance, guest
    finally:
        guest.stop()


@pytest.fixture(scope="module")
def pair(images, tmp_path_factory):
    with machines(images, tmp_path_factory.mktemp("rdma-target")) as both:
        yield both
        assert not both[1].trouble()


def pluggable(arguments):
    """The NIC behind a port of its own: device_del wire."""
    netdev, nic = arguments[1], arguments[3]
    return ["-netdev", netdev, "-device", "pcie-root-port,id=port77,chassis=77,slot=77",
            "-device", nic + ",bus=port77,id=wire"]


def listeners(appliance):
    return [row["state"] for row in appliance.ctl("listener list") if row["transport"] == "rdma"]


@pytest.fixture
def host(pair):
    """The guest, whose connections end with the test."""
    appliance, guest = pair
    yield guest
    guest.run("nvme disconnect-all")
    wait_for("the last session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
    assert not guest.trouble()


def test_an_address_without_rdma_is_said_and_tried_again(pair):
    said = pair[0].retried[0]["text"]
    assert "no RDMA device has this address" in said and "will go on trying" in said
    assert listeners(pair[0]) == ["listening", "listening"]


def test_linux_discovers_over_rdma(pair, host):
    appliance = pair[0]
    host.load("nvme-rdma")
    text = host.nvme(f"discover -t rdma -a {appliance.address} -s {wire.PORT} -o json")
    found = {record["subnqn"]: record for record in json.loads(text)["records"]}
    assert found[NQN]["trtype"] == "rdma" and found[NQN]["traddr"] == appliance.address
    assert found[NQN]["rdma_qptype"] == "connected" and found[NQN]["rdma_cms"] == "rdma-cm"


@pytest.mark.parametrize("low,high,depth", [(512, 8192, 32), (4096, 1 << 20, 8)])
def test_fio_verifies_over_rdma(pair, host, figure, low, high, depth):
    device = wire.guest_connect(host, pair[0].address, NQN, "-i 2")[1]
    done = host.fio("mixed", device, f"--rw=randwrite --bsrange={low}-{high} --size=4M --iodepth={depth} "
                    "--verify=crc32c --verify_fatal=1 --do_verify=1", 300)
    figure(f"{low}-{high}: {done['write']['iops']:.0f} writes/s")
    # no capsule has ever found a receive missing
    assert host.check("cat /sys/class/infiniband/rxe0/ports/1/hw_counters/rcvd_rnr_err").strip() == "0"
    rows = pair[0].ctl("session list")
    assert {row["transport"] for row in rows} == {"rdma"} and not any(row["errors"] for row in rows)


def used(pair):
    """What is in use on both sides: by the kernels' counts, and of the appliance's memory."""
    appliance, guest = pair
    return wire.appliance_resources(appliance), wire.guest_resources(guest), \
        [row["used"] for row in appliance.ctl("memory show") if "used" in row]


def settled(pair, before):
    """Waits until as much is in use as BEFORE; what differs when it does not come to that."""
    seen = []

    def same():
        seen[:] = [used(pair)]
        return seen[0] == before
    try:
        wait_for("nothing is left", same, pair[0].vm.process, 60)
    except AssertionError:
        assert seen[0] == before


def test_a_hundred_connections_leave_nothing(pair, host):
    appliance = pair[0]
    host.load("nvme-rdma")
    before = used(pair)
    host.check(f"for i in $(seq 100); do nvme connect -t rdma -a {appliance.address} -s {wire.PORT} -n {NQN} && "
               f"nvme disconnect -n {NQN} || exit 1; done", 400)
    settled(pair, before)


# How the two lose each other, and find each other again.
LOSSES = {
    "the host's cable": lambda appliance, host, there: wire.plug(host, 1, there),
    "the target's cable": lambda appliance, host, there: wire.plug(appliance, 0, there),
    "the target's address": lambda appliance, host, there: appliance.ctl(
        f"address {'add' if there else 'remove'} eth1 {appliance.address}/24"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_host_that_is_cut_off_loses_its_session_and_comes_back(pair, host, loss):
    appliance = pair[0]
    device = wire.guest_connect(host, appliance.address, NQN, PATIENT)[1]
    job = host.start(fio_command("cut", device, "--rw=randwrite --bs=8k --size=4M --iodepth=4 --time_based "
                                 "--runtime=10 --verify=crc32c --verify_fatal=1 --do_verify=1"))
    wait_for("the load", lambda: commands(appliance) > 200, appliance.vm.process, 60)
    LOSSES[loss](appliance, host, False)
    wait_for("the session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 120)
    LOSSES[loss](appliance, host, True)
    wait_for("the host is back", lambda: appliance.sessions() > 0, appliance.vm.process, 120)
    job.check(300)
    host.fio_results("cut")


def test_a_host_that_stands_still_under_load_holds_up_nobody(pair, host):
    """Nobody takes what the appliance's NIC has to send, so nothing that waits for its packets goes on."""
    appliance = pair[0]
    device = wire.guest_connect(host, appliance.address, NQN, PATIENT)[1]
    job = host.start(fio_command("still", device, "--rw=read --bs=1M --size=32M --iodepth=32 --time_based --runtime=10"))
    wait_for("the load", lambda: commands(appliance) > 100, appliance.vm.process, 60)
    host.vm.qmp("stop")
    wait_for("the session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
    appliance.ctl("disk bench scratch rw=randread bs=4K qd=1 time=1s force")
    before = heartbeats(appliance)
    wait_for("every reactor goes on", lambda: all(new > old for new, old in zip(heartbeats(appliance), before)),
             appliance.vm.process, 60)
    host.vm.qmp("cont")
    wait_for("the host is back", lambda: appliance.sessions() > 0, appliance.vm.process, 120)
    job.check(300)
    host.fio_results("still")


def heartbeats(appliance):
    return [row["heartbeat"] for row in appliance.ctl("reactor show")]


def commands(appliance):
    return sum(row["commands"] for row in appliance.ctl("session list"))


def test_karst_is_its_own_host_over_rdma(pair):
    """Both ends in one process, each with memory of its own to register."""
    appliance = pair[0]
    before = used(pair)
    appliance.ctl(f"disk attach remote self transport=rdma address={appliance.address} nqn={NQN}")
    for words in ("bs=4K qd=16", "bs=1M qd=2"):
        done = appliance.ctl(f"disk bench selfn1 rw=randrw {words} time=2s verify force", 120)[-1]
        assert done["verified"] > 0, done
    appliance.ctl("disk detach remote self")
    wait_for("the session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
    settled(pair, before)


# nvme-cli's way through the target; DEV is the namespace's block device, CTRL the controller.
WALK = """
nvme id-ctrl CTRL | grep -q '^subnqn    : NQN'
nvme id-ns DEV
nvme ns-descs DEV
nvme list-ns CTRL | grep -q 0x1
nvme smart-log CTRL
nvme error-log CTRL
nvme fw-log CTRL
nvme effects-log CTRL
nvme get-feature CTRL -f 7 -H
nvme get-property CTRL -o 0x1c -H
nvme write DEV -s 8 -c 7 -z 4096 -d /tmp/walk
nvme flush DEV
nvme read DEV -s 8 -c 7 -z 4096 -d /tmp/back && cmp /tmp/walk /tmp/back
nvme compare DEV -s 8 -c 7 -z 4096 -d /tmp/walk
! nvme compare DEV -s 16 -c 7 -z 4096 -d /tmp/walk
nvme write-zeroes DEV -s 8 -c 7
nvme read DEV -s 8 -c 7 -z 4096 -d /tmp/back && cmp /tmp/back /tmp/zeroes
nvme dsm DEV -n 1 -d -s 8 -b 8
! nvme read DEV -s 65536 -c 7 -z 4096 -d /tmp/back
nvme reset CTRL
"""


def test_reactors_sleep_while_hosts_are_connected(pair, host):
    appliance = pair[0]
    wire.guest_connect(host, appliance.address, NQN, "-i 2")

    def sleeps():
        return [row["sleeps"] for row in appliance.ctl("reactor show")]

    before = sleeps()
    wait_for("every reactor's sleep", lambda: all(new > old + 3 for new, old in zip(sleeps(), before)),
             appliance.vm.process, 60)


def test_nvme_cli_walks_over_rdma(pair, host):
    device = wire.guest_connect(host, pair[0].address, NQN)[1]
    host.check("tr '\\0' k < /dev/zero | head -c 4096 > /tmp/walk; head -c 4096 /dev/zero > /tmp/zeroes")
    for line in WALK.strip().splitlines():
        line = line.replace("DEV", device).replace("CTRL", device[:-2]).replace("NQN", NQN)
        host.check(line)
    assert all(row["transport"] == "rdma" for row in pair[0].ctl("session list"))


def test_every_io_command_and_reservations_over_rdma(pair, host):
    """The one disk as a namespace of two subsystems, and the guest as a host of each."""
    appliance, second = pair[0], NQN + "2"
    appliance.ctl(f"subsystem create {second} allow-any")
    appliance.ctl(f"namespace add {second} disk=scratch uuid=22222222-0000-4000-8000-00000000000c")
    appliance.ctl(f"listener add {second} transport=rdma address={appliance.address} port={wire.PORT}")
    devices = [wire.guest_connect(
        host, appliance.address, nqn, f"--hostnqn=nqn.2026-01.io.karst.test:host{number} "
        f"--hostid=0000000{number + 1}-0000-4000-8000-000000000000")[1]
        for number, nqn in enumerate((NQN, second))]
    hosts = TwoHosts(host, devices)
    every_io_command(hosts)
    reservations(hosts)
    hosts.clear()
    assert {row["transport"] for row in appliance.ctl("session list")} == {"rdma"}
    appliance.ctl(f"subsystem delete {second} force")


def test_an_adapter_unplugged_under_load_takes_its_sessions_only(images, tmp_path):
    with machines(images, tmp_path) as (appliance, guest):
        device = wire.guest_connect(guest, appliance.address, NQN)[1]
        guest.start(f"cat {device} {device} {device} {device} > /dev/null")
        wait_for("the load", lambda: commands(appliance) > 50, appliance.vm.process, 60)
        appliance.vm.qmp("device_del", id="wire")
        wait_for("the sessions' end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
        wait_for("the listeners' end", lambda: all(state.startswith("retrying") for state in listeners(appliance)),
                 appliance.vm.process, 60)
        wait_for("the kernel lets the adapter go", lambda: appliance.ctl("rdma show") == [], appliance.vm.process, 60)
        appliance.ctl("disk bench scratch rw=randread bs=4K qd=1 time=1s force")
