# SPDX-License-Identifier: BSD-3-Clause
"""A byte stream to talk to, such as a serial console: drained at all times by a thread, kept in a
log, and searched with deadlines."""
import re
import socket
import threading
import time


class ConsoleTimeout(AssertionError):
    """What was waited for did not come."""


class Console:
    """SOCK's bytes: `expect` waits for a pattern and consumes up to its end."""

    def __init__(self, sock, log_path):
        self.sock = sock
        self.log = open(log_path, "ab", buffering=0)
        self.log_path = log_path
        self.text = ""                  # everything since the start
        self.at = 0                     # consumed so far
        self.closed = False
        self.changed = threading.Condition()
        threading.Thread(target=self._drain, daemon=True).start()

    @classmethod
    def unix(cls, path, log_path):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(path))
        return cls(sock, log_path)

    def _drain(self):
        while True:
            try:
                data = self.sock.recv(65536)
            except OSError:
                data = b""
            if data:
                self.log.write(data)
            with self.changed:
                self.text += data.decode("latin-1")
                self.closed = not data
                self.changed.notify_all()
            if not data:
                return

    def send(self, data):
        self.sock.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def expect(self, pattern, timeout_s=60, since=None):
        """The match of regular expression PATTERN in what was not consumed yet (or from SINCE)."""
        regex = re.compile(pattern, re.M)
        deadline = time.monotonic() + timeout_s
        with self.changed:
            start = self.at if since is None else since
            while True:
                match = regex.search(self.text, start)
                if match:
                    self.at = match.end()
                    return match
                left = deadline - time.monotonic()
                if left <= 0 or self.closed:
                    why = "the stream ended" if self.closed else f"{timeout_s} s passed"
                    raise ConsoleTimeout(f"waited for {pattern!r}, but {why}; last it said:\n"
                                         + self.text[max(start, len(self.text) - 2000):])
                self.changed.wait(left)

    def mark(self):
        """A position for expect(since=) and for text_since."""
        with self.changed:
            return len(self.text)

    def text_since(self, mark):
        with self.changed:
            return self.text[mark:]

    def wait_closed(self, timeout_s=60):
        with self.changed:
            if not self.changed.wait_for(lambda: self.closed, timeout_s):
                raise ConsoleTimeout(f"the stream did not end within {timeout_s} s")

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
