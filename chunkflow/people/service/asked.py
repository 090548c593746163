"""Requests and plain answers: what stands in a request, bodies within bounds, errors as sentences."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chunkflow.errors import BadInput
from chunkflow.people.service.access import person_of

SAFE_HOST = re.compile(r"[\w.-]+(?::\d+)?|\[[0-9a-fA-F:]+\](?::\d+)?")
PING_SECONDS = 15.0
"""How often something comes on a stream on which nothing happens, so that nobody takes it for dead."""
BODY_SECONDS = 30.0
"""How long a body may take to come in: those without end hold nothing up."""


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


def base_of(request: Request, dataset: str) -> str:
    """The address of a data set as this browser sees it: through `ssh -L` the port may be another."""
    return f"{origin_of(request)}{root_of(request)}/d/{quote(dataset)}"


def name_of_person(request: Request) -> str:
    """The name of the person who asks."""
    return person_of(request.scope).name


def address_of_client(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else ""


async def body_of(request: Request, most: int, what: str) -> bytes:
    """The content of a request, at most so many bytes; `what` it is, as in "An edit"."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                content += part
                if len(content) > most:
                    raise HTTPException(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} has at most {most:,} bytes."
                    )
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None
    return bytes(content)


def document_of(content: bytes, what: str) -> dict[str, Any]:
    """The JSON object in a body."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise BadInput(f"{what} is a JSON object.")
    return document


def said(status: HTTPStatus, sentence: str, object: dict[str, Any] | None = None) -> Response:
    """A refusal with its reason, and what is current instead."""
    return JSONResponse({"error": sentence, "object": object}, status_code=status)


async def refuse(request: Request, error: Exception) -> Response:
    """An answer without content, but for a sentence: nothing is told of what is not there."""
    assert isinstance(error, HTTPException)
    if error.detail and error.detail != HTTPStatus(error.status_code).phrase:
        return said(HTTPStatus(error.status_code), error.detail)
    return Response(status_code=error.status_code, headers=error.headers)


async def say_error(request: Request, error: Exception) -> Response:
    """What is wrong with what was asked, or with what it needs, in a sentence."""
    status = HTTPStatus.BAD_REQUEST if isinstance(error, BadInput) else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"error": str(error)}, status_code=status)
