# SPDX-License-Identifier: BSD-3-Clause
"""Builds the stock Debian guest of the system tests from Debian packages, without root.

The kernel is Debian's own; a small initramfs (busybox, the modules that are wanted) mounts a
read-only ext4 disk with nvme-cli, fio, the file system tools and just those libraries that they load. Packages are
fetched with apt (its signatures and hashes) into DL_DIR, and the result is kept in a folder named
by the hash of the packages and of this file, so that it is made once on a machine.

    guest_image.py              builds it and prints its folder
    guest_image.py --download   only fetches the packages, for building without a network
"""
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import agent

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "karst"
DL_DIR = Path(os.environ.get("DL_DIR") or CACHE / "dl")

ROOTS = ["fio", "nvme-cli", "e2fsprogs", "xfsprogs", "busybox-static", "iproute2", "util-linux", "sg3-utils",
         "libiscsi-bin"]
# Patterns; each has to match something.
PROGRAMS = ["usr/bin/fio", "usr/sbin/nvme", "sbin/mke2fs", "sbin/mkfs.ext4", "sbin/e2fsck",
            "sbin/mkfs.xfs", "sbin/xfs_repair", "bin/busybox", "usr/bin/rdma", "sbin/blkdiscard",
            "usr/bin/sg_*", "usr/bin/iscsi-*", "lib64/ld-linux-x86-64.so.2"]
# Loaded at boot, in this order after what they depend on.
MODULES_AT_BOOT = ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "crc32c_generic",
                   "crc32c_intel", "ext4"]
# The same, when the root is on a SCSI disk.
MODULES_FOR_SCSI = ["virtio_scsi", "sd_mod"]
# rdma_rxe asks for the cipher crc32 by name, so nothing lists it as a dependency.
MODULES = MODULES_AT_BOOT + ["xfs", "virtio_scsi", "sd_mod", "sg", "nvme", "nvme-tcp", "nvmet",
                             "nvmet-tcp", "brd", "crc32_generic", "rdma_rxe", "nvme-rdma", "nvmet-rdma"]

# /tmp, /run and /mnt are the guest's own memory; everything else is read-only.
INIT = r"""#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs dev /dev
root=/dev/vda lists=at-boot
for word in $($bb cat /proc/cmdline); do case $word in root=*) root=${word#root=} ;; esac; done
case $root in /dev/sd*) lists="at-boot for-scsi" ;; esac
for module in $(cd /modules; $bb cat $lists); do $bb insmod /modules/$module || echo "no $module"; done
while [ ! -b $root ]; do $bb usleep 10000; done
$bb mount -t ext4 -o ro,noload $root /root || exec $bb sh
$bb mkdir -p /root/lib/modules
for point in proc sys dev; do $bb mount --move /$point /root/$point; done
for point in tmp run mnt etc/nvme lib/modules; do $bb mount -t tmpfs tmpfs /root/$point; done
$bb cp /modules/*.ko /root/lib/modules/
exec $bb switch_root /root /agent
"""

AGENT = r"""#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/bb HOME=/tmp LC_ALL=C.UTF-8
mount -t configfs configfs /sys/kernel/config 2>/dev/null
ifconfig lo 127.0.0.1 up
while [ ! -e /sys/class/net/eth0 ]; do usleep 10000; done
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
route add default gw 10.0.2.2
port=
while [ -z "$port" ]; do
	for name in /sys/class/virtio-ports/*/name; do
		[ "$(cat $name 2>/dev/null)" = agent ] && port=/dev/$(basename $(dirname $name))
	done
done
while [ ! -c $port ]; do usleep 10000; done
""" + agent.LOOP + "poweroff -f\n"


def run(*args, **kwargs):
    return subprocess.run([str(a) for a in args], check=True, text=True, stdout=subprocess.PIPE,
                          **kwargs).stdout


def apt_closure():
    """Names of the packages: the roots, the libraries behind them, and the kernel's real package."""
    text = run("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests",
               "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", *ROOTS)
    names = set(re.findall(r"^(lib[^\s:]+|zlib1g)$", text, re.M))
    unused = r"lib(perl|python|.*-perl$|elogind|debian-installer|newt|pam|semanage|textwrap)"
    names = {n for n in names if not re.match(unused, n)}
    kernel = re.search(r"Depends: (linux-image-\d\S+)",
                       run("apt-cache", "depends", "linux-image-amd64")).group(1)
    return sorted(names | set(ROOTS)) + [kernel]


def apt_uris(names):
    """{file name: (package, SHA256)} as apt's signed indexes have them."""
    found = {}
    for name, size, digest in re.findall(r"^'\S+' (\S+) (\d+) SHA256:(\w+)$",
                                         run("apt-get", "download", "--print-uris", *names), re.M):
        found[name] = (name.split("_")[0], digest)
    missing = set(names) - {package for package, _ in found.values()}
    if missing:
        raise SystemExit(f"guest: apt knows no package {', '.join(sorted(missing))}; "
                         "run apt-get update")
    return found


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(files):
    """Fetches what DL_DIR does not have yet; every file's hash is checked."""
    DL_DIR.mkdir(parents=True, exist_ok=True)
    wanted = [package for name, (package, _) in files.items() if not (DL_DIR / name).exists()]
    if wanted:
        with tempfile.TemporaryDirectory(dir=DL_DIR) as folder:
            subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *wanted],
                           cwd=folder, check=True, stdout=sys.stderr)
            for file in Path(folder).iterdir():
                file.rename(DL_DIR / file.name)
    for name, (_, digest) in files.items():
        if sha256(DL_DIR / name) != digest:
            raise SystemExit(f"guest: {DL_DIR / name}: wrong SHA256; delete it and try again")


