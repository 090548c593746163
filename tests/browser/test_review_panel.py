"""The panel of a review in a real browser: where an object lies among the classes, and what comes next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cloudvolume import CloudVolume

from chunkflow.people.service.local.reviewer import Reviewer
from tests.support.browser.viewer import Viewer
from tests.support.people.review_page import current, open_page
from tests.support.people.reviews import add_areas, asked, sent


def test_strips_show_where_the_object_lies(viewer: Viewer, start: Callable[..., Reviewer]) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    window.wait_for_selector("#strips svg")
    features = asked(page, "features")["features"]
    assert window.locator("#strips svg").count() == len(features)
    row = asked(page, f"objects/{current(window)['id']}")["row"]
    shares = window.evaluate(
        "[...document.querySelectorAll('#strips svg')].map((one) => ({"
        " here: parseFloat(one.querySelector('.here').getAttribute('x1')),"
        " bars: [...one.querySelectorAll('.class rect:first-of-type')].map((bar) =>"
        "   [parseFloat(bar.getAttribute('x')), parseFloat(bar.getAttribute('width'))]) }))"
    )
    for feature, drawn in zip(features, shares, strict=True):
        low = min(spread["low"] for spread in feature["spreads"])
        high = max(spread["high"] for spread in feature["spreads"])
        share = 100 * (0.06 + 0.88 * (row[feature["name"]] - low) / (high - low))
        assert drawn["here"] == pytest.approx(min(max(share, 0.5), 99.5), abs=0.01)
        assert min(start for start, _ in drawn["bars"]) == pytest.approx(6)
        assert max(start + width for start, width in drawn["bars"]) == pytest.approx(94, abs=0.6)
    titles = window.locator("#strips title").all_text_contents()
    assert any("µm³" in title and "median" in title for title in titles)
    window.close()


def test_one_goes_on_while_the_server_is_away(viewer: Viewer, start: Callable[..., Reviewer]) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    ahead = "review.ahead.queue.length === 3"
    window.wait_for_function(ahead)
    page.close()
    ids = []
    for _ in range(3):
        ids.append(current(window)["id"])
        window.keyboard.press("f")
        window.wait_for_function(f"review.current.id !== '{ids[-1]}'")
        row = window.locator("#strips b").all_inner_texts()
        assert row
    assert len(set(ids)) == 3
    assert window.locator("#waiting").inner_text() == "3 edits wait for the server"
    window.wait_for_function(
        f"document.getElementById('name').textContent === 'Object {current(window)['id']}'"
    )
    window.keyboard.press("j")
    window.wait_for_selector("#message:not([hidden])")
    assert "is gone through" in window.locator("#message").inner_text()
    again = start("ann", page.port)
    window.wait_for_function("review.outbox.waiting().length === 0")
    assert [asked(again, f"objects/{id}")["status"] for id in ids] == ["accepted"] * 3
    assert [edit.operation for edit in again._live.log.edits(again._live.table)] == ["accept"] * 3
    before = current(window)["id"]
    window.keyboard.press("f")
    window.wait_for_function(f"review.current.id !== '{before}' && {ahead}")
    window.close()


def test_what_others_decided_meanwhile_is_told_for_each_object(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    window.wait_for_function("review.ahead.queue.length === 3")
    page.close()
    ids = []
    for _ in range(2):
        ids.append(current(window)["id"])
        window.keyboard.press("f")
        window.wait_for_function(f"review.current.id !== '{ids[-1]}'")
    other = start("bo")
    for number, id in enumerate(ids):
        assert sent(other, key=f"b{number}", operation="reject", object=id)[0] == 200
    start("ann", page.port)
    window.wait_for_function("review.outbox.waiting().length === 0")
    window.wait_for_function("document.querySelectorAll('#refused li').length === 2")
    before = current(window)["id"]
    window.keyboard.press("j")
    window.wait_for_function(f"review.current.id !== '{before}'")
    told = window.locator("#refused li").all_inner_texts()
    for id, text in zip(ids, told, strict=True):
        assert f"Object {id} was changed by bo (reject)" in text
    window.locator("#refused button").first.click()
    window.wait_for_function(f"review.current.id === '{ids[0]}'")
    assert window.locator("#decided").inner_text() == "Rejected, by bo"
    assert window.locator("#refused li").count() == 1
    window.close()


def test_a_region_is_chosen_by_its_name_and_under_the_cursor(
    viewer: Viewer, start: Callable[..., Reviewer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_areas(tmp_path, monkeypatch)
    page = start("ann")
    window = open_page(viewer, page.url)
    window.wait_for_selector("#regions:not([hidden])")
    before = current(window)["id"]
    window.locator("#region").focus()
    window.wait_for_function("document.getElementById('region-names').options.length === 2")
    window.locator("#region").fill("Nowhere")
    window.keyboard.press("Enter")
    window.wait_for_selector("#message:not([hidden])")
    assert "no region named 'Nowhere'" in window.locator("#message").inner_text()
    window.locator("#region").fill("Left half")
    window.keyboard.press("Enter")
    wanted = f"review.current.id !== '{before}' && review.current.place[0] < 64"
    window.wait_for_function(f"{wanted} && review.panel.query === 'region:areas:Left half'")
    window.evaluate("viewer.position.value = new Float32Array([110, 60, 24])")
    window.mouse.move(166, 236)
    window.wait_for_function("(review.points.cursor() ?? [0])[0] > 100")
    window.keyboard.press("w")
    window.wait_for_function(
        f"review.panel.query === 'region:areas:{2**40}' && review.current.place[0] >= 64"
    )
    window.close()


def test_an_added_point_takes_the_id_of_what_lies_under_it(
    viewer: Viewer, start: Callable[..., Reviewer]
) -> None:
    page = start("ann")
    window = open_page(viewer, page.url)
    objects = page._live.objects
    labels = CloudVolume(objects.info.labels, progress=False)
    ids = dict(zip(objects.ids.tolist(), objects.places.tolist(), strict=True))
    id, place = next(
        (id, place) for id, place in ids.items() if int(labels[tuple(map(int, place))].item()) == id
    )
    assert sent(page, key="d", operation="delete", object=str(id))[0] == 200
    page.close()
    own = window.evaluate(
        f"""(() => {{ review.add({{kind: 'point', points: [{place}]}});
        const {{ edit }} = review.outbox.waiting()[0];
        review.edit({{ operation: 'note', object: edit.object, note: 'drawn while it was away' }});
        return edit.object }})()"""
    )
    assert 2**62 <= int(own) < 2**63
    again = start("ann", page.port)
    window.wait_for_function("review.outbox.waiting().length === 0")
    held = asked(again, f"objects/{id}")
    assert (held["status"], held["note"], held["deleted"]) == ("accepted", "drawn while it was away", False)
    window.wait_for_function(f"review.objects.get('{id}')?.note && !review.objects.has('{own}')")
    assert window.evaluate(f"review.points.shown.has('{id}') && !review.points.shown.has('{own}')")
    window.close()
