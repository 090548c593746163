"""Annotation layers: read back whole, and the same however the table was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cloudvolume.datasource.precomputed.annotation import PrecomputedAnnotationSource
from neuroglancer import write_annotations
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.errors import BadInput
from chunkflow.formats.points.neuroglancer import property_name
from chunkflow.geometry import Box, Vec
from chunkflow.kernels.precomputed import annotations as points
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.kernels.precomputed.shards import Sharding
from tasks.annotate.annotate import Annotate
from tasks.annotate.files import sharding_of
from tasks.annotate.properties import Seen, properties_of, seen_in
from tasks.annotate.rows import Chosen
from tests.support.files.annotation_layers import (
    VOLUME,
    annotate,
    layer_content,
    make_rows,
    plain,
)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of about 50³ voxels, so that a small volume has many."""
    monkeypatch.setattr(points, "BLOCK_VOXELS", 1 << 17)
    monkeypatch.setattr(points, "MOST_BLOCKS_BITS", 30)
    monkeypatch.setattr(points, "FINEST", 16)
    monkeypatch.setattr(points, "MOST_FILES", 0)


def chosen(**parameters: Any) -> Chosen:
    """What a task with these parameters asks of its steps."""
    task = Annotate(objects="objects", annotations="cells", **parameters)
    return Chosen.model_validate(task.model_dump(exclude={"objects", "annotations"}))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("cell", [(64, 64, 64), (256, 256, 256)])
def test_every_object_is_found_by_place_id_and_segment(tmp_path: Path, cell: Vec) -> None:
    rows = make_rows(400)
    content = layer_content(annotate(tmp_path, rows, cell, limit=20))
    expected = {}
    for row in rows.to_pylist():
        numbers = [repr(float(np.float32(row[name]))) for name in ("volume_um3", "diameter_um", "dapi_mean")]
        expected[row["id"]] = (str(row["id"]), tuple(float(np.float32(row[a])) for a in "xyz"), *numbers)
    assert content["by_id"] == {n: (found, [n]) for n, found in expected.items()}
    assert content["segments"] == {n: [found] for n, found in expected.items()}
    listed = [a for found in content["cells"].values() for a in found]
    assert sorted(listed) == sorted(expected.values())
    assert len(content["cells"]) > 50


@pytest.mark.usefixtures("small_blocks")
def test_the_same_however_the_table_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(200, apart=25.0)  # many centroids far from the voxels that name them
    contents = [
        layer_content(annotate(tmp_path / str(n), rows, cell, limit=30))
        for n, cell in enumerate([(256, 256, 256), (64, 64, 64), (50, 47, 31)])
    ]
    for bits, files in ((15, 0), (29, 0), (29, 4096)):  # nor how much space one worker takes, nor the files
        monkeypatch.setattr(points, "BLOCK_VOXELS", 1 << bits)
        monkeypatch.setattr("chunkflow.data.tables.BATCH", 1 << (bits - 10))  # nor how many rows at once
        monkeypatch.setattr(points, "MOST_FILES", files)
        layer = annotate(tmp_path / f"{bits}-{files}", rows, (64, 64, 64), limit=30)
        contents.append(layer_content(layer))
    contents.append(layer_content(annotate(tmp_path / "one", rows, None, limit=30)))
    for other in contents[1:]:
        assert other == contents[0]
    assert len(contents[0]["by_id"]) == 200


@pytest.mark.usefixtures("small_blocks")
def test_objects_far_from_the_voxel_that_names_them(tmp_path: Path) -> None:
    """Wherever the table has their rows: they are sent to where they lie."""
    rows = make_rows(120, apart=60.0)
    cut = layer_content(annotate(tmp_path / "cut", rows, (32, 32, 32), limit=30))
    whole = layer_content(annotate(tmp_path / "whole", rows, None, limit=30))
    assert cut == whole


