"""A small web server in a process of its own, which stands behind a proxy and notes what reaches it.

    python -m tests.support.people.backend PORT FILE

Every request is a line of FILE, in JSON, and the answer to it; /slow is answered after a moment, /events with
a stream of some pings, /silent with one on which nothing comes before its end, and a POST with `die` in its
path never: the process ends as by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PINGS, PING_SECONDS = 14, 0.25
SLOW_SECONDS = 0.03
END = b"data: end\n\n"


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place = ""

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(b"")
        elif self.path in ("/events", "/silent"):
            self._stream()
        else:
            line = self._note()
            if self.path == "/slow":
                time.sleep(SLOW_SECONDS)
            self._answer(line)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        line = self._note()
        if "die" in self.path:
            os.kill(os.getpid(), signal.SIGKILL)
        self._answer(line)

    def _note(self) -> bytes:
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"pid": os.getpid(), "method": self.command, "path": self.path, "headers": headers}
        line = json.dumps(said).encode() + b"\n"
        with open(self.place, "ab", buffering=0) as file:
            file.write(line)
        return line

    def _answer(self, content: bytes) -> None:
        """In one write, so that it is sent whole or not at all."""
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(content)}\r\nx-pid: {os.getpid()}\r\n\r\n"
        self.wfile.write(head.encode() + content * (self.command != "HEAD"))

    def _stream(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(PINGS):
            time.sleep(PING_SECONDS)
            if self.path == "/events":
                self.wfile.write(b":\n\n")
        self.wfile.write(END)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


if __name__ == "__main__":
    _Answers.place = sys.argv[2]
    _Server(("127.0.0.1", int(sys.argv[1])), _Answers).serve_forever()
