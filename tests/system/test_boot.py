# SPDX-License-Identifier: BSD-3-Clause
"""From power-on to READY: every way to boot, the same image, and what the machine says of itself."""
import hashlib
import os
import subprocess

import pytest

import nvme_tcp
from appliance import Appliance
from conftest import TOP, artefact

STAGES = {"t_ms", "kernel", "init", "dma", "modules", "script"}


@pytest.mark.parametrize("boot", ["bios", "uefi", "direct"])
def test_appliance_boots_serves_and_powers_off(images, tmp_path, boot, figure):
    with open(images / "images/disk.img", "rb") as image:
        before = hashlib.file_digest(image, "sha256").hexdigest()
    with Appliance(images, tmp_path, boot=boot) as appliance:
        assert STAGES <= set(appliance.ready), appliance.ready
        assert "failed" not in appliance.ready
        figure(f"{boot}: READY {appliance.ready['t_ms']} ms after kernel start")
        assert int(appliance.ready["t_ms"]) < 120 * 1000
        result = nvme_tcp.smoke("127.0.0.1", appliance.port)
        assert "512-byte" in result and "4096-byte" in result
        rows = appliance.ctl("disk list")
        assert {"nvme0n1", "nvme1n1"} <= {row["name"] for row in rows}
    with open(images / "images/disk.img", "rb") as image:
        assert hashlib.file_digest(image, "sha256").hexdigest() == before


def test_rescue_gives_a_console_with_nothing_attached(images, tmp_path):
    with Appliance(images, tmp_path, append="karst.rescue=1") as appliance:
        assert not [row for row in appliance.ctl("disk list") if row["name"].startswith("nvme")]
        assert not appliance.ctl("subsystem list")
        with pytest.raises((OSError, nvme_tcp.Closed)):
            nvme_tcp.Connection("127.0.0.1", appliance.port, timeout_s=3).initialize()


def test_rescue_is_in_the_boot_menu(images, tmp_path):
    with Appliance(images, tmp_path, boot="bios", ready=False) as appliance:
        appliance.console.expect("Karst, rescue", 60)
        appliance.console.send("\x0e\r")                # Ctrl-N: the next entry
        appliance.wait_ready()
        assert not [row for row in appliance.ctl("disk list") if row["name"].startswith("nvme")]


def test_reboot_from_the_console_comes_back_and_loses_nothing(images, tmp_path):
    with Appliance(images, tmp_path, reboot=True) as appliance:
        nqn = nvme_tcp.discover("127.0.0.1", appliance.port)[-1].subnqn
        data = nvme_tcp.pattern(1 << 20, 99)
        with nvme_tcp.Host("127.0.0.1", appliance.port, nqn) as host:
            host.write(1, 0, data)
        appliance.restarts += 1
        appliance.console.send("system reboot\r")
        appliance.wait_ready()
        with nvme_tcp.Host("127.0.0.1", appliance.port, nqn) as host:
            assert host.read(1, 0, 2048) == data


@pytest.mark.parametrize("end", ["poweroff", "reboot"])
def test_end_from_the_console_flushes_and_shuts_the_drives_down(images, tmp_path, end):
    trace = ["-trace", "pci_nvme_mmio_shutdown_set"]
    appliance = Appliance(images, tmp_path, extra=trace)
    with appliance:
        nqn = nvme_tcp.discover("127.0.0.1", appliance.port)[-1].subnqn
        with nvme_tcp.Host("127.0.0.1", appliance.port, nqn) as host:
            for nsid in host.active_namespaces():
                ns = host.namespace(nsid)
                host.write(nsid, 0, nvme_tcp.pattern(65536, 1), ns.block_bytes)
            appliance.console.send(f"system {end}\r")
            assert appliance.vm.wait(60) == 0
    told = appliance.vm.log_path.read_text()
    assert told.count("pci_nvme_mmio_shutdown_set") == 2, "CC.SHN of both drives\n" + told[-2000:]
    for index in (0, 1):
        with open(tmp_path / f"nvme{index}.img", "rb") as image:
            assert image.read(65536) == nvme_tcp.pattern(65536, 1)


def test_kernel_panic_reboots(images, tmp_path):
    machine = Appliance(images, tmp_path, ready=False, append="rdinit=/missing")
    try:
        assert machine.vm.wait(60) == 0, "a reboot ends this QEMU"
    finally:
        machine.vm.kill()
    assert "Kernel panic" in machine.log_path.read_text(errors="replace")


@pytest.mark.deadline(1800)
def test_tiny_configuration_serves_with_256_mib(out, tmp_path_factory, figure):
    folder = out / "system-test-tiny"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "tiny.config"
    config.write_bytes((TOP / "configs/tiny_defconfig").read_bytes())
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    built = subprocess.run(["make", f"O={folder}", f"KCONFIG_CONFIG={config}", "-j2", "image"],
                           cwd=TOP, env=env, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
    assert built.returncode == 0, built.stdout[-4000:]
    artefact(folder / "images/disk.img", "tiny_defconfig image")
    with Appliance(folder, tmp_path_factory.mktemp("tiny"), boot="bios", memory_mib=256,
                   cpus=1) as appliance:
        assert "read back and equal" in nvme_tcp.smoke("127.0.0.1", appliance.port)
        figure(f"tiny: READY {appliance.ready['t_ms']} ms after kernel start with 256 MiB")
