# SPDX-License-Identifier: BSD-3-Clause
"""Drives that are not the usual ones, through VFIO in the appliance."""
import pytest

import nvme_tcp
import qemu
from appliance import Appliance, CommandError

NQN = "nqn.2026-01.io.karst.test:drives"
MIB = 1 << 20


@pytest.fixture(scope="module")
def appliance(images, tmp_path_factory):
    """A third controller: one queue pair for two reactors, and namespaces of three kinds."""
    folder = tmp_path_factory.mktemp("drives")
    extra = ["-device", "nvme,id=odd,serial=ODD,max_ioqpairs=1,mdts=5"]
    for nsid, more in ((1, ""), (2, ",logical_block_size=4096,physical_block_size=4096"), (3, ",ms=8")):
        path = qemu.sparse_file(folder / f"odd{nsid}.img", 64 * MIB)
        extra += ["-drive", f"if=none,id=odd{nsid},file={path},format=raw",
                  "-device", f"nvme-ns,bus=odd,nsid={nsid},drive=odd{nsid}{more}"]
    with Appliance(images, folder, extra=extra) as machine:
        machine.ctl(f"subsystem create {NQN} allow-any")
        machine.ctl(f"listener add {NQN} transport=tcp address=0.0.0.0 port=4420")
        yield machine


def odd_names(appliance):
    """The odd drive's disks by name, in order."""
    return sorted(row["name"] for row in appliance.ctl("disk list")
                  if row.get("serial", "").startswith("ODD"))


def test_one_queue_pair_serves_two_reactors(appliance):
    for name in odd_names(appliance):
        appliance.ctl(f"namespace add {NQN} disk={name}")
    with nvme_tcp.Host("127.0.0.1", appliance.port, NQN, queues=4, depth=64) as host:
        for nsid in host.active_namespaces():
            block = host.namespace(nsid).block_bytes
            data = nvme_tcp.pattern(1 << 20, nsid)
            cids = []
            for i in range(32):
                queue = host.io[i % 4]
                part = data[i * 32768:(i + 1) * 32768]
                cids.append((queue, queue.submit(
                    host.rw(1, nsid, i * 32768 // block, 32768 // block), part)))
            for queue, cid in cids:
                assert queue.wait(cid)[0].status == 0
            assert host.read(nsid, 0, (1 << 20) // block, block, queue=3) == data


def test_every_namespace_that_can_be_served_is_a_disk_and_the_other_is_named(appliance):
    names = odd_names(appliance)
    assert len(names) == 2 and names[0].endswith("n1") and names[1].endswith("n2")
    third = names[0][:-1] + "3"
    assert any("namespace 3" in text and "metadata" in text for text in appliance.log())
    with pytest.raises(CommandError):
        appliance.ctl(f"namespace add {NQN} disk={third}")


def test_smart_and_identify_of_a_drive_are_shown(appliance):
    name = odd_names(appliance)[0]
    assert appliance.ctl(f"disk identify {name}")
    assert appliance.ctl(f"disk smart {name}")
    assert appliance.ctl(f"disk show {name}")


def test_disk_in_use_is_not_formatted_or_detached(appliance):
    name = odd_names(appliance)[0]
    for command in (f"disk format {name} force", f"disk detach {name}"):
        with pytest.raises(CommandError) as refused:
            appliance.ctl(command)
        assert name in refused.value.text and refused.value.code == "EBUSY"
