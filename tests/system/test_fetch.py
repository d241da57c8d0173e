# SPDX-License-Identifier: BSD-3-Clause
"""Fetching third-party sources: what is pinned, what is done when the mirror has moved on, and what is said then."""
import hashlib
import importlib.util
from types import SimpleNamespace

import pytest

from conftest import TOP

spec = importlib.util.spec_from_file_location("fetch", TOP / "deps/fetch.py")
fetch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fetch)

PINNED, OLDER, NEWER, OTHER = b"pinned", b"older", b"newer", b"other"


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Mirror:
    """Stands in for apt: a mirror that offers FILES, {name: content}, and counts what is asked of it."""

    def __init__(self, files, broken=()):
        self.files, self.broken, self.asked, self.downloads = files, broken, 0, []

    def __call__(self, _folder):
        return self

    def update(self):
        self.asked += 1

    def offered(self, _kind, _name):
        for name, data in self.files.items():
            yield "1.0", f"mirror:{name}", name, digest(data)

    def download(self, uri, path, wanted):
        name = uri.removeprefix("mirror:")
        self.downloads.append(name)
        if name in self.broken:
            return False
        assert digest(self.files[name]) == wanted
        with open(path, "wb") as file:
            file.write(self.files[name])
        return True


def run(monkeypatch, tmp_path, mirror):
    monkeypatch.setattr(fetch, "Apt", mirror)
    return fetch.fetch(SimpleNamespace(apt=tmp_path / "apt", dl=str(tmp_path), kind="source", name="part",
                                       file="part_1.2.3.tar", sha256=digest(PINNED), series=r"part_1\.2\.[0-9]+\.tar"))


def test_a_cached_file_needs_no_network(monkeypatch, tmp_path):
    (tmp_path / "part_1.2.3.tar").write_bytes(PINNED)
    mirror = Mirror({})
    assert run(monkeypatch, tmp_path, mirror) == str(tmp_path / "part_1.2.3.tar")
    assert mirror.asked == 0


def test_a_damaged_cached_file_is_fetched_again(monkeypatch, tmp_path, capsys):
    (tmp_path / "part_1.2.3.tar").write_bytes(b"damaged")
    path = run(monkeypatch, tmp_path, Mirror({"part_1.2.3.tar": PINNED}))
    assert open(path, "rb").read() == PINNED
    assert "another hash than the pin" in capsys.readouterr().err


def test_the_pinned_file_is_preferred_to_newer_ones(monkeypatch, tmp_path):
    mirror = Mirror({"part_1.2.4.tar": NEWER, "part_1.2.3.tar": PINNED})
    assert open(run(monkeypatch, tmp_path, mirror), "rb").read() == PINNED
    assert mirror.downloads == ["part_1.2.3.tar"]


@pytest.mark.parametrize("broken", [(), ("part_1.2.3.tar",)], ids=["gone", "listed but not served"])
def test_the_newest_of_the_series_stands_in_and_says_so(monkeypatch, tmp_path, capsys, broken):
    files = {"part_1.2.4.tar": OLDER, "part_1.2.10.tar": NEWER, "part_1.3.0.tar": OTHER}
    if broken:
        files["part_1.2.3.tar"] = PINNED
    path = run(monkeypatch, tmp_path, Mirror(files, broken))
    assert open(path, "rb").read() == NEWER
    said = capsys.readouterr().err
    assert "part_1.2.3.tar, which is pinned" in said and "part_1.2.10.tar" in said and digest(NEWER) in said


def test_nothing_of_the_series_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(SystemExit) as failed:
        run(monkeypatch, tmp_path, Mirror({"part_1.3.0.tar": OTHER}))
    assert "part_1.2.3.tar" in str(failed.value) and digest(PINNED) in str(failed.value)
    assert str(tmp_path) in str(failed.value)


@pytest.mark.parametrize("entries,expected", [
    ([("http://a/debian", "bookworm"), ("http://a/debian-security", "bookworm-security")],
     ("http://a/debian", "http://a/debian-security")),
    ([("http://other/apt", "nodistro"), ("http://b/debian/", "bookworm")], ("http://b/debian", "http://b/debian-security")),
    ([("http://c/debian", "trixie"), ("http://d/sec", "trixie-security")], ("http://c/debian", "http://d/sec")),
])
def test_the_mirror_is_the_machines_own(monkeypatch, entries, expected):
    monkeypatch.setattr(fetch, "apt_entries", lambda: iter(entries))
    assert fetch.mirrors() == expected


def test_a_machine_without_a_debian_mirror_is_told(monkeypatch):
    monkeypatch.setattr(fetch, "apt_entries", lambda: iter([("http://other/apt", "nodistro")]))
    with pytest.raises(SystemExit, match="no Debian mirror"):
        fetch.mirrors()
