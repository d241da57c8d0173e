# SPDX-License-Identifier: BSD-3-Clause
"""A hosted karst: started with a script, asked with `karst ctl`, ended in order and checked."""
import json
import re
import subprocess

from logscan import trouble
from vm import free_port, spawn, wait_for


class CtlError(Exception):
    """`karst ctl` said no: the stable code and the text of the error."""

    def __init__(self, command, answer):
        super().__init__(f"{command}: {answer.get('error')}")
        self.code, self.text = answer.get("code"), answer.get("error")


class Karst:
    """A process of BINARY in FOLDER running the commands of SCRIPT, where PORT and FOLDER are set."""

    def __init__(self, binary, folder, script, args=(), port=None, user=None, ready_s=60, env=None):
        self.binary, self.folder = binary, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.socket = folder / "karst.sock"
        self.log_path = folder / f"karst{len(list(folder.glob('karst*.log')))}.log"
        self.allowed = None             # trouble that the test itself makes
        command = [binary, "-s", self.socket, "--no-huge", *args]
        if script is not None:
            path = folder / "startup.rc"
            path.write_text(script.format(port=self.port, folder=folder))
            command += ["-f", path]
        self.process = spawn(command, self.log_path, user=user, env=env)
        try:
            self.ready = wait_for(f"{binary} READY", lambda: re.search(
                r"^READY t_ms=(\d+).*$", self.log(), re.M), self.process, ready_s)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def ctl_run(self, *args):
        """`karst ctl ARGS`: the CompletedProcess."""
        return subprocess.run([self.binary, "ctl", "-s", self.socket, *args], text=True,
                              capture_output=True, timeout=60, check=False)

    def ctl(self, command):
        """The rows of one command; CtlError when it fails."""
        done = self.ctl_run("-j", *command.split())
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"karst ctl -j {command}: status {done.returncode}, not JSON:\n"
                                 f"{done.stdout}{done.stderr}") from None
        assert done.returncode == (0 if answer["ok"] else 1), done
        if not answer["ok"]:
            raise CtlError(command, answer)
        return answer["rows"]

    def cpu_seconds(self):
        """What the process has burnt so far, in user and kernel mode."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def check_log(self):
        found = trouble(self.log(), self.allowed)
        assert not found, f"{self.log_path}:\n" + "\n".join(found)

    def stop(self, timeout_s=30):
        """An orderly end: status 0 and a clean log."""
        assert self.process.poll() is None, \
            f"karst ended by itself, status {self.process.returncode}:\n{self.log()[-4000:]}"
        self.process.terminate()
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"karst did not end within {timeout_s} s of SIGTERM:\n"
                                 f"{self.log()[-4000:]}") from None
        assert status == 0, f"karst ended with status {status}:\n{self.log()[-4000:]}"
        self.check_log()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()


def memory_in_use(karst):
    """{pool: in use} of `memory show`."""
    used = {}
    for row in karst.ctl("memory show"):
        values = list(row.items())
        used[str(values[0][1])] = row["used"]
    assert used
    return used


def wait_memory(karst, before, timeout_s=20):
    """Waits until every pool has given back what it had more than BEFORE."""
    def same():
        more = {k: (before.get(k, 0), v) for k, v in memory_in_use(karst).items()
                if v > before.get(k, 0)}
        state["more"] = more
        return not more

    state = {}
    try:
        wait_for("memory given back", same, karst.process, timeout_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: (before, now) {state['more']}") from None
