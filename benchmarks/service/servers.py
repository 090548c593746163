"""The servers that are compared, each in processes of its own, over one folder of files."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.service.serving import VIEW_PREFIX
from chunkflow.errors import BadInput
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Role
from chunkflow.people.service.lab.haproxy import write_haproxy
from chunkflow.people.service.lab.serve import serve
from chunkflow.people.service.local.server import listening
from testbed.moto import free_port
from testbed.people.certificates import make_certificate

NGINX = """
worker_processes 1; daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; etag on; default_type application/octet-stream; keepalive_requests 1000000000;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {files}; add_header Cache-Control no-cache;
    location = /health {{ return 200; }}
  }}
}}
"""
REQUESTS_BAR, LATENCY_BAR, PROXIED_BAR = 0.35, 0.25, 0.5
PROCESSES = 2
ANY_CERTIFICATE = ssl._create_unverified_context()


@dataclass(frozen=True)
class FileServer:
    """A server under load: what it is called, its port, and what stands before the name of a file."""

    name: str
    port: int
    prefix: str = ""
    scheme: str = "http"
    token: str = ""
    """By which the accounts of a lab know who asks."""
    requests_bar: float | None = None
    """How many of the requests of the first server beside it this one should answer."""
    latency_bar: float | None = None

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def ask(self, name: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """The status and the content of a file."""
        known = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        place = f"{self.origin}{self.prefix}/{name}"
        asked = urllib.request.Request(place, headers=known | dict(headers or {}))
        with urllib.request.urlopen(asked, timeout=5, context=ANY_CERTIFICATE) as answer:
            return answer.status, answer.read()


@contextmanager
def all_servers(place: Path, files: Path, some_file: str) -> Iterator[list[list[FileServer]]]:
    """Servers in groups, the peer first in each: one process each, then behind HAProxy, then by TLS."""
    nginx, bare = FileServer("nginx", free_port()), FileServer("bare ASGI", free_port())
    view = FileServer("service", free_port(), VIEW_PREFIX)
    view = replace(view, requests_bar=REQUESTS_BAR, latency_bar=LATENCY_BAR)
    own = [sys.executable, "-m", "benchmarks.service.serving"]
    (place / "nginx.conf").write_text(NGINX.format(place=place, files=files, port=nginx.port))
    commands: list[tuple[FileServer, list[str]]] = [
        (nginx, ["nginx", "-e", f"{place}/nginx.log", "-c", f"{place}/nginx.conf"]),
        (bare, [*own, "bare", str(files), str(bare.port)]),
        (view, [*own, "view", str(files), str(view.port)]),
    ]
    with ExitStack() as stack:
        for server, command in commands:
            stack.enter_context(_running(command, server, some_file))
        lab = stack.enter_context(_lab(place, files))
        alone = replace(lab[0], name="lab, by token", requests_bar=REQUESTS_BAR, latency_bar=LATENCY_BAR)
        behind = [
            [stack.enter_context(_proxied(place, backends, some_file, scheme)) for backends in ([nginx], lab)]
            for scheme in ("http", "https")
        ]
        yield [[nginx, bare, view, alone], *behind]


@contextmanager
def _lab(place: Path, files: Path) -> Iterator[list[FileServer]]:
    """Two processes of a lab with accounts, each at a port of its own."""
    database = str(place / "lab.sqlite")
    accounts = Accounts.open(database)
    token = accounts.add("bench", Role.LOOK) or ""
    accounts.close()
    (place / "catalog.yaml").write_text(json.dumps({"datasets": {"set": {"layer": str(files)}}}))
    catalogue, port = place / "catalog.yaml", _port_before_free_ones(PROCESSES)
    with serve(catalogue, port=port, database=database, processes=PROCESSES, behind_proxy=True) as service:
        prefix = "/d/set/data/set"
        yield [
            FileServer("two processes", port, prefix, token=token, requests_bar=PROXIED_BAR)
            for port in service.backends
        ]


def _port_before_free_ones(count: int) -> int:
    """A port that so many free ones follow, out of those that the system hands out by itself."""
    for port in range(21_000, 31_000, count + 1):
        with ExitStack() as stack, suppress(BadInput):
            for number in range(1, count + 1):
                stack.enter_context(listening(port + number))
            return port
    raise RuntimeError("there are no free ports from 21000 to 31000")


@contextmanager
def _proxied(
    place: Path, backends: Sequence[FileServer], some_file: str, scheme: str
) -> Iterator[FileServer]:
    """Servers behind a HAProxy of their own, with the configuration that the service writes."""
    behind = f"{backends[0].name} behind HAProxy{' with TLS' if scheme == 'https' else ''}"
    server = replace(backends[0], name=behind, port=free_port(), scheme=scheme)
    file, ports = place / f"{server.port}.cfg", [one.port for one in backends]
    certificate = make_certificate(place / "lab.pem") if scheme == "https" else ""
    write_haproxy(file, server.port, ports, host="127.0.0.1", certificate=certificate)
    with _running(["haproxy", "-f", str(file)], server, some_file):
        yield server


@contextmanager
def _running(command: Sequence[str], server: FileServer, some_file: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                server.ask(some_file)
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode}") from None
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
