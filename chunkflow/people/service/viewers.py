"""The viewer of a data set over HTTP: its page, its state, the files of its layers.

/d/NAME/                leads to /d/NAME/v/viewer/, as the client must find a /v/ in its address
/d/NAME/v/LINK/         the same with the view of a short link
/d/NAME/state.json      the state that the viewer begins with: the person's last one, that of `link`, or a
                        new one where `fresh` is asked for
/d/NAME/view (PUT)      keeps a state as the person's last one
/d/NAME/data/LAYER/...  a file of a layer, wherever links inside of the layer lead
/d/NAME/events/VIEW     the stream that the client wants open; nothing ever comes on it
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from chunkflow.people.service.asked import PING_SECONDS, base_of, root_of
from chunkflow.people.service.catalogue.catalogues import Catalogue
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.files.answer import ASK_AGAIN, FOREVER, FileAnswer
from chunkflow.people.service.files.client import client_file, client_files, static_file
from chunkflow.people.service.lab.views import KeptViews
from chunkflow.people.service.rendering import VIEWER_POLICY, render
from chunkflow.people.viewing.served import ServedFile

VIEWER = "viewer"
"""The view without a short link."""


class ViewerAnswers:
    """Answers what viewers ask."""

    def __init__(self, catalogue: Catalogue, views: KeptViews | None = None) -> None:
        self._catalogue = catalogue
        self._views = views
        self.closing = asyncio.Event()

    async def dataset(self, request: Request) -> DataSet:
        """The data set that is asked for, as it is now."""
        found = await run_in_threadpool(self._catalogue.dataset, request.path_params["dataset"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    async def lead_to_viewer(self, request: Request) -> Response:
        """Lead to the page of the viewer."""
        name = quote((await self.dataset(request)).name)
        return RedirectResponse(f"{root_of(request)}/d/{name}/v/{VIEWER}/", HTTPStatus.FOUND)

    async def page(self, request: Request) -> Response:
        """The client on a page of ours."""
        name = (await self.dataset(request)).name
        keeps = self._views is not None
        return render(request, "viewer.html", VIEWER_POLICY, title=name, client=client_files(), keeps=keeps)

    async def state(self, request: Request) -> Response:
        """The state that the viewer begins with."""
        dataset = await self.dataset(request)
        state = dataset.state(base_of(request, dataset.name))
        if self._views is not None:
            state = await self._views.kept(request, dataset.name, state)
        return JSONResponse(state, headers={"cache-control": ASK_AGAIN})

    async def idle_stream(self, request: Request) -> Response:
        """A stream of events on which nothing happens."""
        return StreamingResponse(self._pings(), media_type="text/event-stream")

    async def _pings(self) -> AsyncIterator[bytes]:
        while not self.closing.is_set():
            yield b":\n\n"
            try:
                await asyncio.wait_for(self.closing.wait(), PING_SECONDS)
            except TimeoutError:
                continue

    async def client(self, request: Request) -> ASGIApp:
        """A file of the client; its name changes with its content."""
        name = request.path_params["file"]
        return file_answer(client_file(name), name, FOREVER)

    async def static(self, request: Request) -> ASGIApp:
        """A script or style of ours."""
        name = request.path_params["file"]
        return file_answer(static_file(name), name, ASK_AGAIN)


def file_answer(found: ServedFile | None, name: str, cache: str) -> FileAnswer:
    """A file that was found, as an answer."""
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return FileAnswer(found, name, cache)
