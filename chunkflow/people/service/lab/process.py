"""One process of a lab's service: `python -m chunkflow.people.service.lab.process`.

What it serves comes on its standard input as one line of JSON; it ends when that input ends, and so with
the process that began it. It says `ready` once it answers, else a sentence on why it cannot.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from chunkflow.errors import ChunkflowError
from chunkflow.people.accounts.opening import open_accounts
from chunkflow.people.service.app import LabService
from chunkflow.people.service.catalogue.catalogues import LabCatalogue
from chunkflow.people.service.lab.proxies import BehindProxies
from chunkflow.people.service.local.server import accepting, server_settings
from chunkflow.people.service.local.token import TokenInPath
from chunkflow.people.viewing.remote import CACHE_BYTES, SHARED

READY = "ready"
GB = 1 << 30
ASKED_HEADERS = ("authorization", "content-type", "if-none-match", "if-range", "range")
SHOWN_HEADERS = ("accept-ranges", "content-encoding", "content-length", "content-range", "etag")


class ProcessSettings(BaseModel):
    """What a process serves, and to whom."""

    model_config = ConfigDict(frozen=True)

    sources: tuple[str, ...]
    handle: int
    """The number of the listening socket that it was given."""
    database: str = ""
    person: str = ""
    """The one person who uses it, where there are no accounts."""
    token: str = ""
    """What stands before every address, where there are no accounts."""
    proxies: tuple[str, ...] = ()
    user_header: str = ""
    forwarders: tuple[str, ...] = ()
    """Proxies that say where a request comes from, and vouch for nobody."""
    origins: tuple[str, ...] = ()
    """Pages elsewhere whose scripts may ask with a token."""
    cache_gb: float = CACHE_BYTES / GB
    """The memory for what was read of layers in buckets."""


class LabServer(uvicorn.Server):
    """A server that says when it answers, and ends its open streams first when it stops."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        print(READY, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping)


def application(service: LabService, settings: ProcessSettings) -> ASGIApp:
    """The application, with all that stands before it."""
    app = service.app()
    if settings.token:
        return TokenInPath(app, settings.token)
    if settings.origins:
        methods = ("GET", "HEAD", "POST", "PUT")
        app = CORSMiddleware(app, settings.origins, methods, ASKED_HEADERS, expose_headers=SHOWN_HEADERS)
    return BehindProxies(app, settings.proxies, settings.user_header, settings.forwarders)


def serve_here(settings: ProcessSettings) -> None:
    """Answer until the standard input ends, or a signal comes."""
    SHARED.resize(int(settings.cache_gb * GB))
    accounts = open_accounts(settings.database)
    catalogue = LabCatalogue(settings.sources, settings.database)
    service = LabService(catalogue, accounts, settings.person)
    server = LabServer(server_settings(application(service, settings)), service.close)
    threading.Thread(target=_follow_input, args=(server,), daemon=True).start()
    _spare_collector()
    server.run(sockets=accepting(socket.socket(fileno=settings.handle)))
    catalogue.close()
    accounts.close()


def _follow_input(server: LabServer) -> None:
    sys.stdin.read()
    server.handle_exit(signal.SIGTERM, None)


def _spare_collector() -> None:
    """Let the garbage collector pass over what was imported: to look through it takes a tenth of a second or
    more, in which nobody is answered."""
    gc.collect()
    gc.freeze()


def _open_many_files() -> None:
    """Let the process hold as many connections as the system allows to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Serve what the standard input says."""
    settings = ProcessSettings.model_validate_json(sys.stdin.readline())
    _open_many_files()
    try:
        serve_here(settings)
    except ChunkflowError as error:
        print(" ".join(str(error).split()), flush=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