@pytest.mark.usefixtures("small_blocks")
def test_places_are_cells_of_their_level(tmp_path: Path) -> None:
    layer = annotate(tmp_path, make_rows(600), (64, 64, 64), limit=25)
    info = json.loads((layer / "info").read_text())
    assert info["lower_bound"] == list(VOLUME.start)
    for size, shape in [(level["chunk_size"], level["grid_shape"]) for level in info["spatial"]]:
        covered = [a + s * n for a, s, n in zip(VOLUME.start, size, shape, strict=True)]
        assert info["upper_bound"] == covered
        assert all(0 <= c - b < n / 4 for c, b, n in zip(covered, VOLUME.stop, VOLUME.size, strict=True))
    assert info["dimensions"] == {"x": [1e-6, "m"], "y": [1e-6, "m"], "z": [2e-6, "m"]}
    for (level, *place), found in layer_content(layer)["cells"].items():
        size = info["spatial"][level]["chunk_size"]
        for _, point, *_ in found:
            inside = [int((p - o) // s) for p, o, s in zip(point, VOLUME.start, size, strict=True)]
            assert inside == place


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("bits", "most"), [(17, 0), (17, 4096), (21, 0), (21, 100)])
def test_no_file_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, most: int) -> None:
    """Few points in many cells: those without any have their files, too."""
    monkeypatch.setattr(points, "BLOCK_VOXELS", 1 << bits)
    monkeypatch.setattr(points, "MOST_FILES", most)
    layer = annotate(tmp_path, make_rows(40), (64, 64, 64), limit=2)
    info = json.loads((layer / "info").read_text())
    expected = {"info"}
    for level in info["spatial"]:
        places = np.indices(level["grid_shape"]).reshape(3, -1).T
        if "sharding" not in level:
            expected |= {f"{level['key']}/{i}_{j}_{k}" for i, j, k in places.tolist()}
            continue
        expected |= shard_names(level, morton_encode(places, level["grid_shape"]))
    for index in [info["by_id"], *info["relationships"]]:
        shards = range(1 << index["sharding"]["shard_bits"])
        expected |= {f"{index['key']}/{sharding_of(40).file_name(n)}" for n in shards}
    found = {path.relative_to(layer).as_posix() for path in layer.rglob("*") if path.is_file()}
    assert found == expected


def shard_names(index: dict[str, Any], keys: np.ndarray) -> set[str]:
    given = index["sharding"]
    bits = (given[name] for name in ("hash", "preshift_bits", "minishard_bits", "shard_bits"))
    sharding = Sharding(*bits)
    return {f"{index['key']}/{sharding.file_name(n)}" for n in np.unique(sharding.locate(keys)[0]).tolist()}


@pytest.mark.usefixtures("small_blocks")
def test_queries_by_box(tmp_path: Path) -> None:
    rows = make_rows(600)
    reader = AnnotationReader(f"file://{annotate(tmp_path, rows, (64, 64, 64), limit=25)}")
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1).astype(np.float32)
    low, high = np.array([30.0, 5.0, 20.0]), np.array([90.0, 77.0, 60.0])
    inside = ((places >= low) & (places <= high)).all(axis=1)
    found = reader.get_within_spatial_bounds(lower_bound=low, upper_bound=high)
    assert sorted(int(a.id) for a in found) == sorted(rows["id"].to_numpy()[inside].tolist())


@pytest.mark.usefixtures("small_blocks")
def test_cloudvolume_reads_the_same(tmp_path: Path) -> None:
    rows = make_rows(300)
    columns = ["volume", "Kind-of", "dapi_mean"]
    source = PrecomputedAnnotationSource(
        f"file://{annotate(tmp_path, rows, (64, 64, 64), limit=25, properties=columns)}"
    )
    ids, kinds, places = [], [], []
    for level in range(len(source.meta.info["spatial"])):
        found = source.get_all(mip=level)
        ids += found.ids.tolist()
        kinds += found.properties["kind_of"].tolist() if len(found) else []
        places += found.geometry.tolist()
    order = np.argsort(ids)
    assert np.array(ids)[order].tolist() == rows["id"].to_pylist()
    assert np.array(kinds)[order].tolist() == rows["Kind-of"].to_pylist()
    expected = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1).astype(np.float32)
    np.testing.assert_array_equal(np.array(places)[order], expected)
    first = rows.slice(5, 1).to_pylist()[0]
    single = source.get_by_id([first["id"]])[first["id"]]
    assert int(single.properties["volume"][0]) == first["volume"]
    assert source.get_by_relationship("segment", first["id"]).ids.tolist() == [first["id"]]


