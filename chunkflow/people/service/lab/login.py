"""Logging in and out: a token is entered once, and a cookie stands for it from then on.

/login (GET)    a page that asks for the token
/login (POST)   sets the cookie, and leads to where the person wanted to go
/logout (POST)  ends the session
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from chunkflow.people.accounts.roles import SESSION_DAYS
from chunkflow.people.service.access import COOKIES, AccountAccess, from_our_page, session_secret
from chunkflow.people.service.asked import address_of_client, body_of
from chunkflow.people.service.rendering import PAGE_POLICY, render

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts

LARGEST_FORM = 1 << 14
WRONG = "This token is not known here, or it was revoked. Ask whoever runs the service for a new one."


class LoginAnswers:
    """Answers people who log in and out."""

    def __init__(self, accounts: Accounts, access: AccountAccess) -> None:
        self._accounts = accounts
        self._access = access

    async def page(self, request: Request) -> Response:
        """The page that asks for a token."""
        return self._page(request, local_path(request.query_params.get("next", "")))

    def _page(self, request: Request, then: str, fault: str = "") -> Response:
        answer = render(request, "login.html", PAGE_POLICY, then=then, fault=fault)
        answer.status_code = HTTPStatus.FORBIDDEN if fault else HTTPStatus.OK
        return answer

    async def log_in(self, request: Request) -> Response:
        """Begin a session for whoever has a token."""
        if not from_our_page(request.scope):
            return Response(status_code=HTTPStatus.FORBIDDEN)
        form = parse_qs((await body_of(request, LARGEST_FORM, "A login")).decode("latin-1"))
        token, then = form.get("token", [""])[0].strip(), local_path(form.get("next", [""])[0])
        person = await run_in_threadpool(self._accounts.holder, token)
        address = address_of_client(request)
        if person is None:
            await run_in_threadpool(self._accounts.record, "", address, "login refused")
            return self._page(request, then, WRONG)
        secret = await run_in_threadpool(self._accounts.begin_session, person.name)
        await run_in_threadpool(self._accounts.record, person.name, address, "login")
        answer = RedirectResponse(then, HTTPStatus.SEE_OTHER)
        set_cookie(request, answer, secret, SESSION_DAYS * 86_400)
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        if not from_our_page(request.scope):
            return Response(status_code=HTTPStatus.FORBIDDEN)
        if secret := session_secret(request.scope):
            person = await run_in_threadpool(self._accounts.holder, secret)
            await run_in_threadpool(self._accounts.end_session, secret)
            self._access.forget(secret)
            if person is not None:
                await run_in_threadpool(
                    self._accounts.record, person.name, address_of_client(request), "logout"
                )
        answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        set_cookie(request, answer, "", 0)
        return answer


def set_cookie(request: Request, answer: Response, secret: str, seconds: int) -> None:
    """Give the browser a cookie that scripts cannot read and other sites do not send."""
    secure = request.scope["scheme"] == "https"
    name = COOKIES["https" if secure else "http"]
    answer.set_cookie(name, secret, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure)


def local_path(text: str) -> str:
    """A path of this host to lead to; the catalogue where it is none."""
    plain = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if plain else "/"
