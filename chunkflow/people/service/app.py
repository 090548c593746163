"""The web application: all addresses, and the role that each of them needs.

`view` and `review` serve one data set to one person; a lab's service has the catalogue, accounts and kept
views beside. What is answered at an address is at the top of the module that answers it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from chunkflow.errors import ChunkflowError
from chunkflow.people.accounts.roles import Role
from chunkflow.people.review.live import LiveTable
from chunkflow.people.service.access import Access, AccountAccess, Guarded, OnePersonAccess, Record
from chunkflow.people.service.asked import refuse, root_of, say_error
from chunkflow.people.service.catalogue.catalogues import Catalogue, FixedCatalogue, LabCatalogue
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.files.layers import LayerFiles
from chunkflow.people.service.lab.answers import LabAnswers
from chunkflow.people.service.lab.login import LoginAnswers
from chunkflow.people.service.lab.metrics import STREAM, CountedEndpoint, ServiceMetrics
from chunkflow.people.service.lab.views import KeptViews
from chunkflow.people.service.review.answers import ReviewAnswers
from chunkflow.people.service.review.pages import ReviewPages
from chunkflow.people.service.viewers import VIEWER, ViewerAnswers

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts

Endpoint = Callable[[Request], Awaitable[Any]]
READ = ("GET",)
BELOW = "/d/{dataset}"


@dataclass(frozen=True)
class ServiceAddress:
    """An address of the service: the role that it needs, and the kind under which it is counted."""

    path: str
    needs: Role | None
    """None: open to everybody."""
    kind: str
    endpoint: Endpoint | LayerFiles
    methods: tuple[str, ...] = READ


class Service:
    """Data sets by name, answered over HTTP."""

    def __init__(self, catalogue: Catalogue, access: Access, record: Record | None = None) -> None:
        self.catalogue = catalogue
        self.access = access
        self.metrics = ServiceMetrics()
        self._record = record or record_nothing
        self.reviews = ReviewAnswers(self.review, self.dataset, self._record)
        self.viewers = ViewerAnswers(catalogue, self.kept_views())

    @classmethod
    def of(
        cls, dataset: DataSet, person: str = "", reviews: Mapping[str, LiveTable] | None = None
    ) -> Service:
        """The service of one data set, and of reviews of its tables by name, for one person."""
        return cls(FixedCatalogue(dataset, reviews or {}), OnePersonAccess(person))

    def kept_views(self) -> KeptViews | None:
        """Where views are kept; nowhere for one link."""
        return None

    def app(self) -> ASGIApp:
        """The ASGI application."""
        return Starlette(
            routes=[self._route(address) for address in self.addresses()],
            exception_handlers={HTTPException: refuse, ChunkflowError: say_error},
        )

    def _route(self, address: ServiceAddress) -> Route:
        made = address.endpoint
        endpoint: ASGIApp = made if isinstance(made, LayerFiles) else request_response(made)
        if address.needs is not None:
            endpoint = Guarded(endpoint, address.needs, self.access, self._record)
        return Route(
            address.path, CountedEndpoint(endpoint, address.kind, self.metrics), methods=address.methods
        )

    def addresses(self) -> list[ServiceAddress]:
        """All addresses."""
        return [*self.shared_addresses(), ServiceAddress("/", Role.LOOK, "page", self.front)]

    def shared_addresses(self) -> list[ServiceAddress]:
        """The addresses that every service has."""
        viewers, pages = self.viewers, ReviewPages(self.viewers, self.review)
        look, review = Role.LOOK, Role.REVIEW
        files = LayerFiles(self.catalogue.held, self.catalogue.dataset)
        return [
            # first, as nearly all that is asked is asked of it, and routes are tried in their order
            ServiceAddress(f"{BELOW}/data/{{layer}}/{{path:path}}", look, "data", files),
            ServiceAddress(f"{BELOW}/", look, "page", viewers.lead_to_viewer),
            ServiceAddress(f"{BELOW}/v/{{view}}/", look, "page", viewers.page),
            ServiceAddress(f"{BELOW}/events/{{view}}", look, STREAM, viewers.idle_stream),
            ServiceAddress(f"{BELOW}/state.json", look, "state", viewers.state),
            ServiceAddress(f"{BELOW}/review/{{table}}", review, "page", pages.lead_to_page),
            ServiceAddress(f"{BELOW}/review/{{table}}/state.json", review, "state", pages.state),
            ServiceAddress(f"{BELOW}/review/{{table}}/events/{{view}}", review, STREAM, viewers.idle_stream),
            ServiceAddress(f"{BELOW}/review/{{table}}/v/{{view}}/", review, "page", pages.page),
            *(
                ServiceAddress(
                    route.path, review, kind_of(route), route.endpoint, tuple(route.methods or READ)
                )
                for route in self.reviews.routes()
            ),
            ServiceAddress("/client/{file}", None, "static", viewers.client),
            ServiceAddress("/static/{file}", None, "static", viewers.static),
        ]

    async def front(self, request: Request) -> Response:
        """Lead to the viewer of the one data set."""
        (name,) = self.catalogue.names()
        return RedirectResponse(f"{root_of(request)}/d/{quote(name)}/v/{VIEWER}/", HTTPStatus.FOUND)

    async def review(self, dataset: str, table: str) -> LiveTable | None:
        """The table of a data set as it is reviewed."""
        return await run_in_threadpool(self.catalogue.review, dataset, table)

    async def dataset(self, name: str) -> DataSet | None:
        """A data set as it is now; None where there is none."""
        return await run_in_threadpool(self.catalogue.dataset, name)

    def close(self) -> None:
        """End the streams that are open."""
        self.viewers.closing.set()
        self.reviews.close()


class LabService(Service):
    """The data sets of a lab, for people with accounts; for one person where there are none."""

    def __init__(self, catalogue: LabCatalogue, accounts: Accounts, person: str = "") -> None:
        """Without `person` people log in with their accounts."""
        self._lab_catalogue = catalogue
        self._accounts = accounts
        self._login: LoginAnswers | None = None
        access: Access = OnePersonAccess(person)
        if not person:
            access = account_access = AccountAccess(accounts)
            self._login = LoginAnswers(accounts, account_access)
        super().__init__(catalogue, access, self._record_line)

    def kept_views(self) -> KeptViews:
        return KeptViews(self._accounts, self._lab_catalogue)

    async def _record_line(self, person: str, origin: str, action: str, subject: str) -> None:
        await run_in_threadpool(self._accounts.record, person, origin, action, subject)

    def addresses(self) -> list[ServiceAddress]:
        """All addresses."""
        views, look = self.kept_views(), Role.LOOK
        lab = LabAnswers(self._lab_catalogue, self.metrics, self._record_line, self._login is not None)
        found = [
            *self.shared_addresses(),
            ServiceAddress("/", look, "page", lab.front),
            ServiceAddress(f"{BELOW}/view", look, "view", views.keep, ("PUT",)),
            ServiceAddress(f"{BELOW}/links", look, "view", views.shorten, ("POST",)),
            ServiceAddress("/s/{id}", look, "page", views.follow),
            ServiceAddress(f"{BELOW}/thumbnail.png", look, "page", lab.thumbnail),
            ServiceAddress(f"{BELOW}/tables/{{table}}.csv", look, "export", lab.table),
            ServiceAddress(f"{BELOW}/report/{{path:path}}", look, "page", lab.report),
            ServiceAddress("/health", None, "health", lab.health),
            ServiceAddress("/metrics", Role.OWN, "metrics", lab.metrics),
        ]
        if self._login is not None:
            found += [
                ServiceAddress("/login", None, "login", self._login.page),
                ServiceAddress("/login", None, "login", self._login.log_in, ("POST",)),
                ServiceAddress("/logout", None, "login", self._login.log_out, ("POST",)),
            ]
        return found


def kind_of(route: Route) -> str:
    """The kind under which an address of a review is counted."""
    return STREAM if route.path.endswith("/events") else "review"


async def record_nothing(person: str, origin: str, action: str, subject: str) -> None:
    """Keep no audit log: that of one person says nothing that the log of edits does not."""
