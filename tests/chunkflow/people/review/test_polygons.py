"""Polygons as painted voxels: which voxels they have, where they are annotated, and that networks learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkflow as cf
from chunkflow.data.describe import layer_at
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.review import live
from chunkflow.people.review.log.edits import DrawnShape
from chunkflow.people.review.outgoing.polygons import export_polygons, polygon_mask
from chunkflow.people.review.shapes import distance_to, middle_of, refuse_shape
from chunkflow.people.service.local.reviewer import review
from tests.support.people.reviews import SIZE, asked, decide, job_to_review

SQUARE = [(10.2, 10.2), (50.2, 10.2), (50.2, 40.2), (10.2, 40.2)]
NEURON, GLIA, NAMELESS, REJECTED, DELETED, AREA, OTHER = (str(2**62 + n) for n in range(7))


def polygon(z: float, corners: list[tuple[float, float]] = SQUARE) -> dict[str, Any]:
    return {"kind": "polygon", "points": [[x, y, z] for x, y in corners]}


def shifted(x: float) -> list[tuple[float, float]]:
    return [(a + x, b) for a, b in SQUARE]


def added(object: str, shape: dict[str, Any], of_class: str = "") -> dict[str, Any]:
    return {"operation": "add", "object": object, "shape": shape, "class": of_class}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A review with polygons in the sections 5, 9 and 20, of which the second has a box around a part."""
    work = job_to_review(tmp_path_factory.mktemp("job"))
    decide(work, added(OTHER, {"kind": "line", "points": [[1, 1, 1], [9, 9, 9]]}))
    with pytest.raises(BadInput, match="Nobody has drawn a polygon in the review of classified yet"):
        export_polygons(work, Path(work) / "none")
    decide(
        work,
        added(NEURON, polygon(5.5), "neuron"),
        added(GLIA, polygon(5.9, shifted(30)), "glia"),
        added(NAMELESS, polygon(9.0)),
        added(AREA, {"kind": "box", "points": [[70.0, 50.0, 11.0], [5.0, 5.0, 9.0]]}),
        added(REJECTED, polygon(20, shifted(60))),
        {"operation": "reject", "object": REJECTED},
        added(DELETED, polygon(30)),
        {"operation": "delete", "object": DELETED},
    )
    return work


def voxels(place: str) -> Any:
    return Volume(layer_at(f"file://{place}")).read(Box.of_size((128, 128, 48))).array


def test_polygons_are_painted_by_class_where_sections_are_annotated(work: str, tmp_path: Path) -> None:
    made = export_polygons(work, tmp_path / "painted")
    assert made.classes == {"glia": 1, "neuron": 2, "other": 3, "accepted": 4}
    assert (made.polygons, made.sections) == (4, 4)
    labels, annotated = voxels(made.labels), voxels(made.annotated)
    assert list(labels.shape) == SIZE
    expected = np.zeros(SIZE, np.uint16)
    expected[10:50, 10:40, 5] = 2
    expected[40:80, 10:40, 5] = 1  # drawn later, so it covers the other
    expected[10:50, 10:40, 9] = 4
    assert np.array_equal(labels, expected)
    known = np.zeros(SIZE, np.uint8)
    known[:, :, 5] = known[:, :, 20] = 1  # nobody drew a box there
    known[5:70, 5:50, 9:11] = 1
    assert np.array_equal(annotated, known)
    info = json.loads((tmp_path / "painted/labels/segment_properties/info").read_text())
    assert info["inline"]["ids"] == ["1", "2", "3", "4"]
    assert info["inline"]["properties"][0]["values"] == list(made.classes)


def test_an_earlier_edit_gives_what_was_drawn_then(work: str, tmp_path: Path) -> None:
    made = export_polygons(work, tmp_path / "then", edit=2)
    assert (made.polygons, made.edit) == (1, 2)
    labels = voxels(made.labels)
    assert (labels[10:50, 10:40, 5] == 2).all()
    assert np.count_nonzero(labels) == 40 * 30
    with pytest.raises(BadInput, match="exists already"):
        export_polygons(work, tmp_path / "then")
    assert export_polygons(work, tmp_path / "then", overwrite=True).polygons == 4
    with pytest.raises(BadInput, match="There is no edit 99"):
        export_polygons(work, tmp_path / "never", edit=99)


