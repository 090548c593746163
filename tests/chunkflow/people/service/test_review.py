"""The review over HTTP: what the page asks, what it sends, what it hears of others."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.review_log import ReviewLog
from chunkflow.people.service.local.reviewer import Reviewer, review
from tests.support.people.reviews import asked, sent
from tests.support.people.service import ask

ADDED = str(2**62 + 9)


@pytest.fixture
def page(reviewed_work: str, tmp_path: Path) -> Iterator[Reviewer]:
    with review(reviewed_work, classes=["dust"], database=tmp_path / "review.sqlite", person="ann") as page:
        yield page


def test_the_last_table_with_places_is_meant(page: Reviewer) -> None:
    assert page.name == "classified"
    table = asked(page, "table")
    assert table["classes"] == ["dust", "glia", "neuron", "other"]
    assert (table["person"], table["seq"]) == ("ann", 0)
    assert [query["name"] for query in table["queries"]] == [
        *("uncertain", "undecided", "class:other", "all", "disagreed")
    ]
    assert table["counts"] == {"objects": len(page._live.objects)} | dict.fromkeys(
        ("accepted", "rejected", "added", "deleted"), 0
    )


def test_a_query_goes_through_what_is_undecided(page: Reviewer) -> None:
    seen: list[dict[str, Any]] = []
    while found := asked(page, f"next?query=uncertain&after={seen[-1]['id'] if seen else ''}")["object"]:
        seen.append(found)
        status, _ = sent(page, key=f"k{len(seen)}", operation="reject", object=found["id"])
        assert status == 200
    assert len(seen) == len({one["id"] for one in seen}) == len(page._live.objects)
    chances = [one["probability"] for one in seen]
    assert chances == sorted(chances)
    assert asked(page, "next?query=undecided")["object"] is None
    assert asked(page, "next?query=all")["object"] is not None
    assert asked(page, "next?query=nonsense") == 400
    assert page.counts["rejected"] == len(seen)


def test_two_people_are_given_different_objects(page: Reviewer, reviewed_work: str, tmp_path: Path) -> None:
    with review(reviewed_work, database=tmp_path / "review.sqlite", person="bo") as other:
        mine, his = (asked(one, "next?query=uncertain")["object"]["id"] for one in (page, other))
        assert mine != his
        assert asked(other, "next?query=uncertain&overlap=1")["object"]["id"] == mine
        assert asked(page, "next?query=uncertain")["object"]["id"] == mine
        after = asked(page, f"next?query=uncertain&after={mine}")
        assert (after["object"]["id"] not in (mine, his), after["before_others"]) == (True, 1)
        for number, id in enumerate({str(id) for id in page._live.objects.ids.tolist()} - {his}):
            assert sent(page, key=f"k{number}", operation="reject", object=id)[0] == 200
        assert asked(page, "next?query=uncertain") == {"object": None, "before_others": 1}
        assert asked(other, "next?query=uncertain")["object"]["id"] == his


def test_a_program_gives_a_list_to_go_through(page: Reviewer) -> None:
    ids = [str(id) for id in page._live.objects.ids[[9, 2, 5]].tolist()]
    path = f"api/review/test/{page.name}/lists/odd-ones"
    assert ask(page._server, path, "PUT", json.dumps(ids).encode())[0] == 204
    assert asked(page, "table")["queries"][-1]["name"] == "list:odd-ones"
    sent(page, key="a", operation="reject", object=ids[1])
    seen = [asked(page, "next?query=list:odd-ones")["object"]["id"]]
    for _ in range(3):
        seen.append(asked(page, f"next?query=list:odd-ones&after={seen[-1]}")["object"]["id"])
    assert seen == [*ids, ids[0]]
    sent(page, key="b", operation="delete", object=ids[2])
    assert asked(page, f"next?query=list:odd-ones&after={ids[1]}")["object"]["id"] == ids[0]
    for body in (b'["12"]', b"[1]", b'["x"]', b'["99999999999999999999"]', b"{}", b"["):
        assert ask(page._server, path, "PUT", body)[0] == 400
    assert ask(page._server, f"{path}%20two", "PUT", b"[]")[0] == 400
    assert ask(page._server, path, "PUT", b"[]")[0] == 204
    assert asked(page, "next?query=list:odd-ones") == 400


def test_what_people_disagree_on_is_a_query(page: Reviewer, reviewed_work: str, tmp_path: Path) -> None:
    ids = [str(id) for id in page._live.objects.ids[[4, 1, 3]].tolist()]
    with review(reviewed_work, database=tmp_path / "review.sqlite", person="bo") as other:
        for number, id in enumerate(ids):
            edit = {"operation": "class", "object": id, "class": "glia"}
            assert sent(page, key=f"a{number}", **edit)[0] == 200
        assert asked(page, "next?query=disagreed")["object"] is None
        for number, (id, of_class) in enumerate(zip(ids, ("neuron", "glia", "other"), strict=True)):
            edit = {"operation": "class", "object": id, "class": of_class}
            assert sent(other, key=f"b{number}", seen=number + 1, **edit)[0] == 200
        assert asked(page, "next?query=disagreed&overlap=1")["object"]["id"] == ids[2]
        assert asked(page, f"next?query=disagreed&overlap=1&after={ids[2]}")["object"]["id"] == ids[0]
        sent(other, key="u", operation="undo")
        assert asked(page, "next?query=disagreed&overlap=1")["object"]["id"] == ids[0]


def test_an_object_has_its_row_and_its_edits(page: Reviewer) -> None:
    first = asked(page, "next?query=undecided")["object"]
    sent(page, key="a", operation="class", object=first["id"], **{"class": "other"})
    found = asked(page, f"objects/{first['id']}")
    assert (found["class"], found["predicted"], found["status"]) == ("other", first["class"], "accepted")
    assert found["row"]["volume_um3"] > 0
    assert "x" not in found["row"]
    assert [(edit["person"], edit["operation"]) for edit in found["edits"]] == [("ann", "class")]
    assert [asked(page, f"objects/{id}") for id in ("12", "0", "-1", "x", str(2**64))] == [404] * 5


def test_the_neighbourhood_is_the_nearest_with_what_was_added(page: Reviewer) -> None:
    shape = {"kind": "point", "points": [[3, 4, 5]]}
    assert sent(page, key="a", operation="add", object=ADDED, shape=shape)[0] == 200
    found = asked(page, "near?place=3,4,5")
    assert found["radius"] is None  # all are there
    assert len(found["objects"]) == len(page._live.objects) + 1
    (added,) = (one for one in found["objects"] if one["added"])
    assert (added["id"], added["place"], added["status"]) == (ADDED, [3.0, 4.0, 5.0], "accepted")
    assert [asked(page, f"near?place={text}") for text in ("", "1,2", "1,2,nan", "a,b,c")] == [400] * 4


def test_what_cannot_be_taken_is_answered_in_a_sentence(page: Reviewer) -> None:
    id = asked(page, "next?query=undecided")["object"]["id"]
    inside = {"kind": "point", "points": [[1, 1, 1]]}
    assert sent(page, key="a", operation="accept", object=id, **{"class": "glia"})[0] == 200
    status, answer = sent(page, key="b", operation="reject", object=id)
    assert (status, answer["object"]["status"]) == (409, "accepted")
    assert answer["error"] == f"Object {id} was changed by ann (accept) after you saw it."
    for edit, said in (
        ({"operation": "reject", "object": "12"}, "The table has no object 12."),
        ({"operation": "add", "object": id, "shape": inside}, f"The table has an object {id} already"),
        ({"operation": "add", "object": ADDED, "shape": inside | {"points": [[1, 1, 99]]}}, "lies outside"),
        ({"operation": "explode"}, "This edit cannot be taken"),
    ):
        status, answer = sent(page, key="c", **edit)
        assert (status, said in answer["error"]) == (400, True), answer
    path = f"api/review/test/{page.name}/edits"
    for body in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
        assert ask(page._server, path, "POST", body)[0] == 400
    assert ask(page._server, path, "POST", b'"' + b"x" * (1 << 20) + b'"')[0] == 413
    assert ask(page._server, path, "GET")[0] == 405
    assert ask(page._server, "api/review/test/other/table")[0] == 404
    assert ask(page._server, "api/review/other/classified/table")[0] == 404
    assert page._live.log.last() == 1


def test_what_another_process_writes_is_heard(page: Reviewer, reviewed_work: str, tmp_path: Path) -> None:
    id = asked(page, "next?query=undecided")["object"]["id"]
    sent(page, key="a", operation="note", object=id, note="mine")
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    connection.request("GET", f"/{page._server.token}/api/review/test/{page.name}/events?since=0")
    stream = connection.getresponse()

    def heard() -> dict[str, Any]:
        while not (line := stream.readline()).startswith(b"data: "):
            assert line, "the stream ended"
        return dict(json.loads(line[6:]))

    assert heard()["seq"] == 1
    other = ReviewLog.open(str(tmp_path / "review.sqlite"))  # as another process has it
    edit = {"key": "b", "operation": "class", "object": id, "seen": 1, "class": "glia"}
    other.append(page._live.table, "bo", ProposedEdit.parse(edit))
    event = heard()
    assert (event["seq"], event["object"]["person"], event["object"]["note"]) == (2, "bo", "mine")
    assert event["counts"]["accepted"] == 1
    other.close()
    page.close()
    assert stream.read() is not None
    connection.close()


def test_all_objects_are_a_layer_as_they_are_now(page: Reviewer, reviewed_work: str, tmp_path: Path) -> None:
    state = json.loads(ask(page._server, f"d/test/review/{page.name}/state.json")[2])
    address = state["layers"][-2]["source"].partition(f"/{page._server.token}/")[2]
    points = address.removeprefix(f"api/review/test/{page.name}/")
    assert asked(page, f"{points}/info")["spatial"][0]["grid_shape"] == [1, 1, 1]
    before = ask(page._server, f"{address}/spatial0/0_0_0")
    assert (before[0], before[1]["cache-control"]) == (200, "no-store")
    count = len(page._live.objects)
    assert int.from_bytes(before[2][:8], "little") == count
    id = asked(page, "next?query=undecided")["object"]["id"]
    other = ReviewLog.open(str(tmp_path / "review.sqlite"))  # as another process has it
    other.append(
        page._live.table, "bo", ProposedEdit.parse({"key": "a", "operation": "delete", "object": id})
    )
    after = ask(page._server, f"{address}/spatial0/0_0_0")[2]
    assert int.from_bytes(after[:8], "little") == count - 1
    assert ask(page._server, f"{address}/by_id/{id}")[0] == 404
    assert ask(page._server, f"{address}/spatial0/1_0_0")[0] == 404
    assert asked(page, "points/0123456789abcdef/info") == 404
    other.close()


def test_the_page_has_a_state_with_a_layer_to_edit(page: Reviewer) -> None:
    status, headers, _ = ask(page._server, f"d/test/review/{page.name}")
    assert status == 302
    assert page.url.endswith(headers["location"])
    state = json.loads(ask(page._server, f"d/test/review/{page.name}/state.json")[2])
    assert [layer["name"] for layer in state["layers"]] == ["dapi", "nuclei", "cells", "all", "review"]
    assert [layer.get("visible", True) for layer in state["layers"]] == [True, True, False, True, True]
    assert state["selectedLayer"]["layer"] == "review"
    content = ask(page._server, f"d/test/review/{page.name}/v/review/")[2].decode()
    assert f'data-api="/{page._server.token}/api/review/test/classified"' in content
    for name in ("review", "outbox", "panel", "points", "all-points", "ahead", "regions"):
        assert ask(page._server, f"static/{name}.js")[0] == 200
    assert "Review of classified, 0 of" in repr(page)
    assert "<iframe" in page._repr_html_()
