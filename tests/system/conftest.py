# SPDX-License-Identifier: BSD-3-Clause
"""What every system test stands on: the build's outputs, deadlines, and the rule that a log with a
panic or a sanitizer's report fails whatever test caused it."""
import os
import signal
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / "tests/system/lib"), str(TOP / "images")]

DEADLINE_S = 600
FIGURES = []


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): ends a test that takes longer")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs fails at its deadline instead of holding up the run."""
    marker = item.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE_S

    def expired(_signal, _frame):
        raise TimeoutError(f"the test's deadline of {seconds} s has passed")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def figure(request):
    """Call it with a line that is worth reading: all lines are printed at the end of the run."""
    return lambda text: FIGURES.append(f"{request.node.name}: {text}")


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)


def pytest_sessionfinish(session, exitstatus):
    """Disk images are kept only for looking into a failure."""
    if exitstatus == 0 and hasattr(session.config, "_tmp_path_factory"):
        for image in session.config._tmp_path_factory.getbasetemp().rglob("*.img"):
            image.unlink()


@pytest.fixture(scope="session")
def out():
    """The build's output folder (O= of make)."""
    return Path(os.environ.get("KARST_OUT") or TOP / "out").resolve()


def artefact(path, target):
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make {target}` (KARST_OUT names another out/)",
                    pytrace=False)
    return path


@pytest.fixture(scope="session")
def images(out):
    """The build's folder, once everything that boots is in it."""
    for name in ("bzImage", "initramfs", "cmdline", "disk.img"):
        artefact(out / "images" / name, "image")
    return out


@pytest.fixture(scope="module")
def served(images, tmp_path_factory):
    """An appliance with two drives, served to whoever connects: .port and .nqn. A new one for each file: some pull drives."""
    from appliance import Appliance
    import nvme_tcp
    with Appliance(images, tmp_path_factory.mktemp("appliance"), saboteur=True) as appliance:
        entries = nvme_tcp.discover("127.0.0.1", appliance.port)
        appliance.nqn = next(e.subnqn for e in entries if e.subtype == 2)
        yield appliance


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    """The stock Debian guest."""
    from guest import Guest
    machine = Guest(tmp_path_factory.mktemp("guest"), cpus=2)
    yield machine
    machine.stop()
