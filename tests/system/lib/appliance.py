# SPDX-License-Identifier: BSD-3-Clause
"""The appliance in QEMU: its serial console as an operator sees it, its drives, its power cord.

images/qemu.py knows the machine. With `saboteur` (direct boot only) a shell from Debian's busybox runs
beside the unchanged init, on a second serial port: the way to send karst a signal.
"""
import json
import os
import re
import sys
from pathlib import Path

import guest_image
from agent import LOOP, Agent
from console import Console
from logscan import trouble
from vm import Vm, free_port
from vm import boot as boot_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images"))
import qemu                                             # noqa: E402

PROMPT = "karst> "
READY_S = 180

SABOTEUR = r"""export PATH=/bb
(
while [ ! -c /dev/ttyS1 ]; do usleep 10000; done
port=/dev/ttyS1
stty -F $port raw -echo
""" + LOOP + """) < /dev/null > /dev/null 2>&1 &
exec /init
"""


class CommandError(Exception):
    """The console said no."""

    def __init__(self, command, answer):
        super().__init__(f"{command}: {answer.get('error')}")
        self.code, self.text = answer.get("code"), answer.get("error")


def saboteur_initramfs(out, folder):
    """The appliance's initramfs with busybox and the saboteur's script in front."""
    busybox = (guest_image.build() / "busybox").read_bytes()
    program, link = 0o100755, 0o120777
    applets = ("sh", "usleep", "stty", "stat", "base64", "cat", "kill", "pidof", "cut", "ls", "echo",
               "grep", "sleep", "dd", "sed", "awk", "ps")
    entries = [("bb", 0o040755, 0, b""), ("bb/busybox", program, 0, busybox),
               ("dev", 0o040755, 0, b""), ("dev/null", 0o020666, 1 << 8 | 3, b""),
               ("saboteur", 0o100644, 0, SABOTEUR.encode())]
    entries += [("bb/" + applet, link, 0, b"busybox") for applet in applets]
    path = folder / "initramfs"
    archive = guest_image.cpio(entries)
    path.write_bytes(archive + bytes(-len(archive) % 512)
                     + (out / "images/initramfs").read_bytes())
    return path


class Appliance:
    """A booted appliance. `port` of this machine reaches its NVMe/TCP port."""

    def __init__(self, out, folder, boot="direct", saboteur=False, ready=True, append="", extra=(),
                 **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.out = folder, out
        self.port = free_port()
        self.restarts = 0               # of karst, those that the test has caused
        self.allowed = None             # trouble that the test itself makes
        serial = folder / "serial"
        self.log_path = folder / f"console{len(list(folder.glob('console*.log')))}.log"
        arguments = qemu.command(
            out, boot=boot, folder=folder, forward={self.port: qemu.NVME_PORT},
            serial=f"unix:{serial},server=on,wait=on", reboot=options.pop("reboot", False),
            accel=os.environ.get("ACCEL"), append=append, extra=extra, **options)
        if saboteur:
            arguments = self.with_saboteur(arguments)
        boot_machine(lambda: self.start(arguments, serial, saboteur, ready))

    def start(self, arguments, serial, saboteur, ready):
        for name in ("serial", "qmp"):
            (self.folder / name).unlink(missing_ok=True)
        self.vm = Vm(arguments, self.folder)
        try:
            self.vm.socket_ready(serial)
            self.console = Console.unix(serial, self.log_path)
            if saboteur:
                self.vm.socket_ready(self.folder / "saboteur")
                self.agent = Agent(self.folder / "saboteur", self.folder / "saboteur.log", "saboteur")
            if ready:
                self.wait_ready()
        except AssertionError as error:
            raise self.vm.failed(error, self.log_path.read_text(errors="replace")) from None
        except BaseException:
            self.vm.kill()
            raise

    def with_saboteur(self, arguments):
        (self.folder / "saboteur").unlink(missing_ok=True)
        arguments = list(arguments)
        at = arguments.index("-initrd") + 1
        arguments[at] = str(saboteur_initramfs(self.out, self.folder))
        at = arguments.index("-append") + 1
        arguments[at] += " rdinit=/bb/sh -- /saboteur"
        return arguments + ["-serial", f"unix:{self.folder / 'saboteur'},server=on,wait=off"]

    def wait_ready(self, timeout_s=READY_S):
        """The words of the next READY line; then a prompt is there."""
        match = self.console.expect(r"READY (t_ms=[^\r\n]*)\r?\n", timeout_s)
        self.ready = dict(word.split("=") for word in match.group(1).split())
        self.console.expect(PROMPT, 30)
        return self.ready

    # The console

    def json(self, command, timeout_s=60):
        """What `COMMAND | json` prints."""
        mark = self.console.mark()
        self.console.send(f"{command} | json\r")
        # a bar may have been drawn, and wiped, before it
        text = self.console.expect(r'(?:^|\r)(\{"(?:ok|rows)".*\})\r?\n', timeout_s, since=mark).group(1)
        self.console.expect(PROMPT, timeout_s)
        return json.loads(text.encode("latin-1").decode("utf-8"))

    def ctl(self, command, timeout_s=60):
        """The rows of one command; CommandError when it fails."""
        answer = self.json(command, timeout_s)
        if not answer["ok"]:
            raise CommandError(command, answer)
        return answer["rows"]

    def sessions(self):
        return len(self.ctl("session list"))

    def log(self):
        """The texts of `log show`."""
        return [row["text"] for row in self.ctl("log show")]

    # Its end

    def check_log(self):
        text = self.log_path.read_text(errors="replace")
        found = trouble(text, self.allowed) + trouble(self.vm.log_path.read_text(errors="replace"))
        assert not found, f"{self.log_path}:\n" + "\n".join(found)
        starts = len(re.findall(r"READY t_ms=", text, re.M))
        assert starts <= 1 + self.restarts, f"karst started {starts} times, see {self.log_path}"

    def poweroff(self, timeout_s=60):
        """An orderly end from the console."""
        self.console.send("system poweroff\r")
        assert self.vm.wait(timeout_s) == 0
        self.check_log()

    def cut_power(self):
        self.vm.kill()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and self.vm.process.poll() is None:
                self.poweroff()
        finally:
            self.vm.kill()

