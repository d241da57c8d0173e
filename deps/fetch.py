#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Fetches one pinned file of Debian through apt, with an apt configuration of its own.

fetch.py --apt FOLDER --dl FOLDER (source|deb) NAME FILE SHA256 SERIES

Prints the path of the file. The file is taken from --dl when it is there with the right hash: then no network
and no package lists are needed. Otherwise the machine's own mirror and keyring are used, with the suites that
the pins come from; /etc/apt is read and never changed. When the mirror no longer has the pinned file, the
newest one whose name matches SERIES (a regular expression) is taken and said so: apt has checked its signature.
"""
import argparse
import fcntl
import glob
import hashlib
import os
import re
import subprocess
import sys
import time

SUITES = ("bookworm", "bookworm-updates", "bookworm-backports", "trixie")
SECURITY_SUITES = ("bookworm-security", "trixie-security")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_FRESH_S = 12 * 3600


def fail(text):
    sys.exit(f"deps: {text}")


def apt_entries():
    """(uri, suite) of every source that the machine's apt has."""
    for path in ["/etc/apt/sources.list"] + sorted(glob.glob("/etc/apt/sources.list.d/*.list")):
        if os.path.exists(path):
            for line in open(path, encoding="utf-8"):
                match = re.match(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line)
                if match:
                    yield match.groups()
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for block in re.split(r"\n\s*\n", open(path, encoding="utf-8").read()):
            fields = dict(re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", re.sub(r"(?m)^#.*\n", "", block)))
            if fields.get("Enabled", "yes").lower() == "no":
                continue
            for uri in fields.get("URIs", "").split():
                for suite in fields.get("Suites", "").split():
                    yield uri, suite


def mirrors():
    """The machine's mirror of Debian, and that of its security updates."""
    main = security = None
    for uri, suite in apt_entries():
        if re.fullmatch(r"(bookworm|trixie|stable|oldstable)-security|(stable|oldstable|bookworm|trixie)/updates", suite):
            security = security or uri
        elif re.fullmatch(r"bookworm|trixie|stable|oldstable", suite) and "debian" in uri:
            main = main or uri
    if not main:
        fail("no Debian mirror in /etc/apt: add one for bookworm, or put the files of `make source` into DL_DIR")
    main = main.rstrip("/")
    return main, (security or main + "-security").rstrip("/")


class Apt:
    """apt with its own sources, lists and cache under one folder."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.config = os.path.join(self.folder, "apt.conf")
        self.stamp = os.path.join(self.folder, "updated")

    def configure(self):
        main, security = mirrors()
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
        with open(os.path.join(self.folder, "sources.list"), "w", encoding="utf-8") as file:
            for uri, suites in ((main, SUITES), (security, SECURITY_SUITES)):
                for suite in suites:
                    file.write(f"deb-src {signed}{uri} {suite} main\n")
            # Only this binary package is ever wanted, and it is here.
            for uri, suite in ((security, "bookworm-security"), (main, "bookworm-updates"), (main, "bookworm")):
                file.write(f"deb [arch=amd64{' signed-by=' + KEYRING if signed else ''}] {uri} {suite} main\n")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'Dir::Etc::sourcelist "{self.folder}/sources.list";\n'
                       f'Dir::Etc::sourceparts "{self.folder}/parts";\n'
                       f'Dir::State::lists "{self.folder}/lists";\n'
                       f'Dir::Cache "{self.folder}/cache";\n'
                       'APT::Architecture "amd64";\nAPT::Get::List-Cleanup "false";\nAcquire::Languages "none";\n'
                       'Acquire::Retries "3";\nAPT::Sandbox::User "";\n'
                       '#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n'
                       '#clear APT::Update::Pre-Invoke;\n#clear DPkg::Post-Invoke;\n')

    def run(self, program, *arguments):
        done = subprocess.run([program, "-c", self.config, *arguments], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def update(self):
        """Reads the package lists when they are old; of several at once the first does it."""
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(self.stamp) or time.time() - os.path.getmtime(self.stamp) > LISTS_FRESH_S:
                self.update_lists()

    def update_lists(self):
        self.configure()
        print("deps: reading the package lists of the mirror", file=sys.stderr)
        code, out, err = self.run("apt-get", "update", "-q")
        if code != 0:
            fail(f"apt-get update failed:\n{out[-1500:]}{err[-1500:]}")
        with open(self.stamp, "w", encoding="utf-8"):
            pass

    def offered(self, kind, name):
        """(version, uri, file, sha256) of what the mirror has, newest first."""
        program, field = ("showsrc", "Version") if kind == "source" else ("show", "Version")
        _, out, _ = self.run("apt-cache", program, name)
        versions = []
        for version in re.findall(rf"(?m)^{field}: (\S+)$", out):
            if version not in versions:
                versions.append(version)
        for version in versions:
            verb = ["source", "--only-source", "--download-only"] if kind == "source" else ["download"]
            _, out, _ = self.run("apt-get", "-q", *verb, "--print-uris", f"{name}={version}")
            for uri, file, digest in re.findall(r"(?m)^'([^']+)' (\S+) \d+ SHA256:([0-9a-f]{64})", out):
                yield version, uri, file, digest

    def download(self, uri, path, digest):
        partial = f"{path}.{os.getpid()}.partial"
        code, out, err = self.run("/usr/lib/apt/apt-helper", "download-file", uri, partial, "SHA256:" + digest)
        if code != 0:
            print(f"deps: cannot download {uri}:\n{out[-800:]}{err[-800:]}", file=sys.stderr)
            return False
        os.replace(partial, path)
        return True


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def version_key(text):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def fetch(options):
    path = os.path.join(options.dl, options.file)
    if os.path.exists(path):
        found = sha256(path)
        if found == options.sha256:
            return path
        os.rename(path, path + ".bad")
        print(f"deps: {path} has another hash than the pin ({found}); set aside as .bad", file=sys.stderr)
    os.makedirs(options.dl, exist_ok=True)
    apt = Apt(options.apt)
    apt.update()
    offered = list(apt.offered(options.kind, options.name))
    for _, uri, _, digest in offered:
        if digest == options.sha256:
            print(f"deps: downloading {options.file}", file=sys.stderr)
            if apt.download(uri, path, digest):
                return path
            break
    series = [entry for entry in offered if re.fullmatch(options.series, entry[2]) and entry[3] != options.sha256]
    for version, uri, file, digest in sorted(series, key=lambda entry: version_key(entry[2]), reverse=True):
        path = os.path.join(options.dl, file)
        if (os.path.exists(path) and sha256(path) == digest) or apt.download(uri, path, digest):
            print(f"deps: NOTE: {options.file}, which is pinned, cannot be had from the mirror.\n"
                  f"deps: NOTE: using {file} ({options.name} {version}) instead; apt has checked its signature.\n"
                  f"deps: NOTE: to keep it, pin it in deps/: SHA256 {digest}", file=sys.stderr)
            return path
    return fail(f"{options.file} is not on the mirror, nor anything like it ({options.series}).\n"
                f"  Put that file (SHA256 {options.sha256}) into {options.dl},\n"
                f"  or run `rm -rf {options.apt}` and try again if the mirror was incomplete,\n"
                f"  or pin what the mirror has in deps/: {sorted({e[2] for e in offered}) or 'nothing'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--apt", required=True, help="folder for apt's lists and configuration")
    parser.add_argument("--dl", required=True, help="folder where downloads are kept")
    parser.add_argument("kind", choices=("source", "deb"))
    parser.add_argument("name", help="Debian source package or binary package")
    parser.add_argument("file")
    parser.add_argument("sha256")
    parser.add_argument("series", help="regular expression of the files that may stand in for FILE")
    print(fetch(parser.parse_args()))


if __name__ == "__main__":
    main()
