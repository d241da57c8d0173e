# SPDX-License-Identifier: BSD-3-Clause
"""The drive that SPDK wrote. It lies in shared/golden, beside the project's folder, and is only read there."""
import lzma
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]


def folder():
    """Beside this checkout, or beside the one that this is a worktree of."""
    common = subprocess.run(["git", "rev-parse", "--path-format=absolute", "--git-common-dir"], cwd=TOP,
                            text=True, capture_output=True, check=False).stdout.strip()
    for top in (TOP, Path(common or TOP).parent):
        if (top.parent / "shared/golden").is_dir():
            return top.parent / "shared/golden"
    raise AssertionError(f"{TOP.parent}/shared/golden, the drive that SPDK wrote, is missing")


def image():
    """The bytes of the drive."""
    return lzma.decompress((folder() / "spdk-lvstore-96M.img.xz").read_bytes())


def md5s():
    """{volume: md5} as SPDK read them."""
    found = re.findall(r"^\| (\w+) \|.*\| ([0-9a-f]{32}) \|$", (folder() / "README.md").read_text(), re.M)
    assert len(found) == 5
    return dict(found)
