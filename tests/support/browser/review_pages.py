"""Browser windows on the page of a review."""

from __future__ import annotations

from playwright.sync_api import Page, TimeoutError

from chunkflow.people.service.local.reviewer import Reviewer
from tests.support.browser.viewer import Viewer

READY = "window.review && window.review.current && window.review.loaded && viewer.isReady()"


def open_page(viewer: Viewer, page: Reviewer) -> Page:
    """A browser window on the page of a review, with an object before it."""
    window = viewer.page.context.new_page()
    window.set_default_timeout(60_000)
    for _ in range(5):
        window.goto(page.url)
        try:
            window.wait_for_function(READY, timeout=20_000)
            return window
        except TimeoutError:  # the client now and then stands still on a busy machine
            continue
    raise AssertionError("the page did not become ready")
