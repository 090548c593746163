"""The review of a table over HTTP: its objects, edits that come in, edits of others that go out.

/api/review/NAME/TABLE/...
    table                      classes, queries, progress, and who asks
    objects/ID                 an object: its row, what is decided of it, its edits
    next?query=&after=ID       the next object of a query, which others are not given for two minutes (with
                               &overlap=1 whatever others have); with &ahead=N also N behind it
    near?place=X,Y,Z           the objects around a place
    regions                    the labels layers of the data set; of &layer=LAYER the regions with objects, or
                               with &place=X,Y,Z the one there; next?query=region:LAYER:LABEL goes through it
    features                   the features that tell the classes apart best, by class
    edits (POST)               one edit: 200 taken, 400 malformed, 409 refused; else it must be sent again. A
                               point with an id of its own gets that of the object under it, if that is free
    events?since=SEQ           a stream of all edits behind that number
    lists/NAME (PUT)           a JSON array of ids, which are gone through by query=list:NAME
    points/VERSION/...         all objects as a precomputed annotation layer, as they are now

A page may say at all of them which table it means, by the `generation` that `table` has told it. Once the job
has made the table anew it is refused (409), and the stream of edits ends with the event `anew`.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chunkflow.errors import BadInput
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.log.edits import Refused
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.point_layer import point_properties
from chunkflow.people.service.access import Record
from chunkflow.people.service.asked import (
    address_of_client,
    body_of,
    document_of,
    name_of_person,
    said,
)
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.review.followers import Follower
from chunkflow.people.service.review.places import PlaceAnswers, asks_for_region
from chunkflow.people.service.review.streams import ANEW, MADE_ANEW, told_edits
from chunkflow.people.viewing.state import CLASSES, colours_of_labels

LARGEST_EDIT = 1 << 20
"""Bytes of an edit: a polygon of ten thousand corners has half of it."""
LARGEST_LIST = 1 << 25
"""Bytes of a list: a million ids."""
MOST_AHEAD = 10
"""Objects that a page may ask for beforehand."""
ID = re.compile(r"[0-9]{1,20}")
LIST_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


Find = Callable[[str, str], Awaitable[LiveTable | None]]
"""The reviewed table of a data set, by their names."""


class ReviewAnswers:
    """Answers what the review pages of tables ask."""

    def __init__(
        self, find: Find, dataset: Callable[[str], Awaitable[DataSet | None]], record: Record
    ) -> None:
        self._find = find
        self.places = PlaceAnswers(self.live, dataset)
        self._record = record
        self._followers: dict[int, Follower] = {}
        self.closing = asyncio.Event()

    def routes(self) -> list[Route]:
        """The addresses of the programming interface."""
        below = "/api/review/{dataset}/{table}"
        return [
            Route(f"{below}/table", self.table),
            Route(f"{below}/objects/{{id}}", self.object),
            Route(f"{below}/next", self.next),
            *self.places.routes(below),
            Route(f"{below}/features", self.features),
            Route(f"{below}/edits", self.take_edit, methods=["POST"]),
            Route(f"{below}/events", self.events),
            Route(f"{below}/lists/{{name}}", self.put_list, methods=["PUT"]),
            Route(f"{below}/points/{{version}}/{{path:path}}", self.points),
        ]

    async def live(self, request: Request) -> LiveTable:
        """The table that is asked for, with all that any process has written of it."""
        found = await self._found(request)
        if _means_another(request, found):
            raise HTTPException(HTTPStatus.CONFLICT, MADE_ANEW)
        await self._follower(found).look()
        return found

    async def _found(self, request: Request) -> LiveTable:
        found = await self._find(request.path_params["dataset"], request.path_params["table"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    async def table(self, request: Request) -> Response:
        """What a page must know of the table."""
        live = await self.live(request)
        found = await run_in_threadpool(live.queries)
        queries = [{"name": name, "title": title} for name, title in found.items()]
        return JSONResponse(
            {
                "classes": list(live.objects.classes),
                "voxel_size": list(live.objects.info.voxel_size),
                "queries": queries,
                "counts": live.counts,
                "seq": live.seq,
                "generation": live.objects.generation,
                "person": name_of_person(request),
            }
        )

    async def object(self, request: Request) -> Response:
        """One object in full."""
        found = await run_in_threadpool((await self.live(request)).detailed, _id(request.path_params["id"]))
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return JSONResponse(found)

    async def next(self, request: Request) -> Response:
        """The next object of a query; null where none is left, or all that is left is before others."""
        asked = request.query_params
        after = _id(asked["after"]) if asked.get("after") else None
        person = None if asked.get("overlap") == "1" else name_of_person(request)
        live = await self.live(request)
        ahead, query = _ahead(asked.get("ahead", "0")), asked.get("query", "")
        if asks_for_region(query):
            await self.places.find_layers(request, live)
        found = await run_in_threadpool(live.next, query, after, person, ahead)
        answer = {"object": found.described, "before_others": found.before_others}
        return JSONResponse(answer | ({"ahead": found.ahead} if ahead else {}))

    async def features(self, request: Request) -> Response:
        """The features that tell the classes apart best, by class, and the colours of the classes."""
        live = await self.live(request)
        features = await run_in_threadpool(live.profiles.document)
        return JSONResponse({"features": features, "colours": point_colours(live.objects)})

    async def take_edit(self, request: Request) -> Response:
        """Write one edit to the log; answered once it is durable."""
        live = await self.live(request)
        content = await body_of(request, LARGEST_EDIT, "An edit")
        proposed = ProposedEdit.parse(document_of(content, "An edit"))
        proposed = await run_in_threadpool(live.with_id_under, proposed)
        live.refuse_unknown(proposed)
        try:
            edit = await asyncio.wrap_future(live.log.submit(live.table, name_of_person(request), proposed))
        except Refused as error:
            await self._follower(live).look()
            named = error.by.object if error.by else proposed.object
            return said(HTTPStatus.CONFLICT, _sentence(error), live.described(named) if named else None)
        place = "{dataset}/{table}".format(**request.path_params)
        subject = f"{edit.operation} {edit.object} of {place}, edit {edit.seq}"
        await self._record(edit.person, address_of_client(request), "edit", subject)
        await self._follower(live).look()
        answer = {"edit": edit.to_json(), "object": live.described(edit.object), "counts": live.counts}
        return JSONResponse(answer)

    async def events(self, request: Request) -> Response:
        """All edits behind a number, and those to come, for as long as the page listens."""
        live = await self._found(request)
        since = request.headers.get("last-event-id") or request.query_params.get("since", "0")
        if not since.isdecimal():
            raise BadInput("`since` is the number of an edit.")
        find = partial(self._find, request.path_params["dataset"], request.path_params["table"])
        stream = (
            [ANEW]
            if _means_another(request, live)
            else told_edits(live, self._follower(live), int(since), find, self.closing)
        )
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"cache-control": "no-cache"}
        )

    async def put_list(self, request: Request) -> Response:
        """Keep a list of objects that a program wants people to look at."""
        live, name = await self.live(request), request.path_params["name"]
        content = await body_of(request, LARGEST_LIST, "A list")
        if not LIST_NAME.fullmatch(name):
            raise BadInput("The name of a list has up to 64 letters, digits, - and _.")
        await run_in_threadpool(live.put_list, name, _listed(content))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def points(self, request: Request) -> Response:
        """A file of the layer of all points; of one that was made of another table there is none."""
        live = await self.live(request)
        layer = await run_in_threadpool(lambda: live.points)
        if request.path_params["version"] != layer.version:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        found = await run_in_threadpool(layer.file, request.path_params["path"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(found, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    def _follower(self, live: LiveTable) -> Follower:
        if live.table not in self._followers:
            self._followers[live.table] = Follower(live)
        return self._followers[live.table]

    def close(self) -> None:
        """End all streams."""
        self.closing.set()
        for follower in self._followers.values():
            follower.wake()


def review_address(root: str, dataset: str, table: str) -> str:
    """The address of the programming interface for a table."""
    return f"{root}/api/review/{quote(dataset)}/{quote(table)}"


def point_colours(objects: TableObjects) -> dict[str, str]:
    """The colour in which points of each class are shown; none where they are too many to have their own."""
    _, classes = point_properties(objects)
    labels = classes["enum_labels"]
    return colours_of_labels(labels) if len(labels) <= CLASSES else {}


def _means_another(request: Request, live: LiveTable) -> bool:
    """Whether who asks means the table as it was before it was made anew."""
    return request.query_params.get("generation", live.objects.generation) != live.objects.generation


def _sentence(error: Refused) -> str:
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _id(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:25]) < 2**64:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return int(text)


def _ahead(text: str) -> int:
    if not text.isdecimal() or int(text[:3]) > MOST_AHEAD:
        raise BadInput(f"`ahead` is a number of objects, up to {MOST_AHEAD}.")
    return int(text)


def _listed(content: bytes) -> list[int]:
    """The ids of a list as it came."""
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError):
        listed = None
    known = isinstance(listed, list) and all(isinstance(one, str) and ID.fullmatch(one) for one in listed)
    if not known or not all(0 < int(one) < 2**64 for one in listed):
        raise BadInput('A list is a JSON array of ids as decimal texts, as in ["12", "7"].')
    return [int(one) for one in listed]
