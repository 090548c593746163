"""Edits in a real browser: from the click until they are durable, and until another page shows them.

The peer is the server of the neuroglancer Python package, by the same click on as many points over an image
as large, until its Python side knows of the point. A click or key begins when the browser had it; times of
several processes are compared by the clock of this machine. Both pages are drawn by software.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import neuroglancer
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.figure import Figure
from chunkflow.api import Job
from chunkflow.people.service.local.reviewer import review
from testbed.people.browser import ARGUMENTS, chromium

SIZE, DENSITY = [288, 288, 112], 60_000
"""A volume of a few more than POINTS cells."""
POINTS, TABLE = 1000, "cells"
ROUNDS, ADDS, DECISIONS = 4, 5, 10
"""In each round first our page has edits, then that of the peer as many clicks."""
FOLLOWED = 30
REST_MS = 300
PATIENCE, TRIES = 60.0, 5
MEDIAN_MS, LATE_MS, SEEN_SECONDS, RATIO = 50.0, 200.0, 1.0, 5.0
WINDOW = {"width": 1000, "height": 800}
SECTION, AROUND = (160, 230), 60
"""A pixel near the middle of the section of x and y, and how far from it clicks go."""
TIMED = """
window.timed = { began: null, edits: [], seen: {} };
for (const kind of ["mousedown", "keydown"])
  addEventListener(kind, (event) => {
    if (event.key !== "Control") timed.began = performance.timeOrigin + event.timeStamp;
  }, true);
