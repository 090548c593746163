"""What people did in the light-sheet pipeline's own viewer (its figure 2) is done on the page of a review.

| action | here, or in test_review.py |
|---|---|
| load the annotations of a block | here |
| hide and show layers, list annotations, select one in the list, choose a tool | here |
| pan, zoom, scroll | here |
| create, move and delete points | `test_points_are_added_moved_and_deleted_as_in_neuroglancer` |
| what others did is seen | `test_all_points_are_read_anew_after_an_edit_of_somebody` |
| the annotations around wherever the view goes | `test_the_neighbourhood_follows_the_view` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError

from chunkflow.people.review import live
from chunkflow.people.review.point_layer import PointLayer
from chunkflow.people.service.local.reviewer import review
from tests.support.browser.viewer import Viewer
from tests.support.people.review_page import open_page

POINTS_OF_A_BLOCK = 5
SECTION = (166, 236)
"""The pixel in the middle of the section of x and y."""
LAYER = ".neuroglancer-layer-item-label"
ENTRY = ".neuroglancer-annotation-list-entry"
LAYERS = "Object.fromEntries(viewer.layerManager.managedLayers.map((layer) => [layer.name, layer.visible]))"
VIEW = "({ place: Array.from(viewer.position.value), zoom: viewer.navigationState.zoomFactor.value })"
TOOL = "viewer.layerManager.getLayerByName('review').layer.tool.value.toJSON()"
SELECTED = "viewer.selectionDetailsState.toJSON()?.layers.review.annotationId ?? null"
LISTED = f"[...document.querySelectorAll('{ENTRY}')].map((entry) => entry.innerText)"
LOADED = """review.all.sources.flatMap((source) => [...source.spatiallyIndexedSources]
    .flatMap((cells) => [...cells.chunks.values()])
    .flatMap((cell) => cell.data?.serializedAnnotations.typeToIds[0] ?? []))"""
"""The ids of the points of the blocks that are loaded."""
FROM_THE_LIST = "review.objects.get(after).place.every((n, axis) => Math.abs(n - place[axis]) <= 1)"


@pytest.fixture(scope="module")
def window(viewer: Viewer, reviewed_work: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    log: Path = tmp_path_factory.mktemp("log") / "review.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "PointLayer", partial(PointLayer, limit=POINTS_OF_A_BLOCK))
        with review(reviewed_work, database=log, person="ann") as page:
            window = open_page(viewer, page.url)
            yield window
            window.close()


def click_layer(window: Page) -> None:
    window.locator(LAYER, has_text="nuclei").click()


def drag(window: Page) -> None:
    window.mouse.move(*SECTION)
    window.mouse.down()
    window.mouse.move(SECTION[0] - 40, SECTION[1] - 30, steps=4)
    window.mouse.up()


def turn_wheel(window: Page, control: bool) -> None:
    window.mouse.move(*SECTION)
    if control:
        window.keyboard.down("Control")
    window.mouse.wheel(0, 200)
    if control:
        window.keyboard.up("Control")


def list_annotations(window: Page) -> None:
    """Open the panel of the layer beside the view, at its list."""
    if not window.locator(ENTRY).count():
        window.locator(LAYER, has_text="review").click(modifiers=["Control"])
        window.locator(".neuroglancer-tab-label", has_text="Annotations").click()


def click_entry(window: Page, button: str = "left") -> None:
    list_annotations(window)
    entry = window.locator(ENTRY).nth(3)
    window.evaluate(f"window.place = {entry.inner_text().split()[1:]}.map(Number)")
    entry.click(button="right" if button == "right" else "left")


def choose_tool(window: Page, title: str) -> None:
    list_annotations(window)
    window.locator(f".neuroglancer-annotation-toolbox [title='{title}']").click()


MOVED = "before.place.map((n, axis) => Math.abs(after.place[axis] - n) > 0.5).join()"
ACTIONS: dict[str, tuple[Callable[[Page], None], str, str]] = {
    "hide a layer": (click_layer, LAYERS, "before.nuclei && !after.nuclei && after.dapi && after.review"),
    "show it again": (click_layer, LAYERS, "!before.nuclei && after.nuclei"),
    "pan": (drag, VIEW, f"{MOVED} === 'true,true,false' && after.zoom === before.zoom"),
    "scroll": (
        partial(turn_wheel, control=False),
        VIEW,
        f"{MOVED} === 'false,false,true' && after.zoom === before.zoom",
    ),
    "zoom": (partial(turn_wheel, control=True), VIEW, "after.zoom > before.zoom * 1.1"),
    "list annotations": (list_annotations, LISTED, "before.length === 0 && after.length > 10"),
    "select one in the list": (click_entry, SELECTED, f"after !== null && {FROM_THE_LIST}"),
    "go to one in the list": (
        partial(click_entry, button="right"),
        VIEW,
        "after.place.every((n, axis) => Math.abs(n - place[axis]) <= 1)",
    ),
    "choose another tool": (
        partial(choose_tool, title="Annotate line"),
        TOOL,
        "before === 'annotatePoint' && after === 'annotateLine'",
    ),
    "choose the tool for points": (
        partial(choose_tool, title="Annotate point"),
        TOOL,
        "before === 'annotateLine' && after === 'annotatePoint'",
    ),
}
"""What is done, what is looked at, and what must be true of it before and after; in this order."""


@pytest.mark.parametrize("name", ACTIONS)
def test_each_action_does_what_it_says(window: Page, name: str) -> None:
    act, looked_at, holds = ACTIONS[name]
    before = window.evaluate(f"window.before = {looked_at}")
    act(window)
    try:
        window.wait_for_function(f"(() => {{ const after = {looked_at}; return {holds} }})()", timeout=20_000)
    except TimeoutError:
        after = window.evaluate(looked_at)
        raise AssertionError(f"{name}: {before} became {after}") from None
    assert window.evaluate("review.counts.accepted + review.counts.rejected + review.counts.added") == 0


def test_the_annotations_of_a_block_are_loaded_when_it_comes_into_view(window: Page) -> None:
    """The layer of all points in blocks of few; the view shows one section, at one end and at the other."""
    asked: list[str] = []
    near, far = "spatial1/0_0_0", "spatial1/1_1_1"
    window.on("response", lambda answer: asked.append(answer.url.partition("/points/")[2].partition("/")[2]))
    one_section = "layout: 'xy', crossSectionScale: 0.05, position: [10, 10, 4]"
    window.evaluate(f"viewer.state.restoreState({{ ...viewer.state.toJSON(), {one_section} }})")
    with window.expect_response(f"**/{near}"):
        window.evaluate("review.all.read()")  # drops what was loaded before
    window.wait_for_function(f"viewer.isReady() && ({LOADED}).length")
    before = set(window.evaluate(LOADED))
    assert far not in asked
    with window.expect_response(f"**/{far}"):
        window.evaluate("viewer.position.value = new Float32Array([110, 110, 40])")
    window.wait_for_function(f"({LOADED}).some((id) => !{sorted(before)}.includes(id))")
    assert len(before) < window.evaluate("review.counts.objects")
