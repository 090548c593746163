"""Access: who asks, and whether they may.

1. One person of this machine, known by the token in the path, may do all (`local/token.py`).
2. In a lab people and programs are known by a session's cookie, by a token in the header `Authorization:
   Bearer`, or by the name for which a login proxy vouches. Each has a role for each data set.
3. What changes something and comes with a cookie, or by the vouching of a proxy, must come from a page of
   ours: browsers say so in `Sec-Fetch-Site`, older ones in `Origin`.
4. Who may not even look at a data set is answered as if it were not there.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from chunkflow.people.accounts.roles import Person, Role
from chunkflow.people.service.files.answer import send_empty

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts

BELIEVED_SECONDS = 5.0
"""How long an account that was looked up is believed: who is revoked is shut out within this time."""
MOST_BELIEVED = 10_000
BEARER = "bearer "
COOKIES = {"http": "chunkflow", "https": "__Host-chunkflow"}
"""The name of the cookie; browsers hold one named __Host- to this host and to HTTPS."""
Record = Callable[[str, str, str, str], Awaitable[None]]
"""Writes a line of the audit log: who, from where, what, on what."""
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


@dataclass(frozen=True)
class Asker:
    """The person who asks, and how they are known."""

    person: Person
    by_browser: bool
    """By something that a browser sends by itself: a cookie, or the vouching of a proxy."""


class Access(Protocol):
    """How a service knows who asks."""

    async def asker(self, scope: Scope) -> Asker | None: ...


class OnePersonAccess:
    """Whoever has the link may do all."""

    def __init__(self, name: str) -> None:
        self._asker = Asker(Person(name, {"": Role.OWN}), by_browser=False)

    async def asker(self, scope: Scope) -> Asker | None:
        return self._asker


class AccountAccess:
    """People and programs with accounts."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._believed: dict[tuple[str, str], tuple[float, Person]] = {}

    async def asker(self, scope: Scope) -> Asker | None:
        headers = headers_of(scope)
        said = headers.get("authorization", "")
        if said.lower().startswith(BEARER):
            person = await self._look("secret", said[len(BEARER) :].strip())
            return Asker(person, by_browser=False) if person else None
        vouched = scope.get("state", {}).get("vouched")
        secret = secret_in(headers.get("cookie", ""), scope["scheme"])
        person = await self._look("name", vouched) if vouched else None
        if person is None and secret:
            person = await self._look("secret", secret)
        return Asker(person, by_browser=True) if person else None

    async def _look(self, kind: str, word: str) -> Person | None:
        now, known = time.monotonic(), self._believed.get((kind, word))
        if known is not None and now < known[0]:
            return known[1]
        look = self._accounts.holder if kind == "secret" else self._accounts.person
        person = await run_in_threadpool(look, word)
        if len(self._believed) >= MOST_BELIEVED:
            self._believed.clear()
        if person is not None:  # garbage is not worth memory
            self._believed[kind, word] = now + BELIEVED_SECONDS, person
        return person

    def forget(self, secret: str) -> None:
        """Believe a secret no longer."""
        self._believed.pop(("secret", secret), None)


class Guarded:
    """An endpoint that only those may use who have a role; its `scope["state"]["person"]` says who does."""

    def __init__(self, endpoint: ASGIApp, needs: Role, access: Access, record: Record) -> None:
        self._endpoint = endpoint
        self._needs = needs
        self._access = access
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asker = await self._access.asker(scope)
        if asker is None:
            await send_empty(send, *unknown(scope))
            return
        status = self._refusal(scope, asker)
        if status is not None:
            origin = scope["client"][0] if scope["client"] else ""
            await self._record(asker.person.name, origin, "refused", f"{scope['method']} {scope['path']}")
            await send_empty(send, status, {})
            return
        scope.setdefault("state", {})["person"] = asker.person
        await self._endpoint(scope, receive, send)

    def _refusal(self, scope: Scope, asker: Asker) -> HTTPStatus | None:
        person, dataset = asker.person, scope["path_params"].get("dataset", "")
        anywhere = not dataset and self._needs == Role.LOOK and person.roles
        if not anywhere and not person.may(self._needs, dataset):
            seen = not dataset or person.may(Role.LOOK, dataset)
            return HTTPStatus.FORBIDDEN if seen else HTTPStatus.NOT_FOUND
        if scope["method"] not in SAFE_METHODS and asker.by_browser and not from_our_page(scope):
            return HTTPStatus.FORBIDDEN
        return None


def unknown(scope: Scope) -> tuple[HTTPStatus, dict[str, str]]:
    """The answer to somebody who is not known: browsers are led to the login."""
    if wants_page(scope):
        return HTTPStatus.SEE_OTHER, {"location": login_address(scope), "cache-control": "no-store"}
    return HTTPStatus.UNAUTHORIZED, {"www-authenticate": "Bearer"}


def from_our_page(scope: Scope) -> bool:
    """Whether a browser says that a page of this host has sent the request."""
    headers = headers_of(scope)
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return headers.get("origin") == f"{scope['scheme']}://{headers.get('host', '')}"


def wants_page(scope: Scope) -> bool:
    """Whether a browser asks for a page to be shown, and not a script of one."""
    return scope["method"] == "GET" and "text/html" in headers_of(scope).get("accept", "")


def login_address(scope: Scope) -> str:
    """The login, which leads back here."""
    query = scope["query_string"].decode("latin-1")
    return f"/login?next={quote(scope['path'] + (f'?{query}' if query else ''), safe='')}"


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The headers of a request; of those that come several times the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def session_secret(scope: Scope) -> str:
    """The secret in the session's cookie; empty where there is none."""
    return secret_in(headers_of(scope).get("cookie", ""), scope["scheme"])


def secret_in(cookies: str, scheme: str) -> str:
    """The secret among cookies, whose name depends on the scheme."""
    wanted = COOKIES["https" if scheme == "https" else "http"]
    for part in cookies.split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value
    return ""


def person_of(scope: Scope) -> Person:
    """The person whom a guard has let in."""
    found: Person = scope["state"]["person"]
    return found
