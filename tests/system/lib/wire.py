# SPDX-License-Identifier: BSD-3-Clause
"""An Ethernet cable between two virtual machines, and RDMA over it.

User-mode networking carries TCP and UDP through this machine's own sockets; soft-RoCE wants the frames as they are.
Both ends are QEMU netdevs over UNIX datagram sockets: nothing of this machine is touched, a full socket holds the
sender back instead of dropping frames, and either end may be unplugged and come back.

A cable is cut by unplugging it: frames are lost, and the end's NIC has no carrier. To take the guest's interface down
is another thing: its address has no route then, and soft-RoCE of a stock kernel takes a message of connection management
that it cannot send for the end of its queue pair 1. After that nothing connects from there any more.
"""
import json

from appliance import CommandError
from vm import wait_for

MTU = 4200                      # room for RoCE packets with 4 KiB of data
NETWORK = "10.77.0"
PORT = 4420


class Wire:
    """A cable whose ends 0 and 1 have addresses NETWORK.1 and NETWORK.2 once their machines set them."""

    def __init__(self, folder, network=NETWORK):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.addresses = [f"{network}.1", f"{network}.2"]

    def arguments(self, end):
        """What QEMU gets for the end's machine: a second NIC."""
        name, mac = f"wire{end}", f"52:54:00:77:00:0{end + 1}"
        return ["-netdev", f"dgram,id={name},local.type=unix,local.path={self.folder}/end{end},"
                           f"remote.type=unix,remote.path={self.folder}/end{1 - end}",
                "-device", f"virtio-net-pci,netdev={name},mac={mac},host_mtu={MTU},romfile="]


def plug(machine, end, up):
    """Plugs the cable's END in at MACHINE, or pulls it out."""
    machine.vm.qmp("set_link", name=f"wire{end}", up=up)


def guest_up(guest, address, name="rxe0"):
    """Address and soft-RoCE device on the guest's end."""
    guest.load("crc32_generic", "rdma_rxe")
    guest.check(f"ifconfig eth1 {address} netmask 255.255.255.0 up && "
                f"rdma link add {name} type rxe netdev eth1")


def guest_resources(guest):
    """{what: count} of all that is in use of the guest's RDMA devices."""
    found = {}
    for device in json.loads(guest.check("rdma -j resource show")):
        for what, count in device.items():
            if what not in ("ifindex", "ifname"):
                found[what] = found.get(what, 0) + count
    return found


def guest_connect(guest, address, nqn, options="", port=PORT):
    """Connects over RDMA; the names of the namespaces' block devices."""
    guest.load("nvme-rdma")
    return guest.nvme_connect(port, nqn, options, transport="rdma", address=address)


def appliance_up(appliance, address, name="rxe0"):
    """Likewise on the appliance's end."""
    appliance.ctl(f"address add eth1 {address}/24")
    appliance.ctl(f"rdma link add {name} port=eth1 type=rxe")


def appliance_does(appliance, command):
    """Waits until COMMAND succeeds: an address of an RDMA device works a moment after it was given."""
    def done():
        try:
            appliance.ctl(command)
        except CommandError:
            return False
        return True
    wait_for(command, done, appliance.vm.process, 60)


def appliance_resources(appliance):
    """{what: count} of all that is in use of the appliance's RDMA devices."""
    found = {}
    for row in appliance.ctl("rdma show"):
        for what, count in row.items():
            if what != "device":
                found[what] = found.get(what, 0) + count
    return found


def nvmet_script(nqn, address, port=PORT, device="/dev/ram0", ident=1):
    """Makes a subsystem of the guest's kernel that serves DEVICE over RDMA at ADDRESS."""
    return f"""set -e
mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
cd /sys/kernel/config/nvmet
mkdir -p subsystems/{nqn}/namespaces/1 ports/{ident}
echo 1 > subsystems/{nqn}/attr_allow_any_host
echo -n {device} > subsystems/{nqn}/namespaces/1/device_path
echo 1 > subsystems/{nqn}/namespaces/1/enable
echo {address} > ports/{ident}/addr_traddr
echo ipv4 > ports/{ident}/addr_adrfam
echo rdma > ports/{ident}/addr_trtype
echo {port} > ports/{ident}/addr_trsvcid
ln -s subsystems/{nqn} ports/{ident}/subsystems/
"""


def reachable(guest, address):
    """Waits until ADDRESS answers the guest: then the neighbours know each other."""
    wait_for(f"{address} answers", lambda: guest.run(f"ping -c 1 -W 1 {address}").status == 0,
             guest.vm.process, 60)