def needed(path):
    """Sonames and program interpreter that the ELF file PATH asks for."""
    text = run("readelf", "-dl", path, stderr=subprocess.DEVNULL)
    return re.findall(r"\(NEEDED\)\s+Shared library: \[(\S+)\]", text) + \
        re.findall(r"interpreter: /lib64/(\S+)\]", text)


def tree_files(tree):
    return [p for p in tree.rglob("*") if p.is_symlink() or p.is_file()]


def matching(tree, pattern):
    found = sorted(tree.glob(pattern))
    if not found:
        raise SystemExit(f"guest: no package has {pattern}")
    return found


def make_root(tree, root):
    """Copies the programs, and the libraries that they load, from the unpacked packages."""
    libraries = {p.name: p for p in tree_files(tree) if ".so" in p.name}
    pending, done = [p for pattern in PROGRAMS for p in matching(tree, pattern)], set()
    while pending:
        path = pending.pop()
        if path in done:
            continue
        done.add(path)
        target = root / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            link = os.readlink(path)
            target.symlink_to(link)
            pending.append(tree / link[1:] if link.startswith("/") else path.parent / link)
            continue
        shutil.copy2(path, target)
        target.chmod(0o755)
        pending += [libraries[name] for name in needed(path)]
    for folder in ("proc", "sys", "dev", "tmp", "run", "mnt", "etc/nvme", "bb", "lib/modules"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/mtab").symlink_to("/proc/mounts")
    for applet in run(tree / "bin/busybox", "--list").split():
        link = root / "bb" / applet
        link.symlink_to("/bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    (root / "agent").write_text(AGENT)
    (root / "agent").chmod(0o755)


def module_order(tree, names):
    """{name: [files to load, in order]} from the modules' own lists of dependencies."""
    files = {p.stem.replace("-", "_"): p for p in tree.rglob("*.ko")}

    def order(name, seen):
        path = files[name.replace("-", "_")]
        if path in seen:
            return
        info = path.read_bytes()
        for depends in re.findall(rb"\0depends=([^\0]*)\0", info):
            for other in filter(None, depends.decode().split(",")):
                order(other, seen)
        seen.append(path)

    orders = {}
    for name in names:
        orders[name] = []
        order(name, orders[name])
    return orders


def cpio(entries):
    """A newc archive of (path, mode, rdev, bytes); needs no root even for device nodes."""
    out = bytearray()
    for ino, (path, mode, rdev, data) in enumerate(entries + [("TRAILER!!!", 0, 0, b"")], 1):
        name = path.encode() + b"\0"
        fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev >> 8, rdev & 0xFF, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def make_initramfs(tree, path):
    orders = module_order(tree, MODULES)
    at_boot = list(dict.fromkeys(f.name for m in MODULES_AT_BOOT for f in orders[m]))
    for_scsi = [f for f in dict.fromkeys(f.name for m in MODULES_FOR_SCSI for f in orders[m]) if f not in at_boot]
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    entries = [(name, folder, 0, b"") for name in ("bin", "dev", "proc", "sys", "root", "modules")]
    entries += [("dev/console", stat.S_IFCHR | 0o600, 5 << 8 | 1, b""),
                ("dev/null", stat.S_IFCHR | 0o666, 1 << 8 | 3, b""),
                ("init", program, 0, INIT.encode()),
                ("bin/busybox", program, 0, (tree / "bin/busybox").read_bytes()),
                ("modules/at-boot", stat.S_IFREG | 0o644, 0, "\n".join(at_boot + [""]).encode()),
                ("modules/for-scsi", stat.S_IFREG | 0o644, 0, "\n".join(for_scsi + [""]).encode())]
    for file in sorted({f for files in orders.values() for f in files}):
        entries.append(("modules/" + file.name, program, 0, file.read_bytes()))
    path.write_bytes(cpio(entries))
    return {name: [f.name for f in files] for name, files in orders.items()}


def make_image(files, folder):
    """Unpacks the packages and makes vmlinuz, busybox, initramfs, root.img and
    modules.json in FOLDER."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        tree, root = Path(scratch) / "tree", Path(scratch) / "root"
        for link in ("bin", "sbin", "lib"):
            (tree / link).mkdir(parents=True)
        for name in files:
            subprocess.run(["dpkg-deb", "-x", DL_DIR / name, tree], check=True)
        shutil.copy(next((tree / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
        shutil.copy(tree / "bin/busybox", folder / "busybox")
        orders = make_initramfs(tree, folder / "initramfs")
        (folder / "modules.json").write_text(json.dumps(orders))
        make_root(tree, root)
        mib = sum(p.lstat().st_size for p in tree_files(root)) // (1 << 20) * 5 // 4 + 16
        subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d",
                        root, folder / "root.img", f"{mib}M"], check=True)


def build():
    """The folder of the guest for the packages that apt offers today, made if it has to be."""
    files = apt_uris(apt_closure())
    sources = Path(__file__).read_bytes() + Path(agent.__file__).read_bytes()
    key = hashlib.sha256(sources + json.dumps(files, sort_keys=True).encode())
    folder = CACHE / "guest" / key.hexdigest()[:16]
    CACHE.joinpath("guest").mkdir(parents=True, exist_ok=True)
    with open(CACHE / "guest" / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            fetch(files)
            fresh = Path(tempfile.mkdtemp(dir=CACHE / "guest"))
            try:
                make_image(files, fresh)
                fresh.rename(folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    return folder


if __name__ == "__main__":
    if sys.argv[1:] == ["--download"]:
        fetch(apt_uris(apt_closure()))
    else:
        print(build())
