"""Annotation layers by class, of many texts, of none, and of large balls."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.kernels.precomputed.crossings import AnnotationKind
from tests.support.files.annotation_kinds import (
    KINDS,
    all_of,
    check_cells,
    shown_of,
    some_rows,
    told,
    write_layer,
)
from tests.support.files.annotation_layers import VOXEL_SIZE

pytestmark = pytest.mark.usefixtures("small_cells")


def test_classes_become_layers_of_their_own(tmp_path: Path) -> None:
    rows = some_rows()
    for name, where, colour in (
        ("neurons", {"class": "neuron"}, "red"),
        ("others", {"class": ["glia", "neuron"], "size": [1, 3, 4, 6]}, "#0000FF"),
    ):
        layer = write_layer(tmp_path / name, rows, where=where, color=colour)
        info = json.loads((layer / "info").read_text())
        assert info["color"] == {"red": "#ff0000", "#0000FF": "#0000ff"}[colour]
        wanted = {key: value if isinstance(value, list) else [value] for key, value in where.items()}
        expected = [
            row["id"] for row in rows.to_pylist() if all(row[key] in values for key, values in wanted.items())
        ]
        assert expected
        reader = AnnotationReader(f"file://{layer}")
        listed = {int(a.id) for index in reader.spatial for a in all_of(index)}
        assert listed == set(expected)
        assert reader.by_id[expected[0]].id == str(expected[0])
        missing = next(row["id"] for row in rows.to_pylist() if row["id"] not in expected)
        assert missing not in reader.by_id


def test_a_class_that_is_missing_is_named_and_no_id_is_twice_related(tmp_path: Path) -> None:
    rows = some_rows()
    reader = AnnotationReader(
        f"file://{write_layer(tmp_path, rows, properties=['class'], relationships={'nucleus': 'nuclei'})}"
    )
    assert reader.metadata["properties"][0]["enum_labels"] == ["(none)", "glia", "neuron"]
    related = reader.relationships["nucleus"][7]  # lists have it twice, and 0, which is background
    assert sorted(a.id for a in related) == sorted(str(r["id"]) for r in rows.to_pylist() if r["nuclei"])
    for row in rows.to_pylist():
        assert list(reader.by_id[row["id"]].segments[0]) == ([7] if row["nuclei"] else [])


def test_balls_have_the_diameter_that_was_measured(tmp_path: Path) -> None:
    rows = some_rows(9).drop_columns(["r_x", "r_y", "r_z"])
    rows = rows.append_column("diameter_um", pa.array(np.arange(1.0, 10.0)))
    reader = AnnotationReader(f"file://{write_layer(tmp_path, rows, kind='ellipsoid')}")
    for row in rows.to_pylist():
        radii = [row["diameter_um"] * 500 / size for size in VOXEL_SIZE]
        assert told(reader.by_id[row["id"]])[3:] == radii


@pytest.mark.parametrize("count", [256, 257])
def test_many_texts_take_two_bytes(tmp_path: Path, count: int) -> None:
    rows = some_rows(count).append_column("region", pa.array([f"r{n:04d}" for n in range(count)]))
    layer = write_layer(tmp_path, rows, properties=["region"])
    (entry,) = json.loads((layer / "info").read_text())["properties"]
    assert (entry["type"], len(entry["enum_labels"])) == ("uint8" if count == 256 else "uint16", count)
    reader = AnnotationReader(f"file://{layer}")
    for row in rows.slice(count - 3).to_pylist():
        assert shown_of(reader.by_id[row["id"]], reader.metadata) == {"region": row["region"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_may_be_empty_or_related_to_nothing(tmp_path: Path, kind: AnnotationKind) -> None:
    rows = some_rows(5)
    nobody = {"where": {"class": "microglia"}, "properties": ["class"], "color": "color"}
    columns = ["id", "x", "y", "z"]
    for name, table, parameters in (
        ("nobody", rows, nobody),
        ("no_rows", rows.slice(0, 0).select(columns), {"color": "shade", "properties": ["class"]}),
        ("alone", rows, {"relationships": {}}),
    ):
        layer = write_layer(tmp_path / name, table, kind=kind, **parameters)
        reader = AnnotationReader(f"file://{layer}")
        expected = set(rows["id"].to_pylist()) if name == "alone" else set()
        assert {int(a.id) for index in reader.spatial for a in all_of(index)} == expected
        assert [number for number in rows["id"].to_pylist() if number in reader.by_id] == sorted(expected)
        assert reader.metadata["annotation_type"].lower() == reader.annotation_type
        assert len(reader.relationships) == (name != "alone")


def test_what_is_large_stands_in_few_cells(tmp_path: Path) -> None:
    rows = some_rows()
    reader = AnnotationReader(f"file://{write_layer(tmp_path, rows, kind='box', limit=1)}")
    assert len(reader.spatial) >= 4
    check_cells(reader, rows, "box")


def test_a_relationship_may_be_called_as_a_step_is(tmp_path: Path) -> None:
    rows = some_rows()
    names = ["count", "levels", "cells"]
    reader = AnnotationReader(
        f"file://{write_layer(tmp_path, rows, relationships=dict.fromkeys(names, 'id'))}"
    )
    for row in rows.to_pylist():
        assert [[a.id for a in reader.relationships[n][row["id"]]] for n in names] == [[str(row["id"])]] * 3
