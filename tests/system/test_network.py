# SPDX-License-Identifier: BSD-3-Clause
"""Ports, addresses and routes: the appliance's own, and a hosted karst that leaves the machine's alone."""
import ipaddress

import pytest

import nvme_tcp
from appliance import Appliance, CommandError
from conftest import artefact
from hosted import CtlError, Karst
from vm import wait_for

SECOND_NIC = ["-netdev", "user,id=net1,net=10.9.0.0/24", "-device", "virtio-net-pci,netdev=net1,romfile="]


@pytest.fixture(scope="module")
def appliance(images, tmp_path_factory):
    with Appliance(images, tmp_path_factory.mktemp("network"), extra=SECOND_NIC) as machine:
        yield machine


def addresses(appliance, port, origin=None):
    """{address: origin} of PORT."""
    return {row["address"]: row["origin"] for row in appliance.ctl("address list")
            if row["port"] == port and origin in (None, row["origin"])}


def wait_address(appliance, port, address, origin):
    wait_for(f"{address} on {port}", lambda: addresses(appliance, port).get(address) == origin,
             appliance.vm.process, 60)


def test_ports_are_named_in_the_order_of_their_slots(appliance):
    ports = appliance.ctl("port list")
    assert [port["port"] for port in ports] == ["eth0", "eth1"]
    assert all(port["driver"] == "virtio_net" and port["state"] == "up" for port in ports)
    assert all(appliance.ctl(f"port show {port['port']}")[0]["mac"] == port["mac"] for port in ports)


def test_dhcp_gives_an_address_a_default_route_and_service(appliance):
    wait_address(appliance, "eth0", "10.0.2.15/24", "dhcp")
    assert any(row["prefix"] == "0.0.0.0/0" and row["via"] == "10.0.2.2" and row["port"] == "eth0"
               for row in appliance.ctl("route list"))
    assert appliance.ctl("port show eth0")[0]["dhcp"] == "bound"
    assert nvme_tcp.discover("127.0.0.1", appliance.port)


def test_dhcp_can_be_given_up_and_asked_for_again(appliance):
    appliance.ctl("address dhcp eth1")
    wait_address(appliance, "eth1", "10.9.0.15/24", "dhcp")
    assert "address dhcp eth1" in config(appliance)
    with pytest.raises(CommandError, match="uses DHCP already"):
        appliance.ctl("address dhcp eth1")
    appliance.ctl("address dhcp eth1 off")
    assert not addresses(appliance, "eth1", "dhcp")
    assert "address dhcp eth1" not in config(appliance)
    appliance.ctl("address dhcp eth1")
    wait_address(appliance, "eth1", "10.9.0.15/24", "dhcp")
    appliance.ctl("address dhcp eth1 off")


def config(appliance):
    return [row["text"] for row in appliance.ctl("config show")]


@pytest.mark.parametrize("address,prefix,via", [("10.7.0.1/24", "10.8.0.0/16", "10.7.0.254"),
                                                ("fd77::1/64", "fd78::/32", "fd77::fe")])
def test_static_addresses_and_routes_come_and_go(appliance, address, prefix, via):
    appliance.ctl(f"address add eth1 {address}")
    appliance.ctl(f"route add {prefix} via={via}")
    assert addresses(appliance, "eth1")[address] == "static"
    assert {"prefix": prefix, "via": via, "port": "eth1"} in appliance.ctl("route list")
    assert {f"address add eth1 {address}", f"route add {prefix} via={via}"} <= set(config(appliance))
    with pytest.raises(CommandError, match="has .* already"):
        appliance.ctl(f"address add eth1 {address}")
    with pytest.raises(CommandError, match="exists"):
        appliance.ctl(f"route add {prefix} via={via}")
    appliance.ctl(f"route remove {prefix}")
    appliance.ctl(f"address remove eth1 {address}")
    assert address not in addresses(appliance, "eth1")
    assert not [row for row in appliance.ctl("route list")
                if row["port"] == "eth1" and ipaddress.ip_network(row["prefix"]) == ipaddress.ip_network(prefix)]
    assert not [line for line in config(appliance) if address in line or prefix in line]


@pytest.mark.parametrize("command,says", [
    ("address add eth9 10.1.1.1/24", "eth9: no such port"),
    ("address add eth1 10.1.1.1/33", "10.1.1.1/33"),
    ("address remove eth1 10.99.99.99/24", "was not added"),
    ("route add 10.50.0.0/16 via=172.31.255.1", "10.50.0.0/16"),
    ("route add 10.50.0.0/16 via=fd00::1", "other family"),
    ("route remove 10.50.0.0/16", "was not added"),
    ("address dhcp eth1 off", "does not use DHCP"),
])
def test_wrong_networks_are_refused_by_name(appliance, command, says):
    with pytest.raises(CommandError) as refused:
        appliance.ctl(command)
    assert says in refused.value.text


def test_hosted_karst_only_looks(out, tmp_path):
    with Karst(artefact(out / "karst", "firmware"), tmp_path, "") as karst:
        assert any(row["address"].startswith("127.0.0.1/") for row in karst.ctl("address list"))
        karst.ctl("port list")
        karst.ctl("route list")
        for command in ("address add lo 10.253.1.1/32", "address dhcp lo", "address remove lo 127.0.0.1/8",
                        "route add 10.253.0.0/16 via=127.0.0.1", "route remove 10.253.0.0/16"):
            with pytest.raises(CtlError) as refused:
                karst.ctl(command)
            assert refused.value.code == "EPERM" and "ip(8)" in refused.value.text
