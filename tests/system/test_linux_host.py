# SPDX-License-Identifier: BSD-3-Clause
"""A stock Debian kernel as the host of the appliance: nvme-cli, fio, file systems.

One appliance and one guest serve all tests here; each test connects and disconnects by itself.
"""
import json

import pytest

from guest import HOST
from vm import wait_for

# What a kernel host is given so that it comes back soon after the target was away.
PATIENT = "--reconnect-delay=1 --ctrl-loss-tmo=120 --keep-alive-tmo=5"


@pytest.fixture
def nqn(served, guest):
    yield served.nqn
    guest.run("sync; umount /mnt; nvme disconnect-all")
    assert not guest.trouble()


def test_linux_discovers_the_subsystem(served, guest, nqn):
    guest.load("nvme-tcp")
    text = guest.nvme(f"discover -t tcp -a {HOST} -s {served.port} -o json")
    found = {record["subnqn"]: record for record in json.loads(text)["records"]}
    assert found[nqn]["trtype"] == "tcp"
    assert found[nqn]["subtype"] == "nvme subsystem"


def test_linux_connects_and_disconnects_twenty_times(served, guest, nqn):
    for i in range(20):
        devices = guest.nvme_connect(served.port, nqn, f"-i {1 + i % 4}")
        assert len(devices) == 2
        for device in devices.values():
            guest.check(f"dd if={device} of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null")
        guest.nvme(f"disconnect -n {nqn}")
        assert not guest.block_devices(nqn)
    wait_for("the last session's end", lambda: served.sessions() == 0, served.vm.process)


def test_the_health_page_is_the_drives_own(served, guest, nqn):
    device = sorted(guest.nvme_connect(served.port, nqn).items())[0][1]
    for nsid in ("0xffffffff", "1"):
        page = json.loads(guest.check(f"nvme smart-log {device} -n {nsid} -o json"))
        # what QEMU's drive says
        assert page["temperature"] == 323
        assert page["avail_spare"] >= page["spare_thresh"]
    assert int(page["data_units_read"]) > 0


@pytest.mark.parametrize("digests,size", [("", "32M"), ("-g", "4M"), ("-G", "4M"), ("-g -G", "32M")],
                         ids=["plain", "header-digest", "data-digest", "both-digests"])
def test_fio_verifies_mixed_sizes_and_depths(served, guest, nqn, digests, size):
    devices = guest.nvme_connect(served.port, nqn, f"-i 2 {digests}")
    for (nsid, device), depth in zip(sorted(devices.items()), (1, 32)):
        block = int(guest.check(f"cat /sys/block/{device[5:]}/queue/logical_block_size"))
        for low, high, amount, queue in ((block, 16384, "1M", depth), (4096, 1 << 20, size, 16)):
            guest.fio(f"mixed{nsid}", device, f"--rw=randwrite --bsrange={low}-{high} "
                      f"--size={amount} --iodepth={queue} --verify=crc32c --verify_fatal=1 "
                      "--do_verify=1")


def test_fio_verifies_trimmed_and_rewritten_blocks(served, guest, nqn):
    device = sorted(guest.nvme_connect(served.port, nqn).items())[0][1]
    guest.check(f"blkdiscard {device} 2>/dev/null || true")
    guest.fio("trim", device, "--rw=randrw --rwmixread=30 --bs=8k --size=16M --iodepth=8 "
              "--verify=md5 --verify_fatal=1 --fsync=64")


@pytest.mark.parametrize("kind,nsid", [("ext4", 1), ("xfs", 2)])
def test_file_system_keeps_files_and_passes_its_check(served, guest, nqn, kind, nsid):
    if kind == "xfs":
        guest.load("xfs")
    make = {"ext4": "mkfs.ext4 -q -F", "xfs": "mkfs.xfs -q -f"}[kind]
    check = {"ext4": "e2fsck -f -n", "xfs": "xfs_repair -n"}[kind]
    device = guest.nvme_connect(served.port, nqn, "-i 2")[nsid]
    guest.check(f"{make} {device} && mount -t {kind} {device} /mnt", 300)
    guest.check("cd /mnt && mkdir a && for i in 1 2 3 4 5 6 7 8; do "
                "dd if=/dev/urandom of=a/$i bs=64k count=$((i * 8)) 2>/dev/null; done; "
                "cp -r a b && cp /usr/bin/fio b/ && rm a/3 && sync && "
                "find . -type f | xargs sha256sum > /tmp/sums", 300)
    guest.check("umount /mnt && echo 3 > /proc/sys/vm/drop_caches && "
                f"mount -t {kind} {device} /mnt && cd /mnt && sha256sum -c -s /tmp/sums", 300)
    guest.check(f"umount /mnt && {check} {device}", 300)
