"""A service for one person over plain folders, and how to ask it."""

from __future__ import annotations

import http.client

from chunkflow.people.service.app import Service
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.local.server import LocalServer
from chunkflow.people.viewing.sources import source_of

CONTENT = bytes(range(256)) * 20
"""What the files of a layer hold."""


def folder_server(folders: dict[str, str], port: int = 0) -> LocalServer:
    """A server for folders or buckets by name, whatever lies in them; it is not started."""
    sources = {name: source_of(url) for name, url in folders.items()}
    service = Service.of(DataSet("set", sources, lambda base: {"base": base}))
    return LocalServer(service, "token", port)


def ask(
    server: LocalServer, path: str, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask for a path below the token; the names of headers have _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/{server.token}/{path}", body or None, named)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content
