"""Points exported for other programs and read out of annotation layers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from neuroglancer import CoordinateSpace
from neuroglancer.viewer_state import AnnotationLayer, AnnotationPropertySpec
from neuroglancer.write_annotations import AnnotationWriter

from chunkflow.errors import BadInput, DamagedInput
from chunkflow.geometry import Box, Vec
from tests.support.files.exports import PLACED, run, table_layer
from tests.support.jobs import make_job, run_job


def test_napari_reads_its_points(tmp_path: Path) -> None:
    table_layer(tmp_path / "table", [PLACED.slice(0, 2), PLACED.slice(2)])
    run(str(tmp_path / "table"), "--to", str(tmp_path / "p.csv"), "--as", "napari")
    found = list(csv.reader((tmp_path / "p.csv").open()))
    assert found[0] == ["index", "axis-0", "axis-1", "axis-2", "id", "class", "score", "cut"]
    assert [[float(v) for v in row[:4]] for row in found[1:]] == [
        [0, 6.5, 3.0, 0.75],
        [1, -0.25, 0.0, 2.0],
        [2, 9.25, 9.0, 19.25],
    ]


def test_cellfinder_reads_its_markers_by_type(tmp_path: Path) -> None:
    table_layer(tmp_path / "table", [PLACED.slice(0, 2), PLACED.slice(2)])
    run(str(tmp_path / "table"), "--to", str(tmp_path / "cells.xml"))
    markers = ElementTree.parse(tmp_path / "cells.xml").getroot().find("Marker_Data")
    assert markers is not None
    found = [
        (int(group.findtext("Type") or 0), *(int(m.findtext(f"Marker{axis}") or 0) for axis in "XYZ"))
        for group in markers.findall("Marker_Type")
        for m in group.findall("Marker")
    ]
    assert found == [(1, 2, 0, 0), (2, 1, 3, 7), (2, 19, 9, 9)]


def test_neuroglancer_reads_its_points(tmp_path: Path) -> None:
    table_layer(tmp_path / "table", [PLACED.slice(0, 2), PLACED.slice(2)])
    run(str(tmp_path / "table"), "--to", str(tmp_path / "p.json"), "--as", "neuroglancer")
    layer = AnnotationLayer(json.loads((tmp_path / "p.json").read_text()))
    assert [p.id for p in layer.annotation_properties] == ["class", "score", "cut"]
    assert [list(a.point) for a in layer.annotations] == [
        [1.25, 3.5, 7],
        [2.5, 0.5, 0.25],
        [19.75, 9.5, 9.75],
    ]
    assert [list(a.props) for a in layer.annotations] == [[0, 0.5, 1], [1, 0.25, 0], [0, 1.0, 1]]
    assert [a.id for a in layer.annotations] == ["5", str(2**63 + 1), "9"]


def test_what_other_programs_cannot_show_is_refused(tmp_path: Path) -> None:
    table_layer(tmp_path / "nowhere", [pa.table({"id": pa.array([1], pa.uint64())})])
    for form, ending in (("napari", "csv"), ("cellfinder", "xml"), ("neuroglancer", "json")):
        with pytest.raises(BadInput, match="no column x"):
            run(str(tmp_path / "nowhere"), "--to", str(tmp_path / f"a.{ending}"), "--as", form)
        with pytest.raises(BadInput, match=f"must end in .{ending}"):
            run(str(tmp_path / "nowhere"), "--to", str(tmp_path / "a.h5"), "--as", form)
    neuron = PLACED.set_column(4, "class", pa.array(["cell", "neuron", None]))
    table_layer(tmp_path / "neurons", [neuron])
    with pytest.raises(BadInput, match=r"cellfinder knows the classes .* not neuron"):
        run(str(tmp_path / "neurons"), "--to", str(tmp_path / "a.xml"))
    lacking = PLACED.set_column(5, "score", pa.array([1.0, None, 3.0]))
    table_layer(tmp_path / "lacking", [lacking])
    with pytest.raises(BadInput, match="column score has rows without a number"):
        run(str(tmp_path / "lacking"), "--to", str(tmp_path / "a.json"), "--as", "neuroglancer")
    many = pa.table({axis: np.arange(10_001) % 10 + 0.5 for axis in "xyz"})
    table_layer(tmp_path / "many", [many.append_column("id", pa.array(range(10_001), pa.uint64()))])
    with pytest.raises(BadInput, match=r"more than 10,000 rows"):
        run(str(tmp_path / "many"), "--to", str(tmp_path / "a.json"), "--as", "neuroglancer")
    assert not list(tmp_path.glob("*.*"))


@pytest.mark.parametrize(("size", "limit"), [((300, 200, 150), 100), ((750, 750, 750), 1)])
def test_points_come_back_out_of_an_annotation_layer(tmp_path: Path, size: Vec, limit: int) -> None:
    count = 4000
    random = np.random.default_rng(0)
    places = random.random((count, 3)) * np.array(size)
    objects = pa.table(
        {
            "id": pa.array(random.permutation(count) + 1, pa.uint64()),
            **{axis: places[:, i] for i, axis in enumerate("xyz")},
            "class": [["neuron", "glia", None][n % 3] for n in range(count)],
            "sure": random.random(count).astype(np.float32),
            "Slices-in": random.integers(0, 60_000, count).astype(np.uint16),
            "cut": random.random(count) < 0.5,
        }
    )
    table_layer(tmp_path / "objects", [objects], Box.of_size(size))
    layers = {"objects": str(tmp_path / "objects"), "shown": str(tmp_path / "shown")}
    task = {
        "objects": "objects",
        "annotations": "shown",
        "limit": limit,
        "properties": objects.column_names[4:],
    }
    job = make_job(tmp_path, layers, [{"annotate": task}], chunk=[64, 64, 64])
    assert run_job(job) == "complete"
    levels = json.loads((tmp_path / "shown" / "info").read_text())["spatial"]
    assert len(levels) > 1
    assert any("sharding" in level for level in levels) == (limit == 1)
    run(str(tmp_path / "shown"), "--to", str(tmp_path / "back.parquet"))
    back = pq.read_table(tmp_path / "back.parquet").sort_by("id")
    wanted = objects.sort_by("id")
    assert back.column_names == ["id", *"xyz", "x_um", "y_um", "z_um", *back.column_names[7:]]
    for name in objects.column_names:
        if name in "xyz":
            assert back[name].to_pylist() == wanted[name].to_numpy().astype(np.float32).tolist()
        else:
            assert back[name].to_pylist() == wanted[name].to_pylist(), name
    np.testing.assert_allclose(back["x_um"].to_numpy(), back["x"].to_numpy() * 1.62)


def test_points_of_other_writers_come_out(tmp_path: Path) -> None:
    space = CoordinateSpace(names=["x", "y", "z"], units=["nm"] * 3, scales=[4, 5, 40])
    properties = [
        AnnotationPropertySpec(id="small", type="uint8", enum_values=[2, 7], enum_labels=["two", "seven"]),
        AnnotationPropertySpec(id="hue", type="rgb"),
        AnnotationPropertySpec(id="much", type="float32", description="Much"),
    ]
    writer = AnnotationWriter(space, "point", properties=properties)
    for n in range(50):
        writer.add_point([n, 2 * n, 3 * n], id=n + 2**40, small=[2, 7][n % 2], hue=(n, 255, 0), much=n / 2)
    writer.write(str(tmp_path / "layer"))
    run(str(tmp_path / "layer"), "--to", str(tmp_path / "back.parquet"))
    found = pq.read_table(tmp_path / "back.parquet").sort_by("id")
    assert found["x"].to_pylist() == list(range(50))
    np.testing.assert_allclose(found["z_um"].to_numpy(), np.arange(50) * 3 * 0.04)
    assert found.drop_columns(["x", "y", "z", "x_um", "y_um", "z_um"]).to_pylist() == [
        {"id": n + 2**40, "small": ["two", "seven"][n % 2], "hue": f"#{n:02x}ff00", "Much": n / 2}
        for n in range(50)
    ]


def test_annotations_that_are_no_points_or_damaged_are_refused(tmp_path: Path) -> None:
    space = CoordinateSpace(names=["x", "y", "z"], units=["nm"] * 3, scales=[4, 5, 40])
    writer = AnnotationWriter(space, "line")
    writer.add_line([1, 2, 3], [4, 5, 6], id=1)
    writer.write(str(tmp_path / "lines"))
    with pytest.raises(BadInput, match="annotations of the kind line; only points are rows"):
        run(str(tmp_path / "lines"), "--to", str(tmp_path / "back.csv"))
    writer = AnnotationWriter(space, "point")
    writer.add_point([1, 2, 3], id=1)
    writer.write(str(tmp_path / "points"))
    cell = next((tmp_path / "points").glob("spatial0/*"))
    cell.write_bytes(cell.read_bytes()[:-3])
    with pytest.raises(DamagedInput, match="which is not what 1 points take"):
        run(str(tmp_path / "points"), "--to", str(tmp_path / "back.csv"))
    (tmp_path / "points" / "info").write_text('{"@type": "neuroglancer_annotations_v1"}')
    with pytest.raises(BadInput, match="is not an annotation layer of three axes"):
        run(str(tmp_path / "points"), "--to", str(tmp_path / "back.csv"))
    assert not list(tmp_path.glob("*.csv"))