def test_properties_of_every_size_stand_where_the_format_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """neuroglancer's reader aligns uint32 to three bytes; told better, it must agree."""
    monkeypatch.setitem(write_annotations._PROPERTY_DTYPES, "uint32", (("<u4",), 4))
    rows = make_rows(20)
    columns = ["Kind-of", "dapi_mean", "volume"]
    layer = annotate(tmp_path, rows, properties=columns)
    info = json.loads((layer / "info").read_text())
    assert [(p["id"], p["type"]) for p in info["properties"]] == [
        ("dapi_mean", "float32"),
        ("volume", "uint32"),
        ("kind_of", "int8"),
    ]
    reader = AnnotationReader(f"file://{layer}")
    for row in rows.to_pylist():
        wanted = [repr(float(np.float32(row["dapi_mean"]))), repr(row["volume"]), repr(row["Kind-of"])]
        assert list(plain(reader.by_id[row["id"]])[2:]) == wanted


@pytest.mark.parametrize("cell", [None, (64, 64, 64)])
def test_ids_of_any_kind(tmp_path: Path, cell: Vec | None) -> None:
    """Labels that are not in one piece may have any ids; they come in one file."""
    rows = make_rows(1000)
    if cell is None:
        ids = np.sort(np.random.default_rng(1).integers(1, 2**64 - 1, 1000, dtype=np.uint64))
        rows = rows.set_column(0, "id", pa.array(ids))
    content = layer_content(annotate(tmp_path, rows, cell))
    assert sorted(content["by_id"]) == rows["id"].to_pylist()


@pytest.mark.parametrize("cell", [None, (64, 64, 64)])
def test_a_table_without_rows_is_a_layer_without_points(tmp_path: Path, cell: Vec | None) -> None:
    layer = annotate(tmp_path, make_rows(0), cell, properties=["dapi_mean"])
    assert layer_content(layer) == {"cells": {}, "by_id": {}, "segments": {}}
    reader = AnnotationReader(f"file://{layer}")
    assert list(reader.get_within_spatial_bounds()) == []
    assert reader.spatial[0][0, 0, 0] == []
    assert len(PrecomputedAnnotationSource(f"file://{layer}").get_all()) == 0


@pytest.mark.usefixtures("small_blocks")
def test_a_part_has_the_points_that_lie_in_it(tmp_path: Path) -> None:
    rows = make_rows(800, apart=20.0)
    box = Box((40, 0, 20), (100, 70, 61))
    annotate(tmp_path, rows, (32, 32, 32), box, limit=20)
    content = layer_content(tmp_path / "work" / "try" / str(box) / "layers" / "cells")
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1).astype(np.float32)
    inside = ((places >= box.start) & (places < box.stop)).all(axis=1)
    assert sorted(content["by_id"]) == rows["id"].to_numpy()[inside].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: pa.concat_tables([rows, rows.slice(3, 1)]), r"the id \d+ more than once"),
        (lambda rows: rows.set_column(1, "x", pa.array([1e6] * len(rows))), "outside of the volume"),
        (lambda rows: rows.set_column(1, "x", pa.array([np.nan] * len(rows))), "outside of the volume"),
    ],
)
def test_rows_that_cannot_be_points_are_named(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        annotate(tmp_path, change(make_rows(10)))


def test_columns_that_cannot_be_shown_are_named() -> None:
    columns = {"id": "uint64", "when": "timestamp[ms]", "a_b": "float", "a-b": "float"}
    for wanted, message in (
        (["size"], "no column 'size'"),
        (["when"], "holds timestamp"),
        (["a_b", "a-b"], "the same name"),
    ):
        with pytest.raises(BadInput, match=message):
            properties_of(Seen(columns, {}, []), chosen(properties=wanted), 1)


def test_property_names_are_as_the_format_wants_them() -> None:
    assert [property_name(c) for c in ("DAPI_mean", "488_mean", "c-fos mean")] == [
        "dAPI_mean",
        "p_488_mean",
        "c_fos_mean",
    ]


@pytest.mark.parametrize(
    ("colours", "kind"),
    [
        (["red", "#00ff00", "green"], "rgb"),
        (["#ff000080", "red"], "rgba"),
        (["#f008", "red"], "rgba"),  # the short form
        (["#ff0000ff", None], "rgb"),  # nothing shines through
    ],
)
def test_colours_that_let_something_shine_through(colours: list[str | None], kind: str) -> None:
    asked = chosen(properties=["color"])
    seen = seen_in(pa.table({"color": pa.array(colours)}), asked)
    assert [p.type for p in properties_of(seen, asked, len(colours))] == [kind]
