# SPDX-License-Identifier: BSD-3-Clause
"""Remote disks over RDMA: soft-RoCE on the appliance's NIC, the Linux kernel's nvmet-rdma in the guest."""
from concurrent.futures import ThreadPoolExecutor

import pytest

import wire
from appliance import Appliance, CommandError
from conftest import artefact
from guest import Guest
from hosted import CtlError, Karst
from vm import free_port, wait_for

FAR = "nqn.2026-01.io.karst.test:linux"
ATTACH = f"disk attach remote far transport=rdma address={{address}} nqn={FAR} reconnect=200ms"
CUT = f"rm /sys/kernel/config/nvmet/ports/1/subsystems/{FAR}"
MEND = f"cd /sys/kernel/config/nvmet && ln -s subsystems/{FAR} ports/1/subsystems/"


@pytest.fixture(scope="module")
def pair(images, tmp_path_factory):
    """(appliance, guest), joined by a wire with RDMA at both ends; the guest serves a RAM disk."""
    folder = tmp_path_factory.mktemp("rdma")
    cable = wire.Wire(folder)
    guest = Guest(folder / "guest", extra=cable.arguments(1))
    try:
        with Appliance(images, folder / "appliance", extra=cable.arguments(0)) as appliance:
            appliance.address, guest.address = cable.addresses
            wire.appliance_up(appliance, appliance.address)
            wire.guest_up(guest, guest.address)
            guest.load("brd", "nvmet", "nvmet-rdma")
            guest.check(wire.nvmet_script(FAR, guest.address))
            wire.reachable(guest, appliance.address)
            # once, so that both kernels have made what they make for the first connection only
            wire.appliance_does(appliance, f"remote discover {guest.address} transport=rdma")
            yield appliance, guest
        assert not guest.trouble()
    finally:
        guest.stop()


@pytest.fixture
def far(pair):
    """The appliance with the guest's RAM disk as farn1."""
    appliance, guest = pair
    appliance.ctl(ATTACH.format(address=guest.address))
    yield appliance
    appliance.ctl("disk detach remote far")


def paths(appliance):
    return {row["path"]: row for row in appliance.ctl("remote show")}


def test_rdma_links_are_listed_configured_and_refused_twice(pair):
    appliance = pair[0]
    assert appliance.ctl("rdma link list") == [
        {"device": "rxe0", "port": "eth1", "type": "rxe", "protocol": "roce", "state": "ready"}]
    assert "rdma link add rxe0 port=eth1 type=rxe" in [
        row["text"] for row in appliance.ctl("config show")]
    for command, text in (("rdma link add other port=eth1", "has RDMA device rxe0 already"),
                          ("rdma link add rxe0 port=eth0", "exists"),
                          ("rdma link remove other", "no such link")):
        with pytest.raises(CommandError, match=text):
            appliance.ctl(command)
    appliance.ctl("rdma link add siw0 port=eth0 type=siw")
    assert [row["protocol"] for row in appliance.ctl("rdma link list")] == ["roce", "iw"]
    appliance.ctl("rdma link remove siw0")
    assert [row["device"] for row in appliance.ctl("rdma link list")] == ["rxe0"]


def test_linux_is_discovered_over_rdma(pair):
    appliance, guest = pair
    rows = appliance.ctl(f"remote discover {guest.address} transport=rdma")
    assert {"subtype": "nvm", "transport": "rdma", "address": guest.address, "port": str(wire.PORT),
            "nqn": FAR} in rows


def test_nobody_listens_and_no_such_subsystem_are_told_apart(pair):
    appliance, guest = pair
    with pytest.raises(CommandError, match="nobody listens there"):
        appliance.ctl(f"remote discover {guest.address} transport=rdma port=4421")
    with pytest.raises(CommandError, match="the target knows no subsystem"):
        appliance.ctl(f"disk attach remote far transport=rdma address={guest.address} nqn=nqn.2026-01.x:none")
    with pytest.raises(CommandError, match="digests are TCP's"):
        appliance.ctl(ATTACH.format(address=guest.address) + " hdgst")
    assert appliance.ctl("remote list") == []


@pytest.mark.parametrize("words", ["bs=4K qd=8", "bs=256K qd=2"])
def test_data_is_verified_on_the_linux_target_over_rdma(far, figure, words):
    done = far.ctl(f"disk bench farn1 rw=randrw {words} time=2s verify force", 120)[-1]
    assert done["verified"] > 0, done
    assert paths(far)["far"]["errors"] == 0 and paths(far)["far"]["ios"] > 0
    figure(f"{words}: {done['iops']} IOPS")


def test_rdma_target_is_lost_under_a_verified_load_and_comes_back(pair, far):
    guest = pair[1]
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(cut_and_mend, guest)
        done = far.ctl("disk bench farn1 rw=randrw bs=8K qd=4 time=6s verify force", 200)[-1]
        load.result(60)
    assert done["verified"] > 0, done
    wait_for("the way back", lambda: paths(far)["far"]["reconnects"] >= 1, far.vm.process, 60)
    assert paths(far)["far"]["errors"] == 0


def cut_and_mend(guest):
    """Ends every controller of the port, and lets them come back, while the load runs."""
    packets = "cat /sys/class/infiniband/rxe0/ports/1/hw_counters/rcvd_pkts"
    before = int(guest.check(packets))
    wait_for("the load", lambda: int(guest.check(packets)) > before + 500, guest.vm.process, 60)
    guest.check(CUT)
    guest.check(MEND)


def test_an_rdma_link_in_use_leaves_the_configuration_only(pair, far):
    line = "rdma link add rxe0 port=eth1 type=rxe"
    assert "stays until karst starts again" in far.ctl("rdma link remove rxe0")[0]["text"]
    assert line not in [row["text"] for row in far.ctl("config show")]
    assert [row["state"] for row in far.ctl("rdma link list")] == ["leaving"]
    assert paths(far)["far"]["state"] == "live"
    far.ctl("rdma link add rxe0 port=eth1")
    assert line in [row["text"] for row in far.ctl("config show")]
    assert [row["state"] for row in far.ctl("rdma link list")] == ["ready"]


def test_connections_over_rdma_leave_nothing(pair):
    appliance, guest = pair
    def used():
        return wire.appliance_resources(appliance), wire.guest_resources(guest)

    # what earlier tests have closed, the guest's kernel lets go a little later: one queue pair is the device's own
    wait_for("quiet", lambda: (used()[0]["qps"], used()[1]["qp"], used()[1]["pd"]) == (1, 1, 1),
             guest.vm.process, 60)
    before = used()
    for _ in range(10):
        appliance.ctl(ATTACH.format(address=guest.address))
        assert appliance.ctl("disk list | match farn1")
        appliance.ctl("disk detach remote far")
    wait_for("nothing is left", lambda: used() == before, guest.vm.process, 60)


def test_a_machine_without_rdma_says_so(out, tmp_path):
    with Karst(artefact(out / "karst", "firmware"), tmp_path, "", port=free_port()) as karst:
        for command in (ATTACH.format(address="127.0.0.1"), "remote discover 127.0.0.1 transport=rdma"):
            with pytest.raises(CtlError, match="this machine has no RDMA adapter"):
                karst.ctl(command)
        with pytest.raises(CtlError, match="this kernel has no RDMA"):
            karst.ctl("rdma link list")
