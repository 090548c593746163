"""A real nginx with the configuration of docs/serve.md, before one small server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.moto import free_port
from testbed.people.certificates import make_certificate
from tests.support.people.haproxy import Proxied, program, running, wait_for_port

ROOT = Path(__file__).parents[3]
WHOLE = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{block}
}}
"""


def documented() -> str:
    """The block of the page."""
    found = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "serve.md").read_text("utf-8"), re.S)
    (block,) = found
    return str(block)


def write_nginx(folder: Path, changes: dict[str, str]) -> Path:
    """The page's block in a whole configuration, with what must be another in a test."""
    block = documented()
    certificate = str(make_certificate(folder / "lab.pem"))
    changes |= {f"/etc/ssl/lab/{name}.pem": certificate for name in ("fullchain", "privkey")}
    for before, after in changes.items():
        assert before in block
        block = block.replace(before, after)
    file = folder / "nginx.conf"
    file.write_text(WHOLE.format(folder=folder, block=block))
    return file


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    """What nginx says of a configuration."""
    words = [program("nginx"), "-t", "-c", str(file)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@contextmanager
def behind_nginx(folder: Path) -> Iterator[Proxied]:
    """Start one server and nginx, by plain HTTP."""
    notes = folder / "arrived.jsonl"
    notes.touch()
    found, port = Proxied(free_port(), notes), free_port()
    changes = {
        "listen 443 ssl http2": f"listen 127.0.0.1:{found.port}",
        "127.0.0.1:8080": f"127.0.0.1:{port}",
    }
    file = write_nginx(folder, changes)
    words = [sys.executable, "-m", "tests.support.people.backend", str(port), str(notes)]
    found.backends.append(subprocess.Popen(words, cwd=ROOT))
    try:
        wait_for_port(port)
        with running([program("nginx"), "-c", str(file)]):
            wait_for_port(found.port)
            yield found
    finally:
        found.backends[0].kill()
        found.backends[0].wait()
