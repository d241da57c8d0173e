# SPDX-License-Identifier: BSD-3-Clause
"""What the build promises: the same commit gives the same bits wherever it is built, nothing is built twice, a changed
file is in a new image quickly, and wrong values in a configuration are refused by name."""
import filecmp
import os
import shutil
import subprocess
import time

import pytest

from conftest import TOP

IMAGES = ("bzImage", "initramfs", "cmdline", "grub.cfg", "grub-pc.img", "grub-efi.img", "esp.img", "disk.img")


def make(*arguments, top=TOP, check=True):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "KCONFIG"))}
    done = subprocess.run(["make", *arguments], cwd=top, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    if check:
        assert done.returncode == 0, done.stdout[-4000:]
    return done


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The tree as git has it or would add it, somewhere else, so that nobody's work is touched."""
    copy = tmp_path_factory.mktemp("tree") / "a-folder-with-another-name"
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=TOP, check=True,
                           capture_output=True).stdout.decode().split("\0")
    for name in filter(None, names):
        if (TOP / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, copy / name)
    subprocess.run("git init -q && git add -A && git -c user.name=karst -c user.email=karst@localhost commit -q -m tree",
                   shell=True, cwd=copy, check=True)
    return copy


@pytest.fixture(scope="module")
def built(clone):
    """The clone, built in a folder within it."""
    make("O=out", "-j2", "image", top=clone)
    return clone / "out"


@pytest.mark.deadline(1800)
def test_same_commit_gives_identical_images_in_another_folder(clone, built, tmp_path):
    elsewhere = tmp_path / "out-elsewhere"
    make(f"O={elsewhere}", "-j1", "image", top=clone)
    for name in ("karst", "init", *(f"images/{image}" for image in IMAGES)):
        assert filecmp.cmp(built / name, elsewhere / name, shallow=False), f"{name} differs"


@pytest.mark.deadline(1800)
def test_nothing_is_rebuilt_when_nothing_changed(clone, built):
    # Packages and configuration are checked without a word; every rule that does work says so.
    assert make("O=out", "image", top=clone).stdout.strip() == ""


@pytest.mark.deadline(1800)
def test_changed_source_is_in_the_image_within_20_s(clone, built):
    before = (built / "images/disk.img").read_bytes()
    source = clone / "core/clock.c"
    source.write_text(source.read_text().rstrip("\n") + "\n\nconst char *clock_test_mark(void);\n"
                      'const char *clock_test_mark(void)\n{\n\treturn "mark";\n}\n')
    with open(clone / "boot/main.c", "a", encoding="utf-8") as main:
        main.write("\n__attribute__((used)) static const char main_test_mark[] = \"changed source\";\n")
    started = time.monotonic()
    said = make("O=out", "image", top=clone).stdout
    seconds = time.monotonic() - started
    print(f"changed file to image: {seconds:.1f} s")
    assert "boot/main.c" in said and "core/clock.c" in said and "core/bdev.c" not in said
    assert (built / "images/disk.img").read_bytes() != before
    assert seconds < 20


@pytest.mark.parametrize("line,name", [
    ("CONFIG_CONSOLE_BAUD=1", "CONSOLE_BAUD"),
    ("CONFIG_NO_SUCH_OPTION=y", "NO_SUCH_OPTION"),
    ("CONFIG_NVME_QUEUE_DEPTH=many", "NVME_QUEUE_DEPTH"),
])
def test_wrong_configuration_is_refused_by_name(tmp_path, line, name):
    config = tmp_path / "config"
    config.write_text((TOP / "configs/qemu_x86_64_defconfig").read_text() + line + "\n")
    done = make(f"O={tmp_path / 'out'}", f"KCONFIG_CONFIG={config}", "firmware", check=False)
    assert done.returncode != 0
    assert name in done.stdout


@pytest.mark.parametrize("config", ["qemu_x86_64", "pc_x86_64", "hosted", "tiny"])
def test_defconfig_is_minimal_and_complete(tmp_path, config):
    """What savedefconfig writes for a configuration is the file in configs/."""
    dot = tmp_path / "config"
    make(f"O={tmp_path / 'out'}", f"KCONFIG_CONFIG={dot}", f"{config}_defconfig")
    subprocess.run(["/usr/bin/python3", "-m", "savedefconfig", "--kconfig", "Kconfig", "--out", tmp_path / "saved"],
                   cwd=TOP, env={**os.environ, "KCONFIG_CONFIG": str(dot), "srctree": str(TOP)}, check=True,
                   stdout=subprocess.DEVNULL)
    assert sorted((tmp_path / "saved").read_text().split("\n")) == \
        sorted((TOP / f"configs/{config}_defconfig").read_text().split("\n"))


def test_configuration_goals(tmp_path):
    dot, o = tmp_path / "config", f"O={tmp_path / 'out'}"
    assert "tiny_defconfig" in make("list-defconfigs").stdout.split()
    for goal in ("allnoconfig", "allyesconfig"):
        make(o, f"KCONFIG_CONFIG={dot}", goal)
        assert "CONFIG_CONSOLE_BAUD=" in dot.read_text()
    make(o, f"KCONFIG_CONFIG={dot}", "olddefconfig")
    dot.write_text(dot.read_text().replace("CONFIG_CONSOLE_BAUD=115200\n", ""))
    assert "CONSOLE_BAUD" in make(o, f"KCONFIG_CONFIG={dot}", "listnewconfig").stdout


def test_help_names_every_goal():
    said = make("help").stdout
    for goal in ("all firmware kernel initramfs image run run-uefi run-direct smoke debug check test bench flash source "
                 "clean distclean size-report menuconfig oldconfig olddefconfig savedefconfig listnewconfig allyesconfig "
                 "allnoconfig list-defconfigs setup").split():
        assert goal in said, goal
