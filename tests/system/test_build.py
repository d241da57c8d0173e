# SPDX-License-Identifier: BSD-3-Clause
"""What the build promises: the same bytes in another folder, nothing made twice, errors by name."""
import hashlib
import os
import subprocess

import pytest

from conftest import TOP, artefact

IMAGES = ("karst", "images/bzImage", "images/initramfs", "images/disk.img")


def make(*arguments):
    """make in the tree, without what a make above has put into the environment."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("MAKE", "MFLAGS", "KCONFIG", "SOURCE_DATE"))}
    return subprocess.run(["make", *map(str, arguments)], cwd=TOP, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.deadline(1200)
def test_same_commit_gives_the_same_images_in_another_folder(images):
    other = images / "system-test-twin"
    first = make(f"O={images}", "-j2", "image")
    assert first.returncode == 0, first.stdout[-4000:]
    second = make(f"O={other}", "-j2", "image")
    assert second.returncode == 0, second.stdout[-4000:]
    for name in IMAGES:
        assert digest(images / name) == digest(artefact(other / name, "image")), name


@pytest.mark.deadline(600)
def test_nothing_is_made_again_when_nothing_has_changed(images):
    assert make(f"O={images}", "image").returncode == 0
    before = {name: (images / name).stat().st_mtime_ns for name in IMAGES}
    again = make(f"O={images}", "image")
    assert again.returncode == 0
    assert {name: (images / name).stat().st_mtime_ns for name in IMAGES} == before
    assert not [line for line in again.stdout.splitlines() if line.startswith("  ")], again.stdout


@pytest.mark.parametrize("line,name", [
    ("CONFIG_CONSOLE_BAUD=banana", "CONSOLE_BAUD"),
    ("CONFIG_NO_SUCH_OPTION=y", "NO_SUCH_OPTION"),
    ("CONFIG_IMAGE_SIZE_MIB=1", "IMAGE_SIZE_MIB"),
])
def test_wrong_configuration_value_is_rejected_by_name(tmp_path, line, name):
    config = tmp_path / "wrong.config"
    config.write_text((TOP / "configs/qemu_x86_64_defconfig").read_text() + line + "\n")
    done = make(f"O={tmp_path / 'out'}", f"KCONFIG_CONFIG={config}", "firmware")
    assert done.returncode != 0 and name in done.stdout, done.stdout


def test_help_names_every_target():
    text = make("help").stdout
    for target in ("all", "firmware", "kernel", "initramfs", "image", "run", "run-uefi", "run-direct",
                   "smoke", "debug", "check", "test", "bench", "flash", "source", "clean",
                   "distclean", "size-report", "menuconfig", "setup"):
        assert any(target in line.split()[:4] for line in text.splitlines()), target


def test_smoke_is_one_line_and_status_0(images):
    done = make(f"O={images}", "-s", "smoke")
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith("smoke: PASS"), done.stdout