const asks = window.fetch;
window.fetch = async (address, options) => {
  const answer = await asks(address, options);
  if (options?.method === "POST" && String(address).includes("/edits?")) {
    const began = timed.began;
    const { edit } = await answer.clone().json();
    const ms = performance.timeOrigin + performance.now() - began;
    timed.edits.push({ began, ms, status: answer.status, seq: edit?.seq, operation: edit?.operation });
  }
  return answer;
};
"""
"""What a page notes: when it last had a click or key, and when an edit was answered."""
SEEING = """
const heard = review.heard.bind(review);
review.heard = (known) => {
  heard(known);
  timed.seen[known.seq] = performance.timeOrigin + performance.now();
};
"""
READY = "Boolean(window.review && review.current && review.loaded && viewer.isReady())"
RESTS = "review.outbox.waiting().length === 0 && !review.outbox.sending && viewer.isReady()"
PEER_READY = "Boolean(window.viewer && viewer.layerManager.managedLayers.length && viewer.isReady())"


def run() -> list[Figure]:
    place, chance = Path(tempfile.mkdtemp(prefix="chunkflow-bench-")), random.Random(7)
    edits: list[tuple[str, float]] = []
    peer: list[float] = []
    try:
        work = _run_job(place)
        with _served(work, place, "ann") as hers, _served(work, place, "bo") as his, _browser() as browser:
            page, other = _open(browser, hers, READY), PeerPage(browser)
            points = int(page.evaluate("review.points.shown.size"))
            assert points >= POINTS, f"only {points} points can be edited"
            for _ in range(ROUNDS):
                edits += _edit(page, ADDS, DECISIONS, chance)
                peer += other.clicks(ADDS, chance)
            seen = _followed(page, _open(browser, his, READY), chance)
    finally:
        neuroglancer.stop()
        shutil.rmtree(place)
    return _figures(points, edits, peer, seen)


def _figures(
    points: int, edits: list[tuple[str, float]], peer: list[float], seen: list[float]
) -> list[Figure]:
    waits = [wait for _, wait in edits]
    added = median(wait for operation, wait in edits if operation == "add")
    what = f"{len(edits)} edits among {points:,} points, until they are durable"
    click = "a click that adds a point, until the server has it: median"
    elsewhere = f"{len(seen)} edits, until a page of another process has them: 95th percentile"
    return [
        Figure(f"{what}: median", median(waits), "ms", better="lower", target=MEDIAN_MS),
        Figure(f"{what}: 95th percentile", _late(waits), "ms", better="lower", target=LATE_MS),
        Figure(click, added, "ms", median(peer), "neuroglancer", "lower", RATIO),
        Figure(elsewhere, _late(seen) / 1000, "s", better="lower", target=SEEN_SECONDS),
    ]


def _late(waits: list[float]) -> float:
    return float(np.percentile(waits, 95))


def _run_job(place: Path) -> str:
    """The work folder of a job with a table of cells."""
    document = {
        "job": "clicked",
        "work": str(place / "work"),
        "layers": {"dapi": str(place / "dapi")},
        "tasks": [{"synthesize": {"dapi": "dapi", "cells": TABLE, "size": SIZE, "density": DENSITY}}],
    }
    return Job.from_document(document, place).run(serial=True).url


@contextmanager
def _served(work: str, place: Path, person: str) -> Iterator[str]:
    """The address of the review page of a person, served by a process of its own."""
    command = [sys.executable, "-m", "benchmarks.service.browser", work, str(place / "edits.sqlite"), person]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the review was not served"
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _browser() -> Iterator[Browser]:
    path = chromium()
    assert path is not None, "the bench of the browser needs one: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def _open(browser: Browser, url: str, ready: str) -> Page:
    """A page once it is ready; one that stands still, as on a busy machine, is opened anew."""
    for _ in range(TRIES):
        page = browser.new_page(viewport={"width": WINDOW["width"], "height": WINDOW["height"]})
        page.add_init_script(TIMED)
        page.goto(url)
        if _comes(page, ready, PATIENCE / 2):
            page.wait_for_timeout(3 * REST_MS)
            return page
        page.close()
    raise RuntimeError(f"the page was not ready in {TRIES} tries")


def _comes(page: Page, true: str | Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether an expression of the page, or what is called, comes true while the browser goes on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if page.evaluate(true) if isinstance(true, str) else true():
            return True
        page.wait_for_timeout(20)
    return False


def _edit(page: Page, adds: int, decisions: int, chance: random.Random) -> list[tuple[str, float]]:
    """Add points and decide on objects, one after the other; the operations and their milliseconds."""
    before = _answered(page)
    page.evaluate(f"viewer.position.value = new Float32Array({[edge / 2 for edge in SIZE]})")
    page.wait_for_timeout(1000)
    for number in range(adds + decisions):
        if number < adds:
            _click(page, chance)
        else:
            page.mouse.move(WINDOW["width"] / 2, 10)  # keys are for the object that lies before the person
            page.keyboard.press("fd"[number % 2])
        assert _comes(page, f"timed.edits.length > {before + number}"), "an edit was not answered"
        assert _comes(page, RESTS), "the page did not come to rest"
        page.wait_for_timeout(REST_MS)
    edits = page.evaluate("timed.edits")[before:]
    assert all(edit["status"] == 200 for edit in edits), edits
    return [(edit["operation"], edit["ms"]) for edit in edits]


def _answered(page: Page) -> int:
    return int(page.evaluate("timed.edits.length"))


def _click(page: Page, chance: random.Random) -> None:
    """Add a point somewhere near the middle of the section."""
    x, y = (middle + chance.randint(-AROUND, AROUND) for middle in SECTION)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.click(x, y)
    page.keyboard.up("Control")


def _followed(page: Page, other: Page, chance: random.Random) -> list[float]:
    """Milliseconds from clicks and keys on a page until another one has what they did."""
    other.evaluate(f"() => {{ {SEEING} }}")
    before = _answered(page)
    _edit(page, FOLLOWED // 2, FOLLOWED - FOLLOWED // 2, chance)
    edits = page.evaluate("timed.edits")[before:]
    last = edits[-1]["seq"]
    assert _comes(other, f"{last} in timed.seen"), "the last edit was not seen"
    seen = other.evaluate("timed.seen")
    return [seen[str(edit["seq"])] - edit["began"] for edit in edits]


class PeerPage:
    """A page of the server of the neuroglancer package, and when its Python side came to have a point."""

    def __init__(self, browser: Browser) -> None:
        self._viewer = _peer_viewer()
        self._page = _open(browser, self._viewer.get_viewer_url(), PEER_READY)
        self._count, self._came = POINTS, 0.0
        self._known = threading.Event()
        self._viewer.shared_state.add_changed_callback(self._changed)

    def _changed(self) -> None:
        layers = (self._viewer.shared_state.raw_state or {}).get("layers", [])
        held = sum(len(layer.get("annotations", [])) for layer in layers)
        if held > self._count:
            self._count, self._came = held, time.time()
            self._known.set()

    def clicks(self, count: int, chance: random.Random) -> list[float]:
        """Milliseconds from clicks until the Python side has the points."""
        waits = []
        for _ in range(count):
            self._known.clear()
            _click(self._page, chance)
            assert _comes(self._page, self._known.is_set), "neuroglancer did not tell of a point"
            waits.append(1000 * self._came - self._page.evaluate("timed.began"))
            self._page.wait_for_timeout(REST_MS)
        return waits


def _peer_viewer() -> neuroglancer.Viewer:
    """An image as large as that of the job, and points in it, in a layer whose tool adds others."""
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer, chance = neuroglancer.Viewer(), np.random.default_rng(7)
    space = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="um", scales=[1, 1, 1])
    image = chance.integers(0, 2**16, SIZE, np.uint16)
    with viewer.txn() as state:
        state.dimensions = space
        state.position = [edge / 2 for edge in SIZE]
        state.layers["dapi"] = neuroglancer.ImageLayer(source=neuroglancer.LocalVolume(image, space))
        state.layers["points"] = neuroglancer.LocalAnnotationLayer(
            dimensions=space,
            annotations=[
                neuroglancer.PointAnnotation(id=str(number), point=place)
                for number, place in enumerate(chance.uniform(0, SIZE, (POINTS, 3)))
            ],
            tool="annotatePoint",
        )
        state.selected_layer.layer = "points"
    return viewer


def serve(work: str, database: str, person: str) -> None:
    """Serve the review of the cells to a person, tell the address, and go on until ended."""
    with review(f"{work}:{TABLE}", database=database, person=person) as page:
        print(page.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(*sys.argv[1:])
    else:
        for figure in run():
            print(*figure.row(), sep=" | ")
