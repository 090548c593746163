"""A service in a thread of this process, for one person of this machine."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Self
from urllib.parse import quote

import uvicorn
from starlette.types import ASGIApp

from chunkflow.errors import BadInput
from chunkflow.people.service.app import Service
from chunkflow.people.service.local.token import TokenInPath
from chunkflow.people.viewing.state import ViewerState

HOST = "127.0.0.1"
BACKLOG = 512
ACCEPTED_AT_ONCE = 16
"""Connections that a server takes up in one turn of its loop."""
FRAME_HEIGHT = 600
LAST_ANSWERS = 5
"""Seconds that answers under way have to come to their end."""
KEPT_SECONDS = 75
"""How long a connection without requests is kept: longer than a proxy keeps it, which would else send into
one that is just being closed."""


class AnnouncedServer(uvicorn.Server):
    """A server that says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()


class LocalServer:
    """A service that answers this machine alone, below a token, until it is closed."""

    def __init__(self, service: Service, token: str, port: int = 0) -> None:
        self.service = service
        self.token = token
        self._socket = listening(port)
        self.port = int(self._socket.getsockname()[1])
        self._server = AnnouncedServer(server_settings(TokenInPath(service.app(), token)))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def root(self) -> str:
        """What every address of this server begins with, without the slash."""
        return f"http://{HOST}:{self.port}/{self.token}"

    @property
    def url(self) -> str:
        """The link to open: it leads to the client with all layers."""
        return self.root + "/"

    @property
    def base(self) -> str:
        """The address of the one data set."""
        (name,) = self.service.catalogue.names()
        return f"{self.root}/d/{quote(name)}"

    def state(self) -> ViewerState:
        """The state of Neuroglancer for the one data set."""
        (name,) = self.service.catalogue.names()
        dataset = self.service.catalogue.dataset(name)
        assert dataset is not None
        return dataset.state(self.base)

    def start(self) -> LocalServer:
        """Begin to answer."""
        self._thread.start()
        self._server.ready.wait()
        return self

    def close(self) -> None:
        """End open streams, let answers under way come to their end, and stop."""
        if self._thread.is_alive():
            self._server.loop.call_soon_threadsafe(self.service.close)
            self._server.should_exit = True
            self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=accepting(self._socket))

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Served:
    """A page that is served to this machine until closed; in a notebook a frame."""

    def __init__(self, server: LocalServer, url: str) -> None:
        self.url = url
        """The link to open in a browser."""
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    def close(self) -> None:
        """End the server."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        frame = f'<iframe src="{self.url}" width="100%" height="{FRAME_HEIGHT}" style="border:0"></iframe>'
        return f'{frame}<p><a href="{self.url}" target="_blank">{self.url}</a></p>'


def server_settings(app: ASGIApp) -> uvicorn.Config:
    """How every server of the service answers."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEPT_SECONDS,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )


def listening(port: int, host: str = HOST) -> socket.socket:
    """A socket that listens; port 0 takes a free one."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        made.close()
        said = getattr(error, "strerror", "") or str(error)
        raise BadInput(f"port {port} of this machine cannot be used: {said}.") from None
    return made


def accepting(listener: socket.socket) -> list[socket.socket]:
    """The same listening socket several times over.

    The loop takes up one connection of each socket in a turn, in which it also answers whoever is connected.
    By one socket alone the last of 200 browsers that come at once would wait for 200 turns.
    """
    return [listener, *(listener.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]
