"""What a lab's service has beside viewers and reviews: the catalogue, tables, reports, health, metrics.

/                            the catalogue: all data sets that the person may see
/d/NAME/thumbnail.png        a picture of the data set
/d/NAME/tables/TABLE.csv     a finished table of its job
/d/NAME/report/report.html   the report of its job, and the files that it links to
/health                      whether this process answers, for a proxy that asks
/metrics                     numbers for Prometheus
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import PurePosixPath

import pyarrow.csv
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp

from chunkflow.data.tables import Table
from chunkflow.people.accounts.roles import Role
from chunkflow.people.service.access import Record, person_of
from chunkflow.people.service.asked import address_of_client, name_of_person
from chunkflow.people.service.catalogue.catalogues import LabCatalogue
from chunkflow.people.service.catalogue.opened import OpenedDataSet
from chunkflow.people.service.catalogue.overview import Overview, overview, progress_text
from chunkflow.people.service.catalogue.thumbnails import thumbnail
from chunkflow.people.service.files.answer import ASK_AGAIN
from chunkflow.people.service.lab.metrics import ServiceMetrics
from chunkflow.people.service.rendering import PAGE_POLICY, REPORT_POLICY, render
from chunkflow.people.service.viewers import file_answer
from chunkflow.people.viewing.sources import is_plain, source_of

LOOKING = 8
"""Data sets that are looked at side by side for the catalogue."""


class LabAnswers:
    """Answers what people ask of all data sets together."""

    def __init__(
        self, catalogue: LabCatalogue, metrics: ServiceMetrics, record: Record, with_accounts: bool
    ) -> None:
        self._catalogue = catalogue
        self._metrics = metrics
        self._record = record
        self._with_accounts = with_accounts

    async def front(self, request: Request) -> Response:
        """The catalogue of all data sets that the person may see."""
        person = person_of(request.scope)
        names = await run_in_threadpool(self._catalogue.names)
        seen = [name for name in names if person.may(Role.LOOK, name)]
        datasets = await run_in_threadpool(self._overviews, seen)
        reviewed = {name for name in seen if person.may(Role.REVIEW, name)}
        return render(
            request,
            "catalogue.html",
            PAGE_POLICY,
            datasets=datasets,
            person=person.name,
            reviewed=reviewed,
            progress=progress_text,
            with_accounts=self._with_accounts,
        )

    def _overviews(self, names: list[str]) -> list[Overview]:
        opened = [found for name in names if (found := self._catalogue.opened(name))]
        with ThreadPoolExecutor(LOOKING) as threads:
            return list(threads.map(overview, opened))

    async def _opened(self, request: Request) -> OpenedDataSet:
        found = await run_in_threadpool(self._catalogue.opened, request.path_params["dataset"])
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return found

    async def thumbnail(self, request: Request) -> Response:
        """A picture of a data set."""
        dataset = await run_in_threadpool((await self._opened(request)).dataset)
        content = await run_in_threadpool(thumbnail, dataset.shown)
        if content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(content, media_type="image/png", headers={"cache-control": ASK_AGAIN})

    async def table(self, request: Request) -> Response:
        """A finished table as CSV, sent as it is read."""
        opened, name = await self._opened(request), request.path_params["table"]
        table = (await run_in_threadpool(opened.tables)).get(name)
        if table is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        subject = f"{opened.place.name}/{name}"
        await self._record(name_of_person(request), address_of_client(request), "export", subject)
        headers = {"content-disposition": f'attachment; filename="{opened.place.name}-{name}.csv"'}
        return StreamingResponse(csv_pieces(table), media_type="text/csv", headers=headers)

    async def report(self, request: Request) -> ASGIApp:
        """The report of a job, or a file that it links to."""
        opened, path = await self._opened(request), request.path_params["path"]
        await run_in_threadpool(opened.dataset)
        if opened.work is None or not is_plain(path) or not in_report(path):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        found = await run_in_threadpool(source_of(opened.work.url).find, path, False, False)
        answer = file_answer(found, path, ASK_AGAIN)
        answer.headers |= {"content-security-policy": REPORT_POLICY, "x-content-type-options": "nosniff"}
        return answer

    async def health(self, request: Request) -> Response:
        """Said by a process that answers."""
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        """What this process has answered so far."""
        return PlainTextResponse(self._metrics.text(), media_type="text/plain; version=0.0.4")


def in_report(path: str) -> bool:
    """Whether a file of a work folder is a report or belongs to it: nothing else of the folder is shown."""
    return path == "report.html" or PurePosixPath(path).parts[0] == "reports"


def csv_pieces(table: Table) -> Iterator[bytes]:
    """The rows of a table as CSV in pieces, under one line of names."""
    for number, piece in enumerate(table.pieces()):
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(piece, buffer, pyarrow.csv.WriteOptions(include_header=number == 0))
        yield buffer.getvalue()
