"""A server in a process of its own: `python -m benchmarks.service.serving bare|view FOLDER PORT`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn

from chunkflow.people.service.app import Service
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.local.server import HOST, LocalServer
from chunkflow.people.viewing.sources import source_of

TOKEN = "0123456789abcdef"


def serve_bare(folder: str, port: int) -> None:
    """The least that an ASGI application must do for a file, without routes and without care for links."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        part = dict(scope["headers"]).get(b"range")
        handle = os.open(folder + scope["path"], os.O_RDONLY)
        try:
            start, stop, status = 0, os.fstat(handle).st_size, 200
            headers = [(b"content-type", b"application/octet-stream")]
            if part:
                first, last = part.removeprefix(b"bytes=").split(b"-")
                headers.append((b"content-range", b"bytes %s-%s/%d" % (first, last, stop)))
                start, stop, status = int(first), int(last) + 1, 206
            content = os.pread(handle, stop - start, start)
        finally:
            os.close(handle)
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    uvicorn.run(
        answer,
        host=HOST,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
    )


def serve_view(folder: str, port: int) -> None:
    """The service as `view` runs it."""
    dataset = DataSet("set", {"layer": source_of(folder)}, lambda base: {})
    with LocalServer(Service.of(dataset), TOKEN, port).start():
        threading.Event().wait()


VIEW_PREFIX = f"/{TOKEN}/d/set/data/layer"
"""Where `serve_view` answers the files of the folder."""

if __name__ == "__main__":
    {"bare": serve_bare, "view": serve_view}[sys.argv[1]](str(Path(sys.argv[2])), int(sys.argv[3]))
