"""The web application: addresses, and what is answered there.

/                       leads to the viewer, where there is one data set
/d/NAME/                leads to /d/NAME/v/viewer/, as the client must find a /v/ in its address
/d/NAME/state.json      the state that the viewer begins with
/d/NAME/data/LAYER/...  a file of a layer, wherever links inside of the layer lead
/d/NAME/events/VIEW     the stream that the client wants open; nothing ever comes on it
/d/NAME/review/TABLE    leads to the page on which a table is reviewed
/api/review/...         what that page asks
/client/... /static/... the Neuroglancer client, and our own scripts
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.people.review.live import LiveTable
from chunkflow.people.service.datasets import DataSet
from chunkflow.people.service.files.answer import ASK_AGAIN, FOREVER, FileAnswer
from chunkflow.people.service.files.client import client_file, client_files, static_file
from chunkflow.people.service.review.answers import ReviewAnswers, review_address
from chunkflow.people.service.review.state import review_state
from chunkflow.people.viewing.sources import LocalSource, ServedFile, is_plain

PING = 15.0  # seconds
SAFE_HOST = re.compile(r"[\w.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?")
VIEWER_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self' http: https: data: blob:"
)
"""Neuroglancer compiles code for annotations, and people may show layers of other hosts beside these."""


class Service:
    """Data sets by name, answered over HTTP."""

    def __init__(self, datasets: Mapping[str, DataSet], person: str = "") -> None:
        self.datasets = dict(datasets)
        self.person = person
        """Whoever uses it, where it serves one person."""
        self._closing = asyncio.Event()
        self._reviews = ReviewAnswers(self._review, lambda request: self.person)
        self._pages = Environment(
            loader=PackageLoader("chunkflow.people.service", "pages"), autoescape=True, auto_reload=False
        )

    def app(self) -> ASGIApp:
        """The ASGI application."""
        return Starlette(
            routes=self.routes(), exception_handlers={HTTPException: refuse, ChunkflowError: say_error}
        )

    def routes(self) -> list[BaseRoute]:
        """All addresses."""
        below = "/d/{dataset}"
        return [
            Route("/", self.front),
            Route(f"{below}/", self.lead_to_viewer),
            Route(f"{below}/v/{{view}}/", self.viewer_page),
            Route(f"{below}/events/{{view}}", self.idle_stream),
            Route(f"{below}/state.json", self.state),
            Route(f"{below}/data/{{layer}}/{{path:path}}", self.layer_file),
            Route(f"{below}/review/{{table}}", self.lead_to_review),
            Route(f"{below}/review/{{table}}/state.json", self.review_state),
            Route(f"{below}/review/{{table}}/events/{{view}}", self.idle_stream),
            Route(f"{below}/review/{{table}}/v/{{view}}/", self.review_page),
            *self._reviews.routes(),
            Route("/client/{file}", self.client),
            Route("/static/{file}", self.static),
        ]

    def close(self) -> None:
        """End the streams that are open."""
        self._closing.set()
        self._reviews.close()

    def dataset(self, request: Request) -> DataSet:
        """The data set that is asked for."""
        found = self.datasets.get(request.path_params["dataset"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    async def front(self, request: Request) -> Response:
        """Lead to the viewer of the one data set."""
        (name,) = self.datasets
        return RedirectResponse(f"{root_of(request)}/d/{quote(name)}/v/viewer/", HTTPStatus.FOUND)

    async def lead_to_viewer(self, request: Request) -> Response:
        """Lead to the page of the viewer."""
        name = quote(self.dataset(request).name)
        return RedirectResponse(f"{root_of(request)}/d/{name}/v/viewer/", HTTPStatus.FOUND)

    async def viewer_page(self, request: Request) -> Response:
        """The client on a page of ours."""
        return self._page(request, "viewer.html", title=self.dataset(request).name)

    def _page(self, request: Request, template: str, **values: str) -> Response:
        values |= {"root": root_of(request)}
        page = self._pages.get_template(template).render(values, client=client_files())
        headers = {"content-security-policy": VIEWER_POLICY, "cache-control": ASK_AGAIN}
        return HTMLResponse(page, headers=headers)

    def _review(self, dataset: str, table: str) -> LiveTable | None:
        found = self.datasets.get(dataset)
        return found.reviews.get(table) if found else None

    def reviewed(self, request: Request) -> tuple[DataSet, LiveTable]:
        """The data set and the table whose review is asked for."""
        dataset = self.dataset(request)
        found = dataset.reviews.get(request.path_params["table"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return dataset, found

    async def lead_to_review(self, request: Request) -> Response:
        """Lead to the page of the review."""
        dataset, _ = self.reviewed(request)
        name, table = quote(dataset.name), quote(request.path_params["table"])
        return RedirectResponse(f"{root_of(request)}/d/{name}/review/{table}/v/review/", HTTPStatus.FOUND)

    async def review_page(self, request: Request) -> Response:
        """The client, and the panel beside it."""
        dataset, _ = self.reviewed(request)
        table, root = request.path_params["table"], root_of(request)
        api = review_address(root, dataset.name, table)
        return self._page(
            request, "review.html", title=dataset.name, table=table, api=api, person=self.person
        )

    async def review_state(self, request: Request) -> Response:
        """The state that the review begins with."""
        dataset, live = self.reviewed(request)
        api = review_address(root_of(request), dataset.name, request.path_params["table"])
        base = dataset.state(self._base(request, dataset))
        state = await run_in_threadpool(review_state, base, live, f"{origin_of(request)}{api}")
        return JSONResponse(state, headers={"cache-control": ASK_AGAIN})

    def _base(self, request: Request, dataset: DataSet) -> str:
        """The address of a data set as this browser sees it: through `ssh -L` the port may be another."""
        return f"{origin_of(request)}{root_of(request)}/d/{quote(dataset.name)}"

    async def state(self, request: Request) -> Response:
        """The state that the viewer begins with."""
        dataset = self.dataset(request)
        return JSONResponse(dataset.state(self._base(request, dataset)), headers={"cache-control": ASK_AGAIN})

    async def idle_stream(self, request: Request) -> Response:
        """A stream of events on which nothing happens."""
        self.dataset(request)
        return StreamingResponse(self._pings(), media_type="text/event-stream")

    async def _pings(self) -> AsyncIterator[bytes]:
        while not self._closing.is_set():
            yield b":\n\n"
            try:
                await asyncio.wait_for(self._closing.wait(), PING)
            except TimeoutError:
                continue

    async def layer_file(self, request: Request) -> ASGIApp:
        """A file of a layer."""
        source = self.dataset(request).sources.get(request.path_params["layer"])
        path = request.path_params["path"]
        if source is None or not is_plain(path):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        gzipped, part = "gzip" in request.headers.get("accept-encoding", ""), "range" in request.headers
        try:
            if isinstance(source, LocalSource):
                found = source.find(path, gzipped, part)
            else:
                found = await run_in_threadpool(source.find, path, gzipped, part)
        except Exception as error:  # whatever storage raises, the browser is told and the service goes on
            return Response(status_code=HTTPStatus.BAD_GATEWAY, headers={"x-error": type(error).__name__})
        return _file(found, path, ASK_AGAIN)

    async def client(self, request: Request) -> ASGIApp:
        """A file of the client; its name changes with its content."""
        name = request.path_params["file"]
        return _file(client_file(name), name, FOREVER)

    async def static(self, request: Request) -> ASGIApp:
        """A script or style of ours."""
        name = request.path_params["file"]
        return _file(static_file(name), name, ASK_AGAIN)


def _file(found: ServedFile | None, name: str, cache: str) -> FileAnswer:
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return FileAnswer(found, name, cache)


async def refuse(request: Request, error: Exception) -> Response:
    """An answer without content: nothing is told of what is not there."""
    assert isinstance(error, HTTPException)
    return Response(status_code=error.status_code, headers=error.headers)


async def say_error(request: Request, error: Exception) -> Response:
    """What is wrong with what was asked, or with what it needs, in a sentence."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, BadInput) else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"error": str(error)}, status_code=status)


def root_of(request: Request) -> str:
    """What stands before every address of the service, as the token of `view`."""
    return str(request.scope.get("root_path", ""))


def origin_of(request: Request) -> str:
    """The scheme and host that the browser asks."""
    host = request.headers.get("host", "")
    if not SAFE_HOST.fullmatch(host):
        server = request.scope["server"]
        host = f"{server[0]}:{server[1]}"
    return f"{request.url.scheme}://{host}"
