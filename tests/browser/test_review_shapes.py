"""Lines, boxes, ellipsoids and polygons of a review, drawn and dragged in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from chunkflow.people.service.local.reviewer import Reviewer, review
from tests.support.browser.viewer import Viewer
from tests.support.people.review_page import READY, open_page
from tests.support.people.reviews import asked

ADDED = "[...review.objects.values()].filter((one) => one.added && one.seq && !one.deleted)"
KEYS = {"point": "p", "line": "t", "box": "q", "ellipsoid": "c", "polygon": "g"}
BY = (20, 10)
"""So many pixels all drags go."""
PICKED = 5 * 0.32
"""Voxels by which a click may be off: the client takes what it finds within five pixels of the cursor."""
Pixel = tuple[int, int]


@dataclass(frozen=True)
class Drawing:
    """A shape, by pixels of the section of x and y, and where it is taken: by its whole, and by a part."""

    kind: str
    z: int
    clicks: tuple[Pixel, ...]
    whole: Pixel
    part: Pixel
    moved: tuple[int, ...]
    """The points of the shape that move when the part is dragged."""


DRAWINGS = [
    Drawing("line", 10, ((120, 200), (200, 260)), (160, 230), (200, 260), (1,)),
    Drawing("box", 16, ((120, 200), (200, 260)), (150, 225), (200, 260), (1,)),
    Drawing("ellipsoid", 22, ((160, 230), (200, 260)), (150, 225), (198, 230), ()),
    Drawing("polygon", 30, ((120, 200), (200, 200), (160, 260)), (175, 200), (120, 200), (0,)),
]


@pytest.fixture(scope="module")
def start(
    reviewed_work: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Reviewer]]:
    """Starts a server of the review for a person; all are ended."""
    started, database = [], tmp_path_factory.mktemp("log") / "review.sqlite"

    def start(person: str) -> Reviewer:
        started.append(review(reviewed_work, database=database, person=person, port=0))
        return started[-1]

    yield start
    for page in started:
        page.close()


@pytest.fixture(scope="module")
def page(start: Callable[[str], Reviewer]) -> Reviewer:
    return start("ann")


@pytest.fixture(scope="module")
def window(viewer: Viewer, page: Reviewer) -> Iterator[Page]:
    """One window for all tests, each of which draws in a section of its own."""
    window = open_page(viewer, page.url)
    yield window
    window.close()


def look_at(window: Page, z: int) -> None:
    window.evaluate(f"viewer.position.value = new Float32Array([40, 40, {z}])")
    window.wait_for_function("viewer.isReady()")


def click(window: Page, *places: Pixel) -> None:
    """Draw at these pixels."""
    window.keyboard.down("Control")
    for place in places:
        window.mouse.move(*place)
        window.mouse.click(*place)
    window.keyboard.up("Control")


def drawn(window: Page, kind: str, *places: Pixel) -> dict[str, Any]:
    """Draw a shape with its tool; what the log has of it."""
    window.keyboard.press(KEYS[kind])
    assert window.locator("#tools [aria-pressed=true]").inner_text().endswith(kind)
    before = {one["id"] for one in window.evaluate(ADDED)}
    click(window, *places)
    if kind == "polygon":
        window.keyboard.press("Enter")
    window.wait_for_function(f"{ADDED}.length === {len(before) + 1}")
    (made,) = [one for one in window.evaluate(ADDED) if one["id"] not in before]
    return dict(made)


def voxel(window: Page, pixel: Pixel) -> list[float]:
    """The place under a pixel."""
    window.mouse.move(*pixel)
    found = window.evaluate(
        "viewer.mouseState.updateUnconditionally() "
        "&& review.points.toVoxels(viewer.mouseState.unsnappedPosition)"
    )
    return [float(n) for n in found]


def point_at(window: Page, id: str, pixel: Pixel) -> None:
    window.mouse.move(*pixel)
    window.wait_for_function(f"review.points.underCursor() === '{id}'")


def drag(window: Page, id: str, start: Pixel) -> Any:
    """Drag what is at a pixel, which must be of this object; the points that it has then."""
    point_at(window, id, start)
    seq = window.evaluate(f"review.objects.get('{id}').seq")
    window.keyboard.down("Alt")
    window.mouse.down()
    window.mouse.move(*shifted(start), steps=4)
    window.mouse.up()
    window.keyboard.up("Alt")
    window.wait_for_function(f"review.objects.get('{id}').seq > {seq}")
    return window.evaluate(f"review.objects.get('{id}').shape.points")


def shifted(pixel: Pixel) -> Pixel:
    return pixel[0] + BY[0], pixel[1] + BY[1]


def press(window: Page, key: str) -> None:
    """Press a key, and wait until what it does is durable."""
    window.keyboard.press(key)
    window.wait_for_function("review.outbox.waiting().length === 0 && !review.outbox.sending")


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing.kind)
def test_a_shape_is_drawn_moved_resized_and_deleted(window: Page, page: Reviewer, drawing: Drawing) -> None:
    look_at(window, drawing.z)
    places = np.array([voxel(window, pixel) for pixel in drawing.clicks])
    by = np.array(voxel(window, shifted(drawing.clicks[0]))) - places[0]
    made = drawn(window, drawing.kind, *drawing.clicks)
    points = expected_points(drawing.kind, places)
    assert asked(page, f"objects/{made['id']}")["shape"]["kind"] == drawing.kind
    assert np.allclose(made["shape"]["points"], points, atol=PICKED)
    points = np.array(made["shape"]["points"])

    whole = drag(window, made["id"], drawing.whole)
    rows = [0] if drawing.kind == "ellipsoid" else range(len(points))
    points[list(rows)] += by
    assert np.allclose(whole, points, atol=PICKED)
    points = np.array(whole)

    part = drag(window, made["id"], shifted(drawing.part))
    points[list(drawing.moved)] += by
    if drawing.kind == "ellipsoid":  # taken at one side, so that one radius alone becomes longer
        points[1, 0] *= 1 + BY[0] / (drawing.part[0] - drawing.clicks[0][0])
    assert np.allclose(part, points, atol=2 * PICKED if drawing.kind == "ellipsoid" else PICKED)
    assert drawing.kind != "polygon" or {z for _, _, z in part} == {drawing.z}
    assert np.allclose(asked(page, f"objects/{made['id']}")["shape"]["points"], part)

    delete(window, made["id"], shifted(drawing.whole))
    assert asked(page, f"objects/{made['id']}")["deleted"]
    press(window, "u")
    press(window, "u")
    again = asked(page, f"objects/{made['id']}")
    assert not again["deleted"]
    assert np.allclose(again["shape"]["points"], whole)
    press(window, "y")
    assert np.allclose(asked(page, f"objects/{made['id']}")["shape"]["points"], part)
    assert window.evaluate("viewer.state.toJSON().layers.at(-1).annotations ?? []") == []


def expected_points(kind: str, places: Any) -> Any:
    """What is kept of a shape that was drawn by clicks at these places of one section."""
    points = places.copy()
    if kind == "box":
        points[1, 2] += 1  # one section thick
    if kind == "ellipsoid":
        radii = abs(places[1] - places[0])
        points[1] = *radii[:2], radii[:2].mean() / 2  # as deep as wide, in sections of twice the thickness
    return points


def delete(window: Page, id: str, pixel: Pixel) -> None:
    point_at(window, id, pixel)
    for key in ("Control", "Alt"):
        window.keyboard.down(key)
    window.mouse.click(*pixel, button="right")
    for key in ("Alt", "Control"):
        window.keyboard.up(key)
    window.wait_for_function(f"review.objects.get('{id}').deleted")
    window.wait_for_function("review.outbox.waiting().length === 0")


def test_keys_decide_on_the_shape_under_the_cursor(window: Page, page: Reviewer) -> None:
    look_at(window, 36)
    made = drawn(window, "polygon", (120, 200), (200, 200), (160, 260))
    point_at(window, made["id"], (175, 200))
    press(window, "2")
    assert asked(page, f"objects/{made['id']}")["class"] == "neuron"
    press(window, "d")
    assert asked(page, f"objects/{made['id']}")["status"] == "rejected"


def test_what_cannot_be_a_shape_is_refused_with_the_reason(window: Page, page: Reviewer) -> None:
    look_at(window, 40)
    before, annotations = page.counts["objects"], window.evaluate("[...review.points.source].length")
    message = window.locator("#message")
    window.keyboard.press("q")
    click(window, (20, 300), (120, 200))
    message.filter(has_text="lies outside of the volume").wait_for()
    window.keyboard.press("g")
    click(window, (480, 250))  # in the section of x and z
    message.filter(has_text="A polygon lies in one section").wait_for()
    click(window, (120, 200), (200, 200))
    window.keyboard.press("Enter")
    message.filter(has_text="at least three corners").wait_for()
    window.keyboard.press("c")
    click(window, (160, 230), (160, 230))
    message.filter(has_text="apart from its centre").wait_for()
    assert page.counts["objects"] == before
    assert window.evaluate("[...review.points.source].length") == annotations


def test_others_see_a_shape_and_a_reload_keeps_it(
    viewer: Viewer, window: Page, start: Callable[[str], Reviewer]
) -> None:
    other = open_page(viewer, start("bo").url)
    look_at(window, 44)
    made = drawn(window, "line", (120, 200), (200, 260))
    held = f"review.objects.get('{made['id']}')"
    other.wait_for_function(f"{held}?.shape.kind === 'line' && review.points.shown.has('{made['id']}')")
    points = drag(window, made["id"], (200, 260))
    other.wait_for_function(f"{held}.shape.points[1][0] === {points[1][0]}")
    window.reload()
    window.wait_for_function(READY)
    assert window.evaluate(f"review.points.source.get('{made['id']}').type") == 1
    assert window.evaluate(f"{held}.shape.points") == points
    other.evaluate(f"review.edit({{operation: 'delete', object: '{made['id']}'}})")
    window.wait_for_function(f"{held}.deleted && !review.points.shown.has('{made['id']}')")
    other.close()
