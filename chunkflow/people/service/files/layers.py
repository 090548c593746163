"""Files of layers as an ASGI application of its own: nothing but what a file needs is done for each.

A browser asks for hundreds of files a second. No request object is made, the headers are looked at once, and
a file of this machine is answered without a thread where the system holds it in memory, and one of a bucket
where the cache does.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.files.answer import FileAnswer, send_empty, send_failure
from chunkflow.people.viewing.remote import RemoteSource
from chunkflow.people.viewing.sources import LocalSource, is_plain

NOTHING = {"content-length": "0"}


FindDataSet = Callable[[str], DataSet | None]


class LayerFiles:
    """Answers a path of a layer of a data set, as the route found them.

    `held` gives a data set as it was last seen; `look` reads it from storage where it was not seen yet.
    """

    def __init__(self, held: FindDataSet, look: FindDataSet) -> None:
        self._held = held
        self._look = look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = scope["path_params"]
        dataset, path = self._held(named["dataset"]), named["path"]
        if dataset is None:
            dataset = await run_in_threadpool(self._look, named["dataset"])
        source = dataset.sources.get(named["layer"]) if dataset else None
        if source is None or not is_plain(path):
            return await send_empty(send, HTTPStatus.NOT_FOUND, NOTHING)
        asked = dict(scope["headers"])
        gzipped, part = b"gzip" in asked.get(b"accept-encoding", b""), b"range" in asked
        try:
            if isinstance(source, LocalSource):
                found = source.find(path, gzipped, part)
            else:
                found = source.at_hand(path, gzipped, part) if isinstance(source, RemoteSource) else None
                found = found or await run_in_threadpool(source.find, path, gzipped, part)
        except Exception as error:  # whatever storage raises, the browser is told and the service goes on
            return await send_failure(send, error)
        if found is None:
            return await send_empty(send, HTTPStatus.NOT_FOUND, NOTHING)
        return await FileAnswer(found, path).answer(asked, scope, receive, send)
