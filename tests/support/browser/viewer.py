"""Neuroglancer in a headless browser, and what can be told from its picture.

The window has four panels: xy, xz, 3-D and zy. What a layer adds is what differs from the picture without it.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image
from playwright.sync_api import Page, TimeoutError, sync_playwright

from testbed.people.browser import ARGUMENTS, chromium

WIDTH, HEIGHT, BARS = 1000, 800, 48
LOADED = "typeof viewer == 'object' && viewer.layerManager.managedLayers.length > 0 && viewer.isReady()"
DROPPED = "document.body.innerText.includes('Dismiss')"
"""What the client says when it drops a layer, as it does on a slow machine where it writes its address
while it makes one."""
TRIES = 24
PATIENCE = 240_000  # milliseconds: the machine may be busy with other things
TRY_PATIENCE = 30_000
STEADY_CLOCK = """
const clock = Date.now.bind(Date);
const channel = new MessageChannel();
let time = null;
channel.port1.onmessage = () => { time = null; };
Date.now = () => {
  if (time === null) { time = clock(); channel.port2.postMessage(null); }
  return time;
};
"""
"""The client writes its address in the middle of making a layer, and drops the layer for it, once that takes
long; by this clock nothing that it does at one go takes any time."""
SECTION = (slice(BARS, (BARS + HEIGHT) // 2 - 4), slice(4, WIDTH // 2 - 4))
SPACE = (slice((BARS + HEIGHT) // 2 + 4, HEIGHT - 30), slice(4, WIDTH // 2 - 4))


class Viewer:
    """One browser window; `show` leads it to a state and takes the picture."""

    def __init__(self, page: Page) -> None:
        self.failed: list[str] = []
        self._take(page)

    def _take(self, page: Page) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        page.on("response", lambda answer: self._note(answer.status, answer.url))
        page.on("pageerror", lambda error: self.failed.append(str(error)))

    def _note(self, status: int, url: str) -> None:
        if status >= 400 and not url.endswith("favicon.ico"):
            self.failed.append(f"{status} {url}")

    def open(self, link: str) -> np.ndarray:
        """Follow a link, as a user does."""
        until = time.monotonic() + PATIENCE / 1000
        for _ in range(TRIES):
            self.page.goto("about:blank")
            self.page.goto(link)
            with suppress(TimeoutError):  # the client now and then stands still on a busy machine, for good
                self.page.wait_for_function(f"{LOADED} || {DROPPED}", timeout=TRY_PATIENCE)
                if self.page.evaluate(LOADED):
                    return self._picture()
            if time.monotonic() > until:
                break
            self._renew()
        raise AssertionError(f"nothing was shown in {TRIES} tries and {PATIENCE / 1000:.0f} s")

    def _renew(self) -> None:
        """Go on in another window."""
        context = self.page.context
        self.page.close()
        self._take(context.new_page())

    def show(self, base: str, state: dict[str, Any], only: tuple[str, ...] | None = None) -> np.ndarray:
        """Show a state with the client that a server has at `base`; all its layers, or `only` some."""
        layers = [layer | {"visible": only is None or layer["name"] in only} for layer in state["layers"]]
        # what is no layer is left out, so that a difference between two pictures is a layer
        bare = state | {"layers": layers, "showAxisLines": False, "showDefaultAnnotations": False}
        return self.open(f"{base}/v/viewer/#!{quote(json.dumps(bare))}")

    def _picture(self) -> np.ndarray:
        """The window, all loaded, once two pictures in a row are equal."""
        before = self._shot()
        for _ in range(240):
            self.page.wait_for_timeout(250)
            after = self._shot()
            if np.array_equal(before, after):
                return after
            before = after
        raise AssertionError("the picture never came to rest")

    def _shot(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")).astype(int)


@contextmanager
def open_viewer() -> Iterator[Viewer]:
    path = chromium()
    assert path is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT})
            context.add_init_script(STEADY_CLOCK)
            yield Viewer(context.new_page())
        finally:
            browser.close()


def changed(picture: np.ndarray, without: np.ndarray, panel: tuple[slice, slice]) -> np.ndarray:
    """The pixels (n, 3) of a panel that are not as they were without the layer."""
    here, there = picture[panel], without[panel]
    return here[np.abs(here - there).max(axis=2) > 12]


def grey(pixels: np.ndarray) -> int:
    """How many pixels have no colour."""
    return int((np.ptp(pixels, axis=1) < 10).sum()) if len(pixels) else 0


def hues(pixels: np.ndarray) -> int:
    """How many of twelve hues at least 30 coloured pixels have."""
    if len(pixels) == 0:
        return 0
    strong = pixels[np.ptp(pixels, axis=1) > 40]
    angle = np.arctan2(
        np.sqrt(3) * (strong[:, 1] - strong[:, 2]), 2 * strong[:, 0] - strong[:, 1] - strong[:, 2]
    )
    counts = np.bincount(np.floor((angle + np.pi) / (2 * np.pi) * 12).astype(int) % 12, minlength=12)
    return int((counts >= 30).sum())


def near(pixels: np.ndarray, colour: tuple[int, int, int], within: int = 40) -> int:
    """How many pixels are of about this colour."""
    return int((np.abs(pixels - np.asarray(colour)).max(axis=1) < within).sum()) if len(pixels) else 0
