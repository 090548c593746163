"""Pages: templates with everything escaped, each with a policy on what it may load and run."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from chunkflow.people.service.asked import root_of
from chunkflow.people.service.files.answer import ASK_AGAIN

VIEWER_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self' http: https: data: blob:"
)
"""Neuroglancer compiles code for annotations, and people may show layers of other hosts beside these."""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; sandbox allow-downloads"
"""A report is a file that anybody with the work folder may have written: nothing in it runs; lists
that it links to can be loaded."""
PAGE_HEADERS = {
    "cache-control": ASK_AGAIN,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}

_TEMPLATES = Environment(
    loader=PackageLoader("chunkflow.people.service", "pages"), autoescape=True, auto_reload=False
)


def render(request: Request, template: str, policy: str, **values: Any) -> Response:
    """A page of a template, whose `root` is what stands before every address."""
    content = _TEMPLATES.get_template(template).render(values | {"root": root_of(request)})
    return HTMLResponse(content, headers=PAGE_HEADERS | {"content-security-policy": policy})
