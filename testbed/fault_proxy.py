"""A proxy before a store that fails as stores do, by a plan that a seed decides.

A request is numbered among those for the same method and key, so what befalls it follows from the seed
alone, whichever thread comes first. What may befall it:
1. slow down   503, and the store hears nothing of it;
2. reset       the connection is reset, and the store hears nothing of it;
3. lost        the store does as asked, and the connection is cut before its answer;
4. short       the answer promises all its bytes and is cut in the middle;
5. torn        the same, by a reset.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

FAULTS = ("slow down", "reset", "lost", "short", "torn")
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "server", "date"}


@dataclass
class Faults:
    """What goes wrong, and what has gone wrong so far."""

    rate: float = 0.0
    """The share of requests that a fault befalls."""
    seed: int = 0
    in_a_row: int = 2
    """Faults of the same method and key that may follow each other."""
    kinds: tuple[str, ...] = FAULTS
    only: str = ""
    """A pattern; faults befall what is asked (as in `GET /bucket/key`) and matches it."""
    latency: float = 0.0
    """Seconds that every answer takes longer."""
    dead: str = ""
    """A pattern; what is asked and matches it gets 503, for ever."""
    hung: str = ""
    """A pattern; what is asked and matches it gets no answer, for ever."""
    met: Counter[str] = field(default_factory=Counter)
    """How often each fault befell a request, and under `requests` how many there were."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often each thing was asked for."""
    keys: set[str] = field(default_factory=set)
    """The access keys that requests were signed with."""
    _row: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, method: str, path: str) -> str:
        """What befalls this request; empty for nothing."""
        request = f"{method} {unquote(path)}"
        with self._lock:
            self.asked[request] += 1
            self.met["requests"] += 1
            fault = self._fault(request, f"{self.seed} {request} {self.asked[request]}", method)
            self._row[request] = self._row[request] + 1 if fault else 0
            self.met[fault] += bool(fault)
        return fault

    def _fault(self, request: str, seed: str, method: str) -> str:
        if self.dead and re.search(self.dead, request):
            return "slow down"
        if self.hung and re.search(self.hung, request):
            return "hung"
        chance = random.Random(seed)
        if self._row[request] >= self.in_a_row or chance.random() >= self.rate:
            return ""
        if not re.search(self.only, request):
            return ""
        # an answer to HEAD has no body that could be cut; only what is read is worth cutting in the middle
        possible = self.kinds if method == "GET" else [k for k in self.kinds if k not in ("short", "torn")]
        return chance.choice(list(possible)) if possible else ""


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults
    store: tuple[str, int]
    closing: threading.Event

    def do(self) -> None:
        url = urlparse(self.path)
        self.faults.keys |= set(re.findall(r"Credential=([^/]+)/", self.headers.get("Authorization") or ""))
        fault = self.faults.next(self.command, url.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.faults.latency:
            time.sleep(self.faults.latency)
        if fault == "hung":
            self.closing.wait()
        if fault in ("reset", "hung"):
            self._reset()
        elif fault == "slow down":
            self._answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)
        else:
            status, headers, content = self._ask_store(body)
            if fault == "lost":
                self._reset()
            else:
                self._answer(status, headers, content, cut=fault if content else "")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = do  # noqa: N815

    def _ask_store(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
        store = http.client.HTTPConnection(*self.store, timeout=60)
        try:
            store.request(self.command, self.path, body or None, headers)
            answer = store.getresponse()
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP]
            return answer.status, kept, answer.read()
        finally:
            store.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: str = "") -> None:
        self.send_response(status)
        known = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in known and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut == "torn":
            self._reset()
        elif cut:
            self.close_connection = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # who asks may give up, too
            super().handle()

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def fault_proxy(store: str, faults: Faults) -> Iterator[str]:
    """Run a proxy before the store at this address; gives the address to ask instead."""
    url, closing = urlparse(store), threading.Event()
    about = {"faults": faults, "store": (url.hostname, url.port), "closing": closing}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), about))
    server.daemon_threads = True
    server.request_queue_size = 128
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
