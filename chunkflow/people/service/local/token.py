"""The application for one person on 127.0.0.1: a token in the path, and CORS.

The token cannot be guessed, so that neither web pages nor other users of the machine see anything. It is in
the path, as frames in notebooks send no cookies. Whoever has it may read from any page, also of a
Neuroglancer that is hosted elsewhere.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chunkflow.people.service.files.answer import send_empty

CORS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "Content-Range, Content-Length, Content-Encoding, Accept-Ranges, ETag",
}
CORS_HEADERS = [(name.encode(), value.encode()) for name, value in CORS.items()]
PREFLIGHT = {"access-control-allow-headers": "*", "access-control-allow-private-network": "true"}


class TokenInPath:
    """Answers /TOKEN/... by an application, and nothing else."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first, slash, _ = scope["path"].lstrip("/").partition("/")
        if not slash or not secrets.compare_digest(first.encode(), self.token.encode()):
            await send_empty(send, HTTPStatus.NOT_FOUND, {"content-length": "0"})
        elif scope["method"] == "OPTIONS":
            await send_empty(send, HTTPStatus.NO_CONTENT, CORS | PREFLIGHT)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *CORS_HEADERS]}
            await send(message)

        await self.app({**scope, "root_path": f"/{self.token}"}, receive, send_with_cors)


def token_of(urls: Iterable[str], key_file: Path | None = None) -> str:
    """A word that cannot be guessed; the same for the same layers and user, so that a link stays good."""
    key = own_key(key_file or Path.home() / ".config" / "chunkflow" / "view-key")
    return hashlib.sha256(key + "\n".join(sorted(urls)).encode()).hexdigest()[:16]


def own_key(file: Path) -> bytes:
    """This user's secret, made at the first use; where it cannot be kept, no link outlives its server."""
    key = secrets.token_bytes(32)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(key)
        kept = file.read_bytes()
    except OSError:
        return key
    return kept if len(kept) == len(key) else key