def test_a_network_learns_from_the_files_as_they_are(work: str, tmp_path: Path) -> None:
    made = export_polygons(work, tmp_path / "painted")
    recipe = {
        "architecture": "unet",
        "parameters": {"widths": [4, 8], "pooling": [2, 2, 1], "norm": "batch"},
        "input": {"channels": [{"normalise": {"kind": "percentiles"}}], "voxel_size": [1000, 1000, 2000]},
        "patch": [16, 16, 4],
        "truth": {"kind": "classes", "names": {0: "none", 2: "neuron", 1: "glia"}},
        "volumes": [
            {
                "images": f"{Path(work).parent}/dapi",
                "truth": made.labels,
                "annotated": made.annotated,
                "boxes": "0-48,0-48,0-8",
                "validation": "0-48,34-48,0-8",
            }
        ],
        "steps": 2,
        "every": 1,
        "batch": 2,
    }
    cf.train_network(NetworkRecipe.of(recipe, Path("/")), tmp_path / "made.safetensors")
    assert (tmp_path / "made.safetensors").is_file()


def inside(corners: list[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a ray from a place crosses a polygon an odd number of times."""
    found = False
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            found = not found
    return found


Coordinate = st.integers(0, 12 * 64).map(lambda n: n / 64 + 1 / 1024)  # never on the centre of a voxel


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(Coordinate, Coordinate), min_size=3, max_size=8), st.integers(-3, 3))
def test_voxels_whose_centre_is_in_a_polygon_are_its_own(corners: list[Any], start: int) -> None:
    box = Box.of_size((12, 11, 1), (start, start, 0))
    mask = polygon_mask(np.array(corners), box)
    for x in range(12):
        for y in range(11):
            at = x + start + 0.5, y + start + 0.5
            if distance_to_edges(corners, at) > 1e-9:
                assert mask[x, y] == inside(corners, *at)


def distance_to_edges(corners: list[Any], at: tuple[float, float]) -> float:
    """How far a place is from the border, where it belongs to neither side."""
    found = np.inf
    for a, b in zip(np.array(corners), np.array(corners[1:] + corners[:1]), strict=True):
        along = b - a
        share = np.clip(np.dot(at - a, along) / max(np.dot(along, along), 1e-30), 0, 1)
        found = min(found, float(np.linalg.norm(a + share * along - at)))
    return found


def test_shapes_are_near_by_any_part(work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long line is far from its middle; the radius is that of the only object that is given."""
    monkeypatch.setattr(live, "NEIGHBOURS", 1)
    database = str(tmp_path / "near.sqlite")
    with review(work, database=database) as page:
        x, y, z = page._live.objects.places[0] + 0.25
        line = {"kind": "line", "points": [[x, y, z], [0, 0, 47]]}
        ball = {"kind": "ellipsoid", "points": [[127, 127, 47], [0.1, 0.1, 0.1]]}
        decide(work, added(NEURON, line), added(GLIA, ball), database=database)
        page._live.follow()
        found = {one["id"]: one for one in asked(page, f"near?place={x},{y},{z}")["objects"]}
    assert found.keys() == {str(page._live.objects.ids[0]), NEURON}
    assert found[NEURON]["shape"] == line
    assert found[NEURON]["place"] == [x / 2, y / 2, (z + 47) / 2]


def test_shapes_in_space() -> None:
    line = DrawnShape(kind="line", points=((0, 0, 0), (10, 20, 4)))
    ball = DrawnShape(kind="ellipsoid", points=((10, 10, 10), (2, 3, 4)))
    assert middle_of(line) == (5, 10, 2)
    assert middle_of(ball) == (10, 10, 10)
    assert distance_to(line, (10, 20, 4), (1, 1, 1)) == 0
    assert distance_to(ball, (15, 10, 10), (2, 1, 1)) == 6
    volume = Box.of_size((12, 24, 12))
    refuse_shape(ball, volume)
    refuse_shape(line, volume)
    with pytest.raises(BadInput, match="lies outside of the volume"):
        refuse_shape(line, Box.of_size((12, 12, 12)))
    with pytest.raises(BadInput, match="radii of an ellipsoid are larger than 0"):
        refuse_shape(DrawnShape(kind="ellipsoid", points=((1, 1, 1), (0, 3, 4))), volume)
