# SPDX-License-Identifier: BSD-3-Clause
"""The appliance's target over RDMA: soft-RoCE on its NIC, a stock Debian kernel as the host in the guest."""
import json

import pytest

import wire
from appliance import Appliance
from conftest import artefact
from guest import Guest
from hosted import Karst
from vm import free_port, wait_for

NQN = "nqn.2026-01.io.karst.test:rdma"
PATIENT = "--reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5"


@pytest.fixture(scope="module")
def pair(images, tmp_path_factory):
    """(appliance, guest), joined by a wire with RDMA at both ends; the appliance serves a RAM disk."""
    folder = tmp_path_factory.mktemp("rdma-target")
    cable = wire.Wire(folder)
    guest = Guest(folder / "guest", extra=cable.arguments(1))
    try:
        with Appliance(images, folder / "appliance", extra=cable.arguments(0)) as appliance:
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
            yield appliance, guest
        assert not guest.trouble()
    finally:
        guest.stop()


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
    assert "will go on trying" in pair[0].retried[0]["text"]
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
    done = host.fio("mixed", device, f"--rw=randwrite --bsrange={low}-{high} --size=8M --iodepth={depth} "
                    "--verify=crc32c --verify_fatal=1 --do_verify=1", 300)
    figure(f"{low}-{high}: {done['write']['iops']:.0f} writes/s")
    rows = pair[0].ctl("session list")
    assert {row["transport"] for row in rows} == {"rdma"} and not any(row["errors"] for row in rows)


def test_rounds_of_connections_leave_nothing(pair, host):
    appliance = pair[0]

    def visit():
        wire.guest_connect(host, appliance.address, NQN)
        host.nvme(f"disconnect -n {NQN}")

    def used():
        return wire.appliance_resources(appliance), wire.guest_resources(host), \
            [row["used"] for row in appliance.ctl("memory show") if "used" in row]

    visit()
    wait_for("the first session's end", lambda: appliance.sessions() == 0, appliance.vm.process, 60)
    before = used()
    for _ in range(100):
        visit()
    wait_for("nothing is left", lambda: used() == before, appliance.vm.process, 60)
