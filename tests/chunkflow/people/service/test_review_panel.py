"""What the panel of a review asks: features by class, what comes next, regions, ids of added points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.people.review.live import OWN_ID, LiveTable
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.service.local.reviewer import Reviewer, review
from tests.support.people.reviews import add_areas, asked, sent
from tests.support.people.service import ask

PER_OBJECT = ("ids", "places", "of_class", "probability", "file")


@pytest.fixture
def page(reviewed_work: str, tmp_path: Path) -> Iterator[Reviewer]:
    with review(reviewed_work, database=tmp_path / "review.sqlite", person="ann") as page:
        yield page


def test_what_comes_next_is_told_beforehand_and_stays_free(
    page: Reviewer, reviewed_work: str, tmp_path: Path
) -> None:
    found = asked(page, "next?query=uncertain&ahead=3")
    told = [one["id"] for one in found["ahead"]]
    assert len({found["object"]["id"], *told}) == 4
    assert found["ahead"][0]["row"]["volume_um3"] > 0
    assert found["ahead"][0]["edits"] == []
    with review(reviewed_work, database=tmp_path / "review.sqlite", person="bo") as other:
        assert asked(other, "next?query=uncertain")["object"]["id"] == told[0]  # it is before nobody
        after = asked(page, f"next?query=uncertain&ahead=2&after={found['object']['id']}")
        assert [after["object"]["id"], after["ahead"][0]["id"]] == told[1:]
    ids = {str(id) for id in page._live.objects.ids.tolist()} - {found["object"]["id"], told[1]}
    for number, id in enumerate(sorted(ids)):
        assert sent(page, key=f"k{number}", operation="reject", object=id)[0] == 200
    last = asked(page, "next?query=uncertain&ahead=3")
    assert [one["id"] for one in last["ahead"]] == [told[1]]
    assert [asked(page, f"next?query=uncertain&ahead={text}") for text in ("11", "x", "-1")] == [400] * 3


def test_features_are_told_by_class_with_the_colours_of_points(page: Reviewer) -> None:
    found = asked(page, "features")
    names = [feature["name"] for feature in found["features"]]
    assert "volume_um3" in names
    assert not {"volume", "diameter_um", "id", "x_um", "probability", "p_glia"} & {*names}
    assert 0 < len(names) <= 8
    assert [spread["name"] for spread in found["features"][0]["spreads"]] == ["other"]
    state = json.loads(ask(page._server, f"d/test/review/{page.name}/state.json")[2])
    for colour in found["colours"].values():
        assert colour in state["layers"][-1]["shader"]
    assert found["colours"]["glia"] == "#4080ff"


def test_a_region_of_another_layer_is_gone_through(
    reviewed_work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_areas(tmp_path, monkeypatch)
    with review(reviewed_work, database=tmp_path / "review.sqlite") as page:
        assert asked(page, "regions") == {"layers": ["areas"]}
        left = {str(id) for id in page._live.objects.ids[page._live.objects.places[:, 0] < 64].tolist()}
        count = len(page._live.objects)
        assert 0 < len(left) < count
        told = asked(page, "regions?layer=areas")["regions"]
        assert {one["label"]: (one["name"], one["objects"]) for one in told} == {
            "7": ("Left half", len(left)),
            str(2**40): ("", count - len(left)),
        }
        assert asked(page, "regions?layer=areas&place=63.9,3,3")["region"]["label"] == "7"
        assert asked(page, "regions?layer=areas&place=64.1,3,3")["region"]["label"] == str(2**40)
        assert asked(page, "regions?layer=areas&place=-1,3,3")["region"] is None
        seen: set[str] = set()
        for name in ("7", "left%20half") * count:
            found = asked(page, f"next?query=region:areas:{name}")["object"]
            if found is None:
                break
            seen.add(found["id"])
            assert sent(page, key=f"k{len(seen)}", operation="reject", object=found["id"])[0] == 200
        assert seen == left
        path = f"api/review/test/{page.name}"
        for query, sentence in (
            (
                "next?query=region:nuclei:1",
                "The data set has no layer of regions named 'nuclei': it has areas.",
            ),
            ("regions?layer=x", "The data set has no layer of regions named 'x': it has areas."),
            (
                "next?query=region:areas:12",
                "No object of the table lies in the region 12 of the layer areas.",
            ),
            ("next?query=region:areas:Right", "The layer areas has no region named 'Right'"),
            ("next?query=region:areas", "The layer areas has no region named ''"),
            ("regions?layer=areas&place=1,2", "A place is three numbers"),
        ):
            status, _, content = ask(page._server, f"{path}/{query}")
            assert (status, sentence in json.loads(content)["error"]) == (400, True), content


def test_a_data_set_without_other_labels_has_no_regions(page: Reviewer) -> None:
    assert asked(page, "regions") == {"layers": []}
    assert asked(page, "next?query=region:nuclei:1") == 400


def test_a_point_takes_the_id_of_the_free_object_under_it(page: Reviewer) -> None:
    objects = page._live.objects
    whole = np.floor(objects.places).astype(int)
    labels = CloudVolume(objects.info.labels, progress=False)
    number = next(n for n, (x, y, z) in enumerate(whole) if int(labels[x, y, z].item()) == objects.ids[n])
    id, place = str(objects.ids[number]), objects.places[number].tolist()
    shape, before = {"kind": "point", "points": [place]}, page.counts

    def added(own: int) -> str:
        """The id that a point gets there which comes with an id of its own."""
        edit = {"key": f"own-{own}", "operation": "add", "object": str(OWN_ID + own), "shape": shape}
        status, answer = sent(page, **edit)
        assert status == 200
        assert sent(page, **edit)[1] == answer  # as often as it is sent
        assert answer["edit"]["object"] == answer["object"]["id"]
        return str(answer["object"]["id"])

    assert added(1) == str(OWN_ID + 1)  # the table has what lies there
    assert sent(page, key="a", operation="delete", object=id)[0] == 200
    assert added(2) == id
    held = asked(page, f"objects/{id}")
    assert (held["deleted"], held["status"]) == (False, "accepted")
    assert page.counts == before | {"accepted": 2, "added": 1, "objects": before["objects"] + 1}
    assert added(3) == str(OWN_ID + 3)  # it is there again
    near = asked(page, f"near?place={','.join(map(str, place))}")["objects"]
    assert [one["id"] for one in near].count(id) == 1
    assert sent(page, key="c", operation="add", object=id, shape=shape, seen=held["seq"])[0] == 400


def test_what_the_labels_have_and_the_table_lacks_gives_its_id(page: Reviewer) -> None:
    live, objects = page._live, page._live.objects
    fewer = {name: np.delete(getattr(objects, name), 0, axis=0) for name in PER_OBJECT}
    lacking = LiveTable(live.log, live.table + 1, replace(objects, **fewer))
    labels = CloudVolume(objects.info.labels, progress=False)

    def given(place: list[float], kind: str = "point") -> int | None:
        points = [place] if kind == "point" else [place, place]
        document = {
            "key": "k",
            "operation": "add",
            "object": str(OWN_ID),
            "shape": {"kind": kind, "points": points},
        }
        return lacking.with_id_under(ProposedEdit.parse(document)).object

    x, y, z = (int(n[0]) for n in np.nonzero(np.asarray(labels[:])[..., 0] == objects.ids[0]))
    inside = [x + 0.5, y + 0.5, z + 0.5]
    assert given(inside) == int(objects.ids[0])
    assert given(inside, "line") == OWN_ID
    assert given([-5, 1, 1]) == OWN_ID
    away = replace(objects, info=objects.info.model_copy(update={"labels": "file:///nowhere/labels"}))
    assert LiveTable(live.log, live.table + 1, away)._label_at(inside) == 0
