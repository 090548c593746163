"""The page of a review in a browser, and a person who decides there by keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Page, TimeoutError

from tests.support.browser.viewer import Viewer

READY = "window.review && window.review.current && window.review.loaded && viewer.isReady()"
SENT = "review.outbox.waiting().length === 0 && !review.outbox.sending"


def open_page(viewer: Viewer, url: str) -> Page:
    """A browser window on the page of a review, with an object before it."""
    window = viewer.page.context.new_page()
    window.set_default_timeout(60_000)
    for _ in range(5):
        window.goto(url)
        try:
            window.wait_for_function(READY, timeout=20_000)
            return window
        except TimeoutError:  # the client now and then stands still on a busy machine
            continue
    raise AssertionError("the page did not become ready")


def current(window: Page) -> dict[str, Any]:
    """The object that is looked at."""
    return dict(window.evaluate("review.current"))


def press(window: Page, key: str) -> None:
    """Press a key, and wait until it is durable and the page has gone on."""
    window.keyboard.press(key)
    window.wait_for_function(SENT)


def next_object(window: Page, after: str) -> dict[str, Any]:
    """The object that is come to after another."""
    window.wait_for_function(f"review.current && review.current.id !== '{after}'")
    return current(window)


class KeyReviewer:
    """A person who knows what each object is, and says so by keys: f, d, digits, j and u."""

    def __init__(self, window: Page, truth: Mapping[str, str]) -> None:
        """`truth` has the classes of objects by id; an object that it lacks is nothing."""
        self._window = window
        self._truth = truth
        self._classes: list[str] = window.evaluate("review.table.classes")
        self.said: dict[str, str] = {}
        """The class that stands of each object; empty where it is rejected."""
        self.pressed: list[str] = []

    def decide(self) -> str:
        """Decide on the object that is looked at; its id, once the next one has come."""
        seen = current(self._window)
        id, kind = str(seen["id"]), self._truth.get(str(seen["id"]), "")
        if not kind:
            key = "d"
        elif kind == seen["class"]:
            key = "f"
        else:
            key = str(self._classes.index(kind) + 1)
        self._press(key)
        next_object(self._window, id)
        self.said[id] = kind
        return id

    def skip(self) -> None:
        """Leave the object that is looked at as it is."""
        id = current(self._window)["id"]
        self._press("j")
        next_object(self._window, id)

    def undo(self, id: str) -> None:
        """Take back what was decided last, which leads back to its object."""
        self._press("u")
        self._window.wait_for_function(f"review.current.id === '{id}'")
        del self.said[id]

    def _press(self, key: str) -> None:
        self.pressed.append(key)
        press(self._window, key)
