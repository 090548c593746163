"""Points of napari, cellfinder and Neuroglancer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chunkflow.errors import BadInput
from chunkflow.formats.points.files import read_points
from tests.support.files.point_files import LAYER, PLACES, check, lines, markers, put, state


def test_points_of_napari_count_from_the_middle_of_a_voxel(tmp_path: Path) -> None:
    rows = [[n, z - 0.5, y - 0.5, x - 0.5, "a"] for n, (x, y, z) in enumerate(PLACES)]
    path = put(tmp_path, "p.csv", lines(["index", "axis-0", "axis-1", "axis-2", "kind"], *rows))
    points = read_points(path, LAYER)
    check(points)
    assert points.column_names == ["z", "y", "x", "kind"]
    scaled = [[n, (z - 0.5) * 6, y - 0.5, (x - 0.5) * 1.62] for n, (x, y, z) in enumerate(PLACES)]
    path = put(tmp_path, "s.csv", lines(["index", "axis-0", "axis-1", "axis-2"], *scaled))
    check(read_points(path, LAYER, unit="um"))
    flat = put(tmp_path, "f.csv", lines(["index", "axis-0", "axis-1"], [0, 1, 2]))
    with pytest.raises(BadInput, match="points of 2 axes; three"):
        read_points(flat, LAYER)


def test_markers_of_cellfinder_are_voxels_with_types(tmp_path: Path) -> None:
    text = markers((1, [(12, 3, 40)]), (2, [(13, 4, 41), (14, 5, 42)]), (-1, [(15, 6, 43)]))
    points = read_points(put(tmp_path, "cells.xml", text), LAYER)
    check(points, [(12.5, 3.5, 40.5), (13.5, 4.5, 41.5), (14.5, 5.5, 42.5), (15.5, 6.5, 43.5)])
    assert points["class"].to_pylist() == ["no cell", "cell", "cell", "artefact"]
    candidates = read_points(put(tmp_path, "c.xml", markers((1, [(12, 3, 40)]), (2, []))), LAYER)
    assert candidates.column_names == ["x", "y", "z"]


def drawn(name: str, points: list[Any], **more: Any) -> dict[str, Any]:
    annotations = [{"type": "point", "id": f"{n}af", "point": list(p)} for n, p in enumerate(points)]
    return {
        "type": "annotation",
        "name": name,
        "source": "local://annotations",
        "annotations": annotations,
        **more,
    }


def test_a_state_of_neuroglancer_has_a_class_for_each_layer(tmp_path: Path) -> None:
    own = {
        "url": "local://annotations",
        "transform": {"outputDimensions": {"z": [1e-6, "m"], "y": [1, "um"]}},
    }
    own["transform"]["outputDimensions"]["x"] = [810, "nm"]  # type: ignore[index]
    turned = [(PLACES[1][2] * 6, PLACES[1][1], PLACES[1][0] * 2)]
    text = state(drawn("neuron", PLACES[:1]), drawn("glia", turned, source=own))
    points = read_points(put(tmp_path, "s.json", text), LAYER)
    check(points)
    assert points["class"].to_pylist() == ["neuron", "glia"]
    assert "id" not in points.column_names


def test_one_layer_of_neuroglancer_with_properties(tmp_path: Path) -> None:
    layer = drawn("a", PLACES, annotationProperties=[{"id": "score", "type": "float32"}])
    layer["annotationProperties"].append(
        {"id": "kind", "type": "uint8", "enum_values": [3, 5], "enum_labels": ["x", "y"]}
    )
    dimensions = json.loads(state())["dimensions"]
    layer["source"] = [{"url": "local://annotations", "transform": {"outputDimensions": dimensions}}]
    for n, annotation in enumerate(layer["annotations"]):
        annotation |= {
            "id": str(8 + n),
            "props": [0.1, [3, 5][n]],
            "segments": [[str(n)]],
            "description": "!",
        }
    points = read_points(put(tmp_path, "l.json", json.dumps(layer)), LAYER)
    check(points)
    assert points.drop_columns(["x", "y", "z"]).to_pylist() == [
        {"id": 8, "class": "a", "segment": 0, "description": "!", "score": 0.1, "kind": "x"},
        {"id": 9, "class": "a", "segment": 1, "description": "!", "score": 0.1, "kind": "y"},
    ]


def test_what_neuroglancer_has_besides_points_is_refused(tmp_path: Path) -> None:
    line = drawn("lines", [])
    line["annotations"] = [{"type": "line", "id": "a", "pointA": [1, 2, 3], "pointB": [1, 2, 3]}]
    turned = {"outputDimensions": json.loads(state())["dimensions"], "matrix": [[0, 1, 0, 0]]}
    cases = {
        state(line): "the layer lines has annotations that are no points .line.",
        state(): "has no annotations",
        json.dumps({"layers": [drawn("a", PLACES)]}): "the layer a does not say what its x, y and z are",
        state(
            drawn("a", PLACES, source={"url": "local://annotations", "transform": turned})
        ): "turned or moved",
        state(drawn("a", [[1, 2]])): "the layer a is not as Neuroglancer writes it",
        state(drawn("a", [["q", 2, 3]])): "the layer a is not as Neuroglancer writes it",
        '{"dimensions": 3}': "neither a list of rows nor a state",
        '{"layers": [': "is not whole JSON",
    }
    for text, said in cases.items():
        with pytest.raises(BadInput, match=said):
            read_points(put(tmp_path, "s.json", text), LAYER)
