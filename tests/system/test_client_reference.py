# SPDX-License-Identifier: BSD-3-Clause
"""The tests' own NVMe/TCP client against a target that is not ours: the Linux kernel's, in the guest.

What the client calls right or wrong in Karst rests on this.
"""
import pytest

import nvme_tcp
from guest import Guest

NQN = "nqn.2026-01.io.karst.test:reference"

SETUP = f"""set -e
mount -t configfs configfs /sys/kernel/config 2>/dev/null || true
cd /sys/kernel/config/nvmet
mkdir -p subsystems/{NQN}/namespaces/1 ports/1
echo 1 > subsystems/{NQN}/attr_allow_any_host
echo -n /dev/ram0 > subsystems/{NQN}/namespaces/1/device_path
echo 1 > subsystems/{NQN}/namespaces/1/enable
cd ports/1
echo 0.0.0.0 > addr_traddr
echo ipv4 > addr_adrfam
echo tcp > addr_trtype
echo 4420 > addr_trsvcid
ln -s ../../subsystems/{NQN} subsystems/
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    guest = Guest(tmp_path_factory.mktemp("reference"), forward=[4420])
    try:
        guest.load("brd", "nvmet", "nvmet-tcp")
        guest.check(SETUP)
        yield guest.ports[4420]
        assert not guest.trouble()
    finally:
        guest.stop()


def test_client_discovers_and_verifies_data_on_the_linux_target(port):
    assert NQN in [entry.subnqn for entry in nvme_tcp.discover("127.0.0.1", port)]
    assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", port, NQN)


@pytest.mark.parametrize("hdgst,ddgst", [(False, False), (True, False), (False, True), (True, True)])
def test_client_speaks_every_command_to_the_linux_target(port, hdgst, ddgst):
    with nvme_tcp.Host("127.0.0.1", port, NQN, queues=2, hdgst=hdgst, ddgst=ddgst,
                       kato_ms=15000) as host:
        assert host.admin.framing.hdgst == hdgst and host.admin.framing.ddgst == ddgst
        assert host.active_namespaces() == [1]
        data = nvme_tcp.pattern(8192, 7)
        host.write(1, 100, data)
        assert host.read(1, 100, 16, queue=1) == data
        data = nvme_tcp.pattern(1 << 18, 9)
        host.write(1, 0, data)
        assert host.read(1, 0, 512) == data
        assert host.io[0].r2t_count == 1
        host.write_zeroes(1, 0, 8)
        assert host.read(1, 0, 8) == bytes(4096)
        host.deallocate(1, [(8, 8), (32, 8)])
        host.flush(1)
        host.keep_alive()
        with pytest.raises(nvme_tcp.Status) as failed:
            host.read(1, 1 << 40, 1)
        assert failed.value.sct == 0
        host.disconnect()
