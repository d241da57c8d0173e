# SPDX-License-Identifier: BSD-3-Clause
"""The appliance's NVMe drives: found, named, looked at, let go, taken again, formatted; with and without IOMMU."""
import pytest

import nvme_tcp
from appliance import Appliance, CommandError

NQN = "nqn.2026-01.io.karst:drives"


@pytest.fixture(scope="module")
def machine(images, tmp_path_factory):
    """An appliance with a third drive that has one queue pair, and three namespaces of which one has metadata."""
    folder = tmp_path_factory.mktemp("drives")
    image = folder / "odd.img"
    extra = ["-device", "pcie-root-port,id=oddport,chassis=9,slot=9",
             "-device", "nvme,id=odd,bus=oddport,serial=ODD,max_ioqpairs=1,msix_qsize=2"]
    for nsid, options in ((1, "logical_block_size=512"), (2, "logical_block_size=512,ms=8"),
                          (3, "logical_block_size=4096,physical_block_size=4096")):
        path = image.with_suffix(f".{nsid}")
        with open(path, "wb") as file:
            file.truncate(64 << 20)
        extra += ["-drive", f"if=none,id=odd{nsid},file={path},format=raw",
                  "-device", f"nvme-ns,drive=odd{nsid},bus=odd,nsid={nsid},{options}"]
    with Appliance(images, folder, extra=extra) as appliance:
        yield appliance


def disks(machine):
    return {row["name"]: row for row in machine.ctl("disk list")}


def exchange(machine, disk, nqn):
    """Serves DISK under NQN, writes and reads through NVMe/TCP, and takes it back."""
    machine.ctl(f"subsystem create {nqn} allow-any")
    machine.ctl(f"namespace add {nqn} disk={disk}")
    machine.ctl(f"listener add {nqn} transport=tcp address=0.0.0.0 port=4420")
    block = disks(machine)[disk]["block"]
    with nvme_tcp.Host("127.0.0.1", machine.port, nqn) as host:
        for blocks in (1, 8, 131072 // block):
            data = bytes(range(256)) * (blocks * block // 256)
            host.write(1, 16, data, block)
            assert host.read(1, 16, blocks, block) == data
    machine.ctl(f"subsystem delete {nqn} force")


def test_drives_are_numbered_by_address_and_known_by_serial(machine):
    found = disks(machine)
    assert found["nvme0n1"]["block"] == 512 and found["nvme0n1"]["serial"] == "KARST0000"
    assert found["nvme1n1"]["block"] == 4096 and found["nvme1n1"]["serial"] == "KARST0001"
    assert machine.ctl("disk show serial:KARST0001")[0]["name"] == "nvme1n1"
    shown = machine.ctl("disk show nvme0n1")[0]
    assert shown["pci"].startswith("0000:") and shown["queues"] == 2 and shown["shadow_doorbells"]


def test_namespace_with_metadata_is_named_and_the_others_are_served(machine):
    found = disks(machine)
    assert "nvme2n2" not in found
    assert found["nvme2n1"]["block"] == 512 and found["nvme2n3"]["block"] == 4096
    assert any("nvme2 namespace 2 is not served: its LBA format has metadata" in text for text in machine.log())


def test_identify_smart_and_errors(machine):
    row = machine.ctl("disk identify nvme0n1")[0]
    assert row["model"] == "QEMU NVMe Ctrl" and row["nsid"] == 1
    smart = machine.ctl("disk smart nvme0n1")[0]
    assert smart["temperature"].endswith(" C") and smart["warnings"] == ""
    machine.ctl("disk errors nvme0n1")


def test_drive_in_use_is_not_let_go(machine):
    with pytest.raises(CommandError, match="in use by"):
        machine.ctl("disk detach nvme0n1")


def test_one_queue_pair_serves_all_reactors(machine):
    assert machine.ctl("disk show nvme2n1")[0]["queues"] == 1
    exchange(machine, "nvme2n1", NQN)
    exchange(machine, "nvme2n3", NQN)


def test_drive_is_let_go_and_taken_again(machine):
    pci = machine.ctl("disk show nvme2n1")[0]["pci"]
    machine.ctl("disk detach nvme2n1")
    assert not [name for name in disks(machine) if name.startswith("nvme2")]
    with pytest.raises(CommandError, match="is no PCI address"):
        machine.ctl("disk attach here")
    with pytest.raises(CommandError, match="there is no such device"):
        machine.ctl("disk attach 0000:77:00.0")
    machine.ctl(f"disk attach {pci}")
    assert "nvme2n1" in disks(machine)
    with pytest.raises(CommandError, match="attached already"):
        machine.ctl(f"disk attach {pci}")
    exchange(machine, "nvme2n1", NQN)


def test_format_changes_the_block_size(machine):
    with pytest.raises(CommandError, match="no format with blocks of 8192"):
        machine.ctl("disk format nvme2n1 block=8K force")
    machine.ctl("disk format nvme2n1 block=4K force")
    assert disks(machine)["nvme2n1"]["block"] == 4096
    exchange(machine, "nvme2n1", NQN)
    machine.ctl("disk format nvme2n1 block=512 force")
    assert disks(machine)["nvme2n1"]["block"] == 512


def test_drives_work_without_an_iommu(images, tmp_path):
    with Appliance(images, tmp_path, iommu=False) as machine:
        assert any("bus addresses are physical" in text for text in machine.log())
        found = disks(machine)
        assert found["nvme0n1"]["users"] == 1 and found["nvme1n1"]["users"] == 1
        with nvme_tcp.Host("127.0.0.1", machine.port, "nqn.2026-01.io.karst:qemu") as host:
            for nsid, block in ((1, 512), (2, 4096)):
                data = bytes(range(256)) * (262144 // 256)
                host.write(nsid, 8, data, block)
                assert host.read(nsid, 8, len(data) // block, block) == data
