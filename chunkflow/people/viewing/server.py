"""A web server for layers and for the Neuroglancer client, bound to 127.0.0.1 only.

1. A request is GET or HEAD of /TOKEN/...; the token cannot be guessed, so that web pages see nothing.
2. /TOKEN/ leads to the client (the one that the neuroglancer wheel carries), /TOKEN/state.json is its state.
3. /TOKEN/layers/NAME/... is a file of that layer, wherever links lead; no other folder can be reached.
4. A layer on this machine is read from its folder, any other through CloudFiles with this user's keys.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
import secrets
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from chunkflow.errors import BadInput
from chunkflow.people.viewing.sources import ServedFile, is_plain, source_of

HOST = "127.0.0.1"
BLOCK = 1 << 20
PING = 15.0  # seconds
MIME = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "application/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".wasm": "application/wasm",
}
RANGE = re.compile(r"bytes=(\d*)-(\d*)$")
CLIENT_FILE = re.compile(r"[a-zA-Z0-9][\w.-]*\.(?:js|map|css|wasm|html)$")
SAFE_HOST = re.compile(r"[\w.-]+(?::\d+)?$")


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


class LayerServer(ThreadingHTTPServer):
    """The layers, the client and its state, served by threads of this process until `close`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, layers: Mapping[str, str], port: int = 0) -> None:
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise BadInput(f"port {port} of this machine cannot be used: {error.strerror}") from None
        self.sources = {name: source_of(url) for name, url in layers.items()}
        self.token = token_of(layers.values())
        self.state: Callable[[str], dict[str, Any]] = lambda base: {}
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def base(self) -> str:
        """What every address of this server begins with, without the slash."""
        return f"http://{HOST}:{self.port}/{self.token}"

    @property
    def url(self) -> str:
        """The link to open: it leads to the client with all layers."""
        return self.base + "/"

    def start(self) -> LayerServer:
        self._thread.start()
        return self

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Quiet where a browser has gone away, which it does with every view that it leaves."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def __enter__(self) -> LayerServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def token_of(urls: Iterable[str], key_file: Path | None = None) -> str:
    """A word that neither web pages nor other users of the machine can guess, as either could otherwise read
    the layers; the same for the same layers and user, so that a link stays good."""
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


def layer_address(base: str, name: str) -> str:
    """The address of a layer below the server's `base`."""
    return f"{base}/layers/{quote(name, safe='')}"


class Handler(BaseHTTPRequestHandler):
    """Answers one browser's requests, one connection a thread."""

    protocol_version = "HTTP/1.1"
    server: LayerServer

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_OPTIONS(self) -> None:
        headers = {"Access-Control-Allow-Headers": "*", "Access-Control-Allow-Private-Network": "true"}
        self._send(HTTPStatus.NO_CONTENT, headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request for a chunk is not news."""

    def _answer(self, body: bool) -> None:
        token, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._send(HTTPStatus.NOT_FOUND)
        elif rest.startswith("events/"):
            self._keep_open()
        elif rest == "":
            self._send(HTTPStatus.FOUND, {"Location": f"/{token}/v/index.html#!{self._base}/state.json"})
        else:
            self._answer_file(rest, body)

    def _keep_open(self) -> None:
        """The stream of events that the wheel's client wants to be open; nothing ever happens on it."""
        self.close_connection = True
        self._send(HTTPStatus.OK, {"Content-Type": "text/event-stream", "Connection": "close"}, length=False)
        try:
            while not self.server.closing.wait(PING):
                self.wfile.write(b":\n\n")
        except OSError:  # the browser has gone
            return

    def _answer_file(self, rest: str, body: bool) -> None:
        try:
            found = self._find(rest)
        except Exception as error:  # whatever storage raises, the browser is told and the server goes on
            self._send(HTTPStatus.BAD_GATEWAY, {"X-Error": f"{type(error).__name__}"})
            return
        if found is None:
            self._send(HTTPStatus.NOT_FOUND)
            return
        try:
            self._send_found(found, MIME.get(Path(rest).suffix, "application/octet-stream"), body)
        except (OSError, EOFError, zlib.error):  # the browser has gone, or the file changed while it was sent
            self.close_connection = True
        finally:
            found.close()

    @property
    def _base(self) -> str:
        """This server as the browser sees it: through `ssh -L` the port may be another one."""
        host = self.headers.get("Host", "")
        return f"http://{host}/{self.server.token}" if SAFE_HOST.match(host) else self.server.base

    def _find(self, rest: str) -> ServedFile | None:
        part, _, name = rest.partition("/")
        if rest == "state.json":
            return ServedFile.of(json.dumps(self.server.state(self._base)).encode())
        if part == "v" and CLIENT_FILE.match(name):
            client = importlib.resources.files("neuroglancer.static").joinpath("client", name)
            return ServedFile.of(client.read_bytes()) if client.is_file() else None
        layer, _, path = name.partition("/")
        source = self.server.sources.get(layer)
        if part != "layers" or source is None or not is_plain(path):
            return None
        gzipped = "gzip" in self.headers.get("Accept-Encoding", "")
        return source.find(path, gzipped, part="Range" in self.headers)

    def _send_found(self, found: ServedFile, kind: str, body: bool) -> None:
        try:
            span = byte_span(self.headers.get("Range"), found.size)
        except ValueError:
            self._send(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{found.size}"})
            return
        start, stop = span or (0, found.size)
        headers = {"Content-Type": kind, "Content-Length": str(stop - start), "Accept-Ranges": "bytes"}
        if found.encoding is not None:
            headers["Content-Encoding"] = found.encoding
        if span is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
        self._send(HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT, headers)
        while body and start < stop:
            sent = found.read(start, min(start + BLOCK, stop))
            if not sent:
                raise ConnectionError("the file became shorter while it was sent")
            self.wfile.write(sent)
            start += len(sent)

    def _send(
        self, status: HTTPStatus, headers: Mapping[str, str] | None = None, length: bool = True
    ) -> None:
        self.send_response(status)
        # a layer may be rewritten while it is looked at: the browser asks again each time
        fixed = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
        if length and "Content-Length" not in (headers or {}) and status != HTTPStatus.NO_CONTENT:
            fixed["Content-Length"] = "0"
        exposed = "Content-Range, Content-Length, Content-Encoding, Accept-Ranges"
        for name, value in {**fixed, "Access-Control-Expose-Headers": exposed, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
