"""The servers that are compared, each in a process of its own, over one folder of files."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service.serving import VIEW_PREFIX
from testbed.moto import free_port

NGINX = """
worker_processes 1; daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; etag on; default_type application/octet-stream; keepalive_requests 1000000000;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{ listen 127.0.0.1:{port}; root {files}; add_header Cache-Control no-cache; }}
}}
"""


@dataclass(frozen=True)
class FileServer:
    """A server under load: what it is called, its port, and what stands before the name of a file."""

    name: str
    port: int
    prefix: str = ""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}/{name}"


@contextmanager
def all_servers(place: Path, files: Path, some_file: str) -> Iterator[list[FileServer]]:
    """nginx, a bare ASGI application and the service; a row more is one line more."""
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str], port: int, prefix: str = "") -> FileServer:
            server = FileServer(name, port, prefix)
            stack.enter_context(_running(command, server.url(some_file)))
            return server

        own = [sys.executable, "-m", "benchmarks.service.serving"]
        nginx, bare, view = free_port(), free_port(), free_port()
        (place / "nginx.conf").write_text(NGINX.format(place=place, files=files, port=nginx))
        yield [
            start("nginx", ["nginx", "-e", f"{place}/nginx.log", "-c", f"{place}/nginx.conf"], nginx),
            start("bare ASGI", [*own, "bare", str(files), str(bare)], bare),
            start("service", [*own, "view", str(files), str(view)], view, VIEW_PREFIX),
        ]


@contextmanager
def _running(command: Sequence[str], url: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode}") from None
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()
