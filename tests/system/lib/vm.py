# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU process: started so that it dies with the tests, driven by QMP, ended by its own id."""
import ctypes
import json
import re
import signal
import socket
import subprocess
import time
import warnings
from pathlib import Path


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)          # PR_SET_PDEATHSIG


def free_port():
    """A TCP port that nobody has at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def spawn(args, log_path, **kwargs):
    """Starts a process whose output goes to LOG_PATH and which ends when the tests end."""
    with open(log_path, "ab") as log:
        return subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, preexec_fn=_die_with_parent, **kwargs)


def wait_for(what, ready, process, timeout_s=30):
    """Returns READY() once it is true; fails at once when PROCESS ends before."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = ready()
        if result:
            return result
        try:
            status = process.wait(0.01)
        except subprocess.TimeoutExpired:
            status = None
        if status is not None:
            raise AssertionError(f"{what}: process ended with status {status}")
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s")


class Qmp:
    """The QEMU monitor protocol. The greeting waits until somebody asks something: QEMU gives it only
    once it runs, that is after a serial port with wait=on has been connected."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("r")
        self.events = []
        self.greeted = False

    def greet(self):
        if not self.greeted:
            self.greeted = True
            json.loads(self.file.readline())
            self("qmp_capabilities")

    def __call__(self, execute, **arguments):
        self.greet()
        self.sock.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise AssertionError(f"QMP {execute}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def wait_event(self, name, match=lambda data: True):
        """The first event NAME that MATCHes its data, now or later."""
        self.greet()
        while True:
            for event in self.events:
                if event["event"] == name and match(event.get("data", {})):
                    self.events.remove(event)
                    return event
            line = self.file.readline()
            if not line:
                raise AssertionError(f"QMP: the monitor closed before {name}")
            self.events.append(json.loads(line))


class QemuDied(AssertionError):
    """QEMU ended by a signal that nobody sent: a fault of its own, before the machine was up."""


def boot(start, attempts=3):
    """START() brings a machine up. When QEMU itself crashes meanwhile, which it does once in many hundred
    boots, that is said in the summary and the machine is started again."""
    for left in reversed(range(attempts)):
        try:
            return start()
        except QemuDied as error:
            if not left:
                raise
            warnings.warn(f"started again: {error}", stacklevel=2)


class Vm:
    """QEMU with a QMP socket in FOLDER; ARGS are the rest of its command line."""

    def __init__(self, args, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.folder / "qemu.log"
        qmp = self.folder / "qmp"
        self.process = spawn(list(args) + ["-qmp", f"unix:{qmp},server=on,wait=off"],
                             self.log_path)
        try:
            self.connect(qmp)
        except BaseException:
            self.kill()
            raise

    def connect(self, qmp_path):
        try:
            self.socket_ready(qmp_path)
            self.qmp = Qmp(qmp_path)
        except (AssertionError, OSError) as error:
            raise AssertionError(f"QEMU did not start: {error}\n"
                                 + self.log_path.read_text(errors="replace")) from None

    def socket_ready(self, path):
        """Waits until QEMU listens on the UNIX socket PATH: it exists a moment before."""
        listening = re.compile(rf"^\S+ \S+ \S+ 00010000 .* {re.escape(str(path))}$", re.M)
        wait_for(f"QEMU socket {path}", lambda: listening.search(Path("/proc/net/unix").read_text()),
                 self.process)

    def wait(self, timeout_s=60):
        """QEMU's exit status, once the machine has powered off."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the machine did not power off within {timeout_s} s") from None

    def failed(self, error, console):
        """What to raise when the machine did not come up: with ERROR, QEMU's words and the CONSOLE's."""
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            status = None
        self.kill()
        kind = QemuDied if status is not None and status < 0 else AssertionError
        return kind(f"{error}\nQEMU, exit status {status}: {self.log_path.read_text(errors='replace')}"
                    f"\nconsole: {console[-2000:]}")

    def kill(self):
        """Power cut."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
