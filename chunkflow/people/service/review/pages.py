"""The page of a review and its state.

/d/NAME/review/TABLE           leads to the page, whose address must have a /v/ for the client
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from chunkflow.people.review.live import LiveTable
from chunkflow.people.service.asked import base_of, name_of_person, root_of
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.files.answer import ASK_AGAIN
from chunkflow.people.service.files.client import client_files
from chunkflow.people.service.rendering import VIEWER_POLICY, render
from chunkflow.people.service.review.answers import review_address
from chunkflow.people.service.review.state import review_state
from chunkflow.people.service.viewers import ViewerAnswers


class ReviewPages:
    """Answers who opens the review of a table."""

    def __init__(
        self, viewers: ViewerAnswers, find: Callable[[str, str], Awaitable[LiveTable | None]]
    ) -> None:
        self._viewers = viewers
        self._find = find

    async def _reviewed(self, request: Request) -> tuple[DataSet, LiveTable]:
        """The data set and the table whose review is asked for."""
        dataset = await self._viewers.dataset(request)
        found = await self._find(dataset.name, request.path_params["table"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return dataset, found

    async def lead_to_page(self, request: Request) -> Response:
        """Lead to the page of the review."""
        dataset, _ = await self._reviewed(request)
        name, table = quote(dataset.name), quote(request.path_params["table"])
        return RedirectResponse(f"{root_of(request)}/d/{name}/review/{table}/v/review/", HTTPStatus.FOUND)

    async def page(self, request: Request) -> Response:
        """The client, and the panel beside it."""
        dataset, _ = await self._reviewed(request)
        table = request.path_params["table"]
        return render(
            request,
            "review.html",
            VIEWER_POLICY,
            title=dataset.name,
            table=table,
            api=review_address(root_of(request), dataset.name, table),
            person=name_of_person(request),
            client=client_files(),
        )

    async def state(self, request: Request) -> Response:
        """The state that the review begins with."""
        dataset, live = await self._reviewed(request)
        state = review_state(dataset.state(base_of(request, dataset.name)), live.objects)
        return JSONResponse(state, headers={"cache-control": ASK_AGAIN})
