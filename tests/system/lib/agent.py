# SPDX-License-Identifier: BSD-3-Clause
"""Running commands in a virtual machine: a shell loop there, its other end here.

The loop reads lines "ID BASE64" from a port and answers "ID STATUS BYTES" and the output.
"""
import base64
import itertools
from collections import namedtuple

from console import Console

Result = namedtuple("Result", "status output")

# $port is a device that was put into raw mode already; busybox's programs are in $PATH.
LOOP = r"""
exec 3<>$port
echo "AGENT READY" >&3
while read -r id text <&3; do
	echo "$text" | base64 -d > /tmp/.command
	sh /tmp/.command > /tmp/.output 2>&1 < /dev/null 3>&-
	status=$?
	echo "$id $status $(stat -c %s /tmp/.output)" >&3
	cat /tmp/.output >&3
done
"""


class Agent:
    """The near end, on the UNIX socket PATH of QEMU. FRESH: the machine starts now, and says when it is ready."""
    numbers = itertools.count(1)

    def __init__(self, path, log_path, what, fresh=True):
        self.console, self.what = Console.unix(path, log_path), what
        if fresh:
            self.ready()

    def ready(self, timeout_s=240):
        self.console.expect(r"AGENT READY\r?\n", timeout_s)

    def run(self, command, timeout_s=300):
        """Runs a shell COMMAND: Result(status, output)."""
        name = next(Agent.numbers)
        text = base64.b64encode(command.encode()).decode()
        self.console.send(f"{name} {text}\n")
        match = self.console.expect(rf"^{name} (\d+) (\d+)\n", timeout_s)
        status, size = int(match.group(1)), int(match.group(2))
        output = self.console.expect(rf"[\s\S]{{{size}}}", timeout_s).group() if size else ""
        return Result(status, output.encode("latin-1").decode("utf-8", "replace"))

    def check(self, command, timeout_s=300):
        """The output of COMMAND, which has to succeed."""
        result = self.run(command, timeout_s)
        if result.status:
            raise AssertionError(f"{self.what}: {command}\nexit status {result.status}\n"
                                 f"{result.output}")
        return result.output
