"""A review in a real browser: keys, clicks, a server that goes away, two people at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from chunkflow.people.review import live
from chunkflow.people.service.local.reviewer import Reviewer
from tests.support.browser.viewer import Viewer
from tests.support.people.review_page import READY, current, next_object, open_page, press
from tests.support.people.reviews import asked, sent

INSIDE, OUTSIDE, MIDDLE = (190, 260), (60, 130), (166, 236)
"""Pixels of the section of x and y, whose middle is near a corner of the volume."""


def control_click(window: Page, x: int, y: int) -> None:
    window.mouse.move(x, y)
    window.keyboard.down("Control")
    window.mouse.click(x, y)
    window.keyboard.up("Control")


def test_keys_decide_and_the_next_object_comes(viewer: Viewer, start: Callable[..., Reviewer]) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    first = current(window)
    assert window.locator("#name").inner_text() == f"Object {first['id']}"
    press(window, "f")
    second = next_object(window, first["id"])
    press(window, "d")
    third = next_object(window, second["id"])
    press(window, "1")
    fourth = next_object(window, third["id"])
    held = {id: asked(page, f"objects/{id}") for id in (first["id"], second["id"], third["id"])}
    assert [(one["status"], one["class"]) for one in held.values()] == [
        ("accepted", first["predicted"]),
        ("rejected", second["predicted"]),
        ("accepted", "glia"),
    ]
    press(window, "u")
    window.wait_for_function(f"review.current.id === '{third['id']}'")
    assert asked(page, f"objects/{third['id']}")["status"] == ""
    press(window, "y")
    assert asked(page, f"objects/{third['id']}")["status"] == "accepted"
    window.keyboard.press("k")
    assert next_object(window, third["id"])["id"] == fourth["id"]
    window.on("dialog", lambda dialog: dialog.accept("dim <b>one</b>"))
    press(window, "m")
    assert asked(page, f"objects/{fourth['id']}")["note"] == "dim <b>one</b>"
    assert window.locator("#note").inner_text() == "Note: dim <b>one</b>"
    assert window.locator("#counts").inner_text().startswith("3 of ")
    assert window.evaluate("viewer.state.toJSON().layers.at(-1).annotations ?? []") == []
    window.close()


def test_points_are_added_moved_and_deleted_as_in_neuroglancer(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    before = page.counts["objects"]
    window.evaluate("viewer.position.value = new Float32Array([20, 20, 24])")
    control_click(window, *OUTSIDE)
    window.wait_for_selector("#message:not([hidden])")
    assert "lies outside of the volume" in window.locator("#message").inner_text()
    assert window.evaluate("[...review.objects.values()].filter((one) => one.added)") == []
    control_click(window, *INSIDE)
    window.wait_for_function("[...review.objects.values()].some((one) => one.added && one.seq)")
    (added,) = window.evaluate("[...review.objects.values()].filter((one) => one.added)")
    assert 2**62 <= int(added["id"]) < 2**63
    assert page.counts["objects"] == before + 1
    press(window, "u")
    window.wait_for_function(f"review.objects.get('{added['id']}').deleted")
    assert page.counts["objects"] == before
    press(window, "y")
    window.wait_for_function(f"!review.objects.get('{added['id']}').deleted")
    window.mouse.move(*MIDDLE)  # where the view has come to the point
    window.wait_for_function(f"review.points.underCursor() === '{added['id']}'")
    window.keyboard.down("Alt")
    window.mouse.down()
    window.mouse.move(MIDDLE[0] + 20, MIDDLE[1] + 10, steps=4)
    window.mouse.up()
    window.keyboard.up("Alt")
    window.wait_for_function(f"review.objects.get('{added['id']}').seq === 4")
    moved = asked(page, f"objects/{added['id']}")
    assert moved["place"] != added["place"]
    for key in ("Control", "Alt"):
        window.keyboard.down(key)
    window.mouse.click(MIDDLE[0] + 20, MIDDLE[1] + 10, button="right")
    for key in ("Alt", "Control"):
        window.keyboard.up(key)
    window.wait_for_function(f"review.objects.get('{added['id']}').deleted")
    window.wait_for_function("review.outbox.waiting().length === 0")
    assert asked(page, f"objects/{added['id']}")["deleted"]
    press(window, "u")
    assert not asked(page, f"objects/{added['id']}")["deleted"]
    window.close()


def test_all_points_are_read_anew_after_an_edit_of_somebody(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    page, other = start("ann"), start("bo")
    window = open_page(viewer, page.url)
    shown = """() => review.all.sources.flatMap((source) => [...source.spatiallyIndexedSources]
        .flatMap((cells) => [...cells.chunks.values()])
        .flatMap((cell) => cell.data?.serializedAnnotations.typeToIds[0] ?? []))"""
    window.wait_for_function(f"({shown})().length === {page.counts['objects']}")
    id = next(iter(window.evaluate(shown)))
    assert sent(other, key="d", operation="delete", object=id)[0] == 200
    window.wait_for_function(
        f"(() => {{ const ids = ({shown})(); return ids.length && !ids.includes('{id}') }})()"
    )
    assert len(window.evaluate(shown)) == page.counts["objects"]
    place = {"kind": "point", "points": [[20, 20, 24]]}
    added = str(2**62 + 3)
    assert sent(other, key="a", operation="add", object=added, shape=place)[0] == 200
    window.wait_for_function(f"({shown})().includes('{added}')")
    window.close()


def test_the_neighbourhood_follows_the_view(
    viewer: Viewer, start: Callable[..., Reviewer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "NEIGHBOURS", 5)
    page = start("ann")
    window = open_page(viewer, page.url)
    objects = page._live.objects
    wanted = {str(id) for id in objects.ids[objects.near((100, 100, 40), 4)[0]].tolist()}
    assert not wanted <= set(window.evaluate("[...review.points.shown.keys()]"))
    window.evaluate("viewer.position.value = new Float32Array([100, 100, 40])")
    window.wait_for_function(f"{sorted(wanted)}.every((id) => review.points.shown.has(id))")
    window.close()


def test_edits_outlast_a_server_that_is_away_and_a_page_that_is_loaded_anew(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    ids = [one["id"] for one in window.evaluate("[...review.objects.values()].slice(0, 3)")]
    page.close()
    for id in ids:
        window.evaluate(f"review.edit({{operation: 'reject', object: '{id}'}})")
    assert window.locator("#waiting").inner_text() == "3 edits wait for the server"
    window.goto("about:blank")
    again = start("ann", page.port)
    window.goto(page.url)
    window.wait_for_function(READY)
    window.wait_for_function("review.outbox.waiting().length === 0")
    assert [asked(again, f"objects/{id}")["status"] for id in ids] == ["rejected"] * 3
    assert [edit.operation for edit in again._live.log.edits(again._live.table)] == ["reject"] * 3
    assert again._live.log.check() == []
    window.close()


def test_two_people_see_each_other_and_overwrite_nothing(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    """Each has a server process of his own, as far as the log can tell."""
    ann, bo = start("ann"), start("bo")
    hers, his = open_page(viewer, ann.url), open_page(viewer, bo.url)
    id = current(hers)["id"]
    assert current(his)["id"] != id
    his.evaluate(f"review.go('{id}')")
    press(hers, "2")
    his.wait_for_function(f"review.objects.get('{id}').person === 'ann'")
    assert his.locator("#decided").inner_text() == "neuron, by ann"
    his.evaluate(f"review.objects.get('{id}').seq = null")  # as if he had not seen it
    press(his, "d")
    his.wait_for_selector("#refused li")
    assert f"Object {id} was changed by ann (class) after you saw it." in his.locator("#refused").inner_text()
    assert his.evaluate(f"review.objects.get('{id}').status") == "accepted"
    assert ann._live.log.last() == 1
    for window in (hers, his):
        window.close()
