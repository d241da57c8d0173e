# SPDX-License-Identifier: BSD-3-Clause
"""A disk that boots the stock Debian guest with GRUB, by BIOS and by UEFI, made as images/ makes the appliance's."""
import os
import subprocess
import sys
from pathlib import Path

import guest_image
from guest import CMDLINE

IMAGES = Path(__file__).resolve().parents[3] / "images"
OVMF = "/usr/share/OVMF"
ESP_MIB = 48


def make(out, folder, root):
    """FOLDER/boot.img, whose kernel finds its root on the guest's device ROOT."""
    guest, built = guest_image.build(), out / "images"
    (folder / "grub.cfg").write_text(f"linux /guest/vmlinuz {CMDLINE} root={root}\ninitrd /guest/initramfs\nboot\n")
    subprocess.run([IMAGES / "esp.sh", folder / "esp.fat", str(ESP_MIB), f"EFI/BOOT/BOOTX64.EFI={built}/grub-efi.img",
                    f"grub/grub.cfg={folder}/grub.cfg", f"guest/vmlinuz={guest}/vmlinuz",
                    f"guest/initramfs={guest}/initramfs"], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    subprocess.run([sys.executable, IMAGES / "mkdisk.py", "--size-mib", str(ESP_MIB + 8), "--boot-img",
                    "/usr/lib/grub/i386-pc/boot.img", "--core-img", built / "grub-pc.img", "--esp", folder / "esp.fat",
                    folder / "boot.img"], check=True)
    return folder / "boot.img"


def firmware(kind, folder):
    """QEMU arguments for a machine that boots by KIND (bios, uefi)."""
    if kind == "bios":
        return []
    variables = folder / "vars.fd"
    variables.write_bytes(Path(f"{OVMF}/OVMF_VARS_4M.fd").read_bytes())
    return ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd",
            "-drive", f"if=pflash,format=raw,file={variables}"]
