"""The Neuroglancer client of the neuroglancer wheel: its files, and pages that load them."""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources.abc import Traversable

from chunkflow.people.viewing.served import FileInMemory, ServedFile

CLIENT_FILE = re.compile(r"[a-zA-Z0-9][\w.-]*\.(?:js|map|css|wasm)$")
STATIC_FILE = re.compile(r"[a-z][a-z-]*\.(?:js|css|svg)$")


@dataclass(frozen=True)
class ClientFiles:
    """What a page must load to become the client, in this order."""

    scripts: tuple[str, ...]
    styles: tuple[str, ...]


@cache
def client_files() -> ClientFiles:
    """What the wheel's own page loads."""
    page = _client().joinpath("index.html").read_text(encoding="utf-8")
    return ClientFiles(
        tuple(re.findall(r'<script[^>]* src="([^"]+)"', page)),
        tuple(re.findall(r'<link[^>]* href="([^"]+\.css)"', page)),
    )


def client_file(name: str) -> ServedFile | None:
    """A file of the client."""
    return _content(_client().joinpath(name)) if CLIENT_FILE.fullmatch(name) else None


def static_file(name: str) -> ServedFile | None:
    """A script or style of ours."""
    here = importlib.resources.files("chunkflow.people.service").joinpath("static", name)
    return _content(here) if STATIC_FILE.fullmatch(name) else None


def _client() -> Traversable:
    return importlib.resources.files("neuroglancer.static").joinpath("client")


def _content(file: Traversable) -> ServedFile | None:
    return FileInMemory(file.read_bytes()) if file.is_file() else None
