"""Files as answers: whole, one range, or nothing where the browser has them already.

1. An answer has the size and an ETag of the file, so that a browser asks again without being sent it again.
2. Of a file on this machine what the system holds in memory is read at once; what a disk or a network must
   bring is read by another thread, so that nobody else waits.
3. HEAD has the headers alone. A range that lies outside of the file is refused, any other odd one ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from os.path import splitext

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from chunkflow.people.viewing.served import ServedFile

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

Headers = list[tuple[bytes, bytes]]


class FileAnswer:
    """A file as an ASGI answer; closed once it is sent."""

    __slots__ = ("found", "headers")

    def __init__(self, found: ServedFile, name: str, cache: str = ASK_AGAIN) -> None:
        self.found = found
        self.headers: Headers = [*_fixed_headers(splitext(name)[1] if "." in name else "", cache)]
        if found.etag:
            self.headers.append((b"etag", found.etag.encode("latin-1")))
        if found.encoding is not None:
            self.headers.append((b"content-encoding", found.encoding.encode("latin-1")))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.answer(dict(scope["headers"]), scope, receive, send)

    async def answer(self, asked: Mapping[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the headers ask, by their names in small letters."""
        try:
            await self._answer(asked, scope, receive, send)
        finally:
            self.found.close()

    async def _answer(self, asked: Mapping[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        size, headers = self.found.size, self.headers
        if b"if-none-match" in asked and self._is_known(asked[b"if-none-match"]):
            return await _send_head_alone(send, HTTPStatus.NOT_MODIFIED, headers)
        status, start, stop = 200, 0, size
        if b"range" in asked and self._is_same(asked.get(b"if-range")):
            try:
                span = byte_span(asked[b"range"].decode("latin-1"), size)
            except ValueError:
                headers += [(b"content-range", b"bytes */%d" % size), (b"content-length", b"0")]
                return await _send_head_alone(send, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
            if span is not None:
                status, (start, stop) = 206, span
                headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, size)))
        headers.append((b"content-length", b"%d" % (stop - start)))
        if scope["method"] == "HEAD" or start == stop:
            return await _send_head_alone(send, status, headers)
        try:
            content = await self._block(start, stop)
        except Exception as error:  # nothing is sent yet: the browser is told
            return await send_failure(send, error)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        more = start + len(content) < stop
        await send({"type": "http.response.body", "body": content, "more_body": more})
        if more and content:
            await self._send_rest(Request(scope, receive), send, start + len(content), stop)
        return None

    def _is_known(self, tags: bytes) -> bool:
        """Whether the browser has this very file."""
        return bool(self.found.etag) and self.found.etag in tags.decode("latin-1")

    def _is_same(self, tag: bytes | None) -> bool:
        """Whether a part may be sent: else a part is known of another file than this one."""
        return tag is None or tag.decode("latin-1") == self.found.etag

    async def _send_rest(self, request: Request, send: Send, start: int, stop: int) -> None:
        """In blocks. Where the file turns out to be shorter than it was, the answer stays without its end, so
        that the server cuts the connection."""
        while start < stop and not await request.is_disconnected():
            try:
                content = await self._block(start, stop)
            except Exception:  # the file was changed while it was sent, or storage fails
                break
            if not content:
                break
            start += len(content)
            await send({"type": "http.response.body", "body": content, "more_body": start < stop})

    async def _block(self, start: int, stop: int) -> bytes | bytearray:
        stop = min(start + BLOCK, stop)
        content = self.found.at_hand(start, stop)
        return await run_in_threadpool(self.found.read, start, stop) if content is None else content


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


@lru_cache(100)
def _fixed_headers(ending: str, cache: str) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that all files of one kind have."""
    kind = MIME.get(ending, "application/octet-stream")
    return (
        (b"content-type", kind.encode()),
        (b"cache-control", cache.encode()),
        (b"accept-ranges", b"bytes"),
    )


async def send_failure(send: Send, error: Exception) -> None:
    """The answer where storage fails: the kind of error, and no word of what is stored where."""
    await send_empty(send, HTTPStatus.BAD_GATEWAY, {"x-error": type(error).__name__, "content-length": "0"})


async def send_empty(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """An answer without content."""
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await _send_head_alone(send, status, encoded)


async def _send_head_alone(send: Send, status: int, headers: Headers) -> None:
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": b""})
