"""A real HAProxy before two small servers, on 127.0.0.1 and free ports, ended by process id."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chunkflow.people.service.lab.haproxy import write_haproxy
from testbed.moto import free_port

ROOT = Path(__file__).parents[3]
SECONDS = 30.0


@dataclass
class Proxied:
    """Two servers behind HAProxy."""

    port: int
    notes: Path
    """What reached the servers, a line of JSON each."""
    backends: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, source: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own."""
        return self.ask_all(path, 1, method, headers, source)[0]

    def ask_all(
        self,
        path: str,
        count: int,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        source: str = "",
    ) -> list[tuple[int, dict[str, str], bytes]]:
        """The same request so many times on one connection, as from the address `source`."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=SECONDS, source_address=(source, 0) if source else None
        )
        answers = []
        for _ in range(count):
            connection.request(method, path, b"{}" if method == "POST" else None, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            answers.append((answer.status, named, answer.read()))
        connection.close()
        return answers

    def arrived(self) -> list[dict[str, Any]]:
        """The requests that have reached the servers, without those for their health."""
        return [json.loads(line) for line in self.notes.read_text().splitlines()]


@contextmanager
def proxied(
    folder: Path,
    changes: Mapping[str, str] | None = None,
    certificate: Path | None = None,
    user_header: str = "",
) -> Iterator[Proxied]:
    """Start two servers and HAProxy; `changes` has texts of its configuration and what replaces them."""
    notes = folder / "arrived.jsonl"
    notes.touch()
    found = Proxied(free_port(), notes)
    ports = [free_port(), free_port()]
    file = folder / "haproxy.cfg"
    write_haproxy(
        file, found.port, ports, host="127.0.0.1", certificate=certificate or "", user_header=user_header
    )
    text = file.read_text()
    for before, after in (changes or {}).items():
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    try:
        for port in ports:
            words = [sys.executable, "-m", "tests.support.people.backend", str(port), str(notes)]
            found.backends.append(subprocess.Popen(words, cwd=ROOT))
        for port in ports:
            wait_for_port(port)
        with running([program("haproxy"), "-f", str(file)]):
            wait_for_port(found.port)
            yield found
    finally:
        for process in found.backends:
            process.kill()
            process.wait(SECONDS)


def program(name: str) -> str:
    """A program that these tests need; Debian has some of them out of the PATH."""
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if path is None:
        pytest.fail(f"These tests start {name}: apt install {name}")
    return path


def accepted(file: Path) -> subprocess.CompletedProcess[str]:
    """What HAProxy says of a configuration."""
    words = [program("haproxy"), "-c", "-f", str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@contextmanager
def running(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program until its end by its id."""
    process = subprocess.Popen(words)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)


def wait_for_port(port: int) -> None:
    """Until something takes connections there."""
    deadline = time.monotonic() + SECONDS
    while True:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, f"nothing takes connections at port {port}"
        time.sleep(0.02)
