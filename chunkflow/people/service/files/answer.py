"""Files as answers: whole, one range, or nothing where the browser has them already.

1. An answer has the size and an ETag of the file, so that a browser asks again without being sent it again.
2. Of a file on this machine what the system holds in memory is read at once; what a disk or a network must
   bring is read by another thread, so that nobody else waits.
3. HEAD has the headers alone. A range that lies outside of the file is refused, any other odd one ignored.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import PurePosixPath

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from chunkflow.people.viewing.sources import ServedFile

BLOCK = 1 << 20
MIME = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "application/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
ASK_AGAIN = "no-cache"
"""A layer may be rewritten while it is looked at: the browser asks again each time."""
FOREVER = "public, max-age=31536000, immutable"
"""The name of a file changes with its content."""


class FileAnswer:
    """A file as an ASGI answer; closed once it is sent."""

    def __init__(self, found: ServedFile, name: str, cache: str = ASK_AGAIN) -> None:
        self.found = found
        self.headers = {
            "content-type": MIME.get(PurePosixPath(name).suffix, "application/octet-stream"),
            "cache-control": cache,
            "accept-ranges": "bytes",
        }
        if found.etag:
            self.headers["etag"] = found.etag
        if found.encoding is not None:
            self.headers["content-encoding"] = found.encoding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer(scope, receive, send)
        finally:
            self.found.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = {name: value.decode("latin-1") for name, value in scope["headers"]}
        size, etag = self.found.size, self.found.etag
        if etag and etag in asked.get(b"if-none-match", ""):
            return await send_empty(send, HTTPStatus.NOT_MODIFIED, self.headers)
        same = asked.get(b"if-range", etag) == etag  # else a part is known of another file than this one
        try:
            span = byte_span(asked.get(b"range") if same else None, size)
        except ValueError:
            outside = self.headers | {"content-range": f"bytes */{size}", "content-length": "0"}
            return await send_empty(send, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, outside)
        start, stop = span or (0, size)
        headers = self.headers | {"content-length": str(stop - start)}
        if span is not None:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        status = HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT
        if scope["method"] == "HEAD" or start == stop:
            return await send_empty(send, status, headers)
        await send_start(send, status, headers)
        return await self._send_bytes(Request(scope, receive), send, start, stop)

    async def _send_bytes(self, request: Request, send: Send, start: int, stop: int) -> None:
        """In blocks. Where the file turns out to be shorter than it was, the answer stays without its end, so
        that the server cuts the connection."""
        while start < stop:
            content = await self._block(start, min(start + BLOCK, stop))
            if not content:
                break
            start += len(content)
            await send({"type": "http.response.body", "body": content, "more_body": start < stop})
            if start < stop and await request.is_disconnected():
                break

    async def _block(self, start: int, end: int) -> bytes:
        content = self.found.at_hand(start, end)
        if content is not None:
            return content
        try:
            return await run_in_threadpool(self.found.read, start, end)
        except (OSError, EOFError, zlib.error):  # the file was changed while it was sent
            return b""


def byte_span(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last of a Range header; None: send all.

    Raises ValueError for a range that lies outside the file.
    """
    match = RANGE.match(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    if start >= stop:
        raise ValueError(f"bytes {header} of a file of {size}")
    return start, stop


async def send_start(send: Send, status: HTTPStatus, headers: Mapping[str, str]) -> None:
    """The head of an answer."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": encoded})


async def send_empty(send: Send, status: HTTPStatus, headers: Mapping[str, str]) -> None:
    """An answer without content."""
    await send_start(send, status, headers)
    await send({"type": "http.response.body", "body": b""})
