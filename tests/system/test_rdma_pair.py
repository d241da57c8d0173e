# SPDX-License-Identifier: BSD-3-Clause
"""Karst at both ends of RDMA: one appliance has the other one's disk."""
import pytest

import wire
from appliance import Appliance
from vm import wait_for

FAR = "nqn.2026-01.io.karst.test:far"


@pytest.fixture(scope="module")
def pair(images, tmp_path_factory):
    """(near, far): two appliances, joined by a wire with RDMA at both ends; near has a RAM disk of far's as farn1."""
    folder = tmp_path_factory.mktemp("rdma-pair")
    cable = wire.Wire(folder)
    with Appliance(images, folder / "far", extra=cable.arguments(1)) as far, \
            Appliance(images, folder / "near", extra=cable.arguments(0)) as near:
        near.address, far.address = cable.addresses
        for appliance in near, far:
            wire.appliance_up(appliance, appliance.address)
        far.ctl("disk create ram scratch size=16M block=512")
        far.ctl(f"subsystem create {FAR} allow-any")
        far.ctl(f"namespace add {FAR} disk=scratch")
        far.ctl(f"listener add {FAR} transport=rdma address={far.address}")
        wait_for("the listener", lambda: {row["state"] for row in far.ctl("listener list")} == {"listening"},
                 far.vm.process, 60)
        wire.appliance_does(
            near, f"disk attach remote far transport=rdma address={far.address} nqn={FAR} reconnect=200ms")
        yield near, far


def path(near):
    return near.ctl("remote show far")[0]


@pytest.mark.parametrize("words", ["bs=4K qd=16", "bs=128K qd=2"])
def test_data_is_verified_between_two_of_us_over_rdma(pair, figure, words):
    near, far = pair
    done = near.ctl(f"disk bench farn1 rw=randrw {words} time=2s verify force", 120)[-1]
    assert done["verified"] > 0, done
    assert path(near)["errors"] == 0
    assert {row["transport"] for row in far.ctl("session list")} == {"rdma"}
    figure(f"{words}: {done['iops']} IOPS")


def test_a_listener_that_goes_is_waited_for(pair):
    near, far = pair
    before = path(near)["reconnects"]
    listener = f"{FAR} transport=rdma address={far.address}"
    far.ctl(f"listener remove {listener}")
    for session in {row["session"] for row in far.ctl("session list")}:
        far.ctl(f"session close {session}")
    wait_for("the loss", lambda: path(near)["state"] == "reconnecting", near.vm.process, 60)
    far.ctl(f"listener add {listener}")
    wait_for("the way back", lambda: path(near)["state"] == "live", near.vm.process, 60)
    assert path(near)["reconnects"] > before
    done = near.ctl("disk bench farn1 rw=randrw bs=4K qd=4 time=1s verify force", 120)[-1]
    assert done["verified"] > 0, done


def test_the_configuration_makes_links_and_remote_disks_over_rdma_again(pair):
    near = pair[0]
    lines = [row["text"] for row in near.ctl("config show")]
    link = lines.index("rdma link add rxe0 port=eth1 type=rxe")
    attach = next(i for i, line in enumerate(lines)
                  if line.startswith(f"disk attach remote far transport=rdma address={pair[1].address} nqn={FAR}"))
    assert link < attach
