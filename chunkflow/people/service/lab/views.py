"""Views that are kept: each person's last one of a data set, and those with a short link.

In what is kept the address of the data set is a mark, as people come by several addresses: through `ssh -L`,
by another name of the host, or once HTTPS is there.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from chunkflow.errors import BadInput
from chunkflow.people.accounts.roles import Role
from chunkflow.people.service.access import person_of
from chunkflow.people.service.asked import base_of, body_of, document_of, name_of_person, origin_of, root_of
from chunkflow.people.service.catalogue.catalogues import Catalogue
from chunkflow.people.viewing.state import ViewerState

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts

LARGEST_STATE = 1 << 20
"""Bytes of a state that is kept."""
MARK = "chunkflow-data-set:/"
KNOWN = "chunkflowLayers"
"""Names the layers that a data set had when a view was kept: others have come since, and are added."""


class KeptViews:
    """Keeps views of data sets, and answers short links."""

    def __init__(self, accounts: Accounts, catalogue: Catalogue) -> None:
        self._accounts = accounts
        self._catalogue = catalogue

    async def kept(self, request: Request, dataset: str, fresh: ViewerState) -> ViewerState:
        """The view that a request asks for; `fresh` is a new one."""
        if link := request.query_params.get("link"):
            found = await run_in_threadpool(self._accounts.link, link)
            if found is None or found.dataset != dataset:
                raise HTTPException(HTTPStatus.NOT_FOUND)
            return restored(found.state, base_of(request, dataset), fresh, add_layers=False)
        if "fresh" in request.query_params:
            return fresh
        text = await run_in_threadpool(self._accounts.view, name_of_person(request), dataset)
        return restored(text, base_of(request, dataset), fresh) if text else fresh

    async def keep(self, request: Request) -> Response:
        """Keep a state as the last one of the person."""
        dataset = request.path_params["dataset"]
        text = await self._text(request, dataset)
        await run_in_threadpool(self._accounts.keep_view, name_of_person(request), dataset, text)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def shorten(self, request: Request) -> Response:
        """Give a state a short link."""
        dataset = request.path_params["dataset"]
        text = await self._text(request, dataset)
        id = await run_in_threadpool(self._accounts.shorten, name_of_person(request), dataset, text)
        return JSONResponse({"id": id, "url": f"{origin_of(request)}{root_of(request)}/s/{id}"})

    async def follow(self, request: Request) -> Response:
        """Lead from a short link to its view, for whoever may see the data set."""
        id = request.path_params["id"]
        found = await run_in_threadpool(self._accounts.link, id)
        if found is None or not person_of(request.scope).may(Role.LOOK, found.dataset):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        place = f"{root_of(request)}/d/{quote(found.dataset)}/v/{id}/?link={id}"
        return RedirectResponse(place, HTTPStatus.FOUND)

    async def _text(self, request: Request, dataset: str) -> str:
        state = document_of(await body_of(request, LARGEST_STATE, "A view"), "A view")
        held = self._catalogue.held(dataset)
        state[KNOWN] = list(held.layers) if held else []
        try:
            text = json.dumps(state, allow_nan=False)
        except ValueError:
            raise BadInput("A view has no numbers that are not finite.") from None
        return text.replace(f"{base_of(request, dataset)}/", MARK)


def restored(text: str, base: str, fresh: ViewerState, add_layers: bool = True) -> ViewerState:
    """A kept state with the addresses of this browser, and the layers that have come since."""
    state: ViewerState = json.loads(text.replace(MARK, f"{base}/"))
    known = set(state.pop(KNOWN, ()))
    layers = state.get("layers")
    if add_layers and isinstance(layers, list):
        state["layers"] = layers + [layer for layer in fresh["layers"] if layer["name"] not in known]
    return state
