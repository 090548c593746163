"""What a review is asked of places: the objects around one, the regions in which objects lie."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chunkflow.errors import BadInput
from chunkflow.people.review.live import REGION, LiveTable
from chunkflow.people.review.regions import MOST_TOLD
from chunkflow.people.service.catalogue.datasets import DataSet


class PlaceAnswers:
    """Answers what depends on where objects lie."""

    def __init__(
        self,
        live: Callable[[Request], Awaitable[LiveTable]],
        dataset: Callable[[str], Awaitable[DataSet | None]],
    ) -> None:
        self._live = live
        self._dataset = dataset

    def routes(self, below: str) -> list[Route]:
        """The addresses below that of the table."""
        return [
            Route(f"{below}/near", self.near),
            Route(f"{below}/regions", self.regions),
        ]

    async def near(self, request: Request) -> Response:
        """The objects around a place."""
        place = place_of(request)
        return JSONResponse(await run_in_threadpool((await self._live(request)).near, place))

    async def regions(self, request: Request) -> Response:
        """The layers of regions; of a `layer` its regions, or at a `place` the one that lies there."""
        live = await self._live(request)
        await self.find_layers(request, live)
        layer = request.query_params.get("layer")
        if layer is None:
            return JSONResponse({"layers": list(live.regions.urls)})
        found = live.regions.layer(layer)
        if "place" not in request.query_params:
            regions = await run_in_threadpool(lambda: found.regions)
            return JSONResponse({"regions": [region.to_json() for region in regions[:MOST_TOLD]]})
        at = await run_in_threadpool(found.region_at, place_of(request))
        return JSONResponse({"region": None if at is None else at.to_json()})

    async def find_layers(self, request: Request, live: LiveTable) -> None:
        """Tell a table which layers of its data set have regions."""
        dataset = await self._dataset(request.path_params["dataset"])
        own = live.objects.info.labels
        shown = dataset.shown if dataset is not None else ()
        live.regions.urls = {
            one.name: one.url for one in shown if one.kind == "segmentation" and one.url != own
        }


def asks_for_region(query: str) -> bool:
    """Whether a query is one of the objects of a region."""
    return query.startswith(REGION)


def place_of(request: Request) -> list[float]:
    """The place that a request names, in voxels of the table's layer."""
    try:
        place = [float(text) for text in request.query_params.get("place", "").split(",")]
    except ValueError:
        place = []
    if len(place) != 3 or not all(math.isfinite(n) for n in place):
        raise BadInput("A place is three numbers, as in 10,20,5.")
    return place
