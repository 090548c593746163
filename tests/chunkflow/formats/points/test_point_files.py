"""Points of files of every format: read to the last digit, refused helpfully, given to objects."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkflow.data.describe import layer_at
from chunkflow.data.info import ImageInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import assign, open_points, positions, read_points
from chunkflow.geometry import Box
from tests.support.jobs import make_layer

VOLUME = Box((10, -20, 30), (110, 60, 80))
LAYER = ImageInfo(url="file:///dapi", volume=VOLUME, voxel_size=(1620.0, 1000.0, 6000.0))
PLACES = [(12.25, -3.5, 40.0), (109.5, 59.5, 79.5)]
NAMES = ["class", "n"]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def lines(*rows: Any, mark: str = ",") -> str:
    return "".join(mark.join(map(str, row)) + "\n" for row in rows)


def check(points: pa.Table, places: Any = PLACES) -> None:
    np.testing.assert_allclose(positions(points), np.array(places), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("header", "scale", "unit"),
    [
        (["x", "y", "z"], (1, 1, 1), ""),
        (["X", "Y", "Z"], (1, 1, 1), "voxels"),
        (["x_um", "y_um", "z_um"], (1.62, 1, 6), ""),
        (["X (um)", "Y (um)", "Z (um)"], (1.62, 1, 6), ""),
        (["x [µm]", "y [µm]", "z [µm]"], (1.62, 1, 6), ""),
        (["x", "y", "z"], (1.62, 1, 6), "um"),
        (["x", "y", "z"], (1.62, 1, 6), "µm"),
        (["x", "y", "z"], (1620, 1000, 6000), "nm"),
        (["x_mm", "y_mm", "z_mm"], (1.62e-3, 1e-3, 6e-3), ""),
    ],
)
@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_columns_say_what_they_are(
    tmp_path: Path, header: list[str], scale: tuple[float, ...], unit: str, mark: str
) -> None:
    rows = [[*np.array(place) * scale, "neuron", 7] for place in PLACES]
    points = read_points(put(tmp_path, "p.txt", lines([*header, *NAMES], *rows, mark=mark)), LAYER, unit=unit)
    check(points)
    assert points["class"].to_pylist() == ["neuron"] * 2
    assert points["n"].to_pylist() == [7, 7]


def test_columns_are_named_for_files_that_do_not(tmp_path: Path) -> None:
    rows = [[z, y, x, 5] for x, y, z in PLACES]
    path = put(tmp_path, "p.csv", lines(*rows))
    check(read_points(path, LAYER, columns="z, y, x, n"))
    with pytest.raises(BadInput, match=r"4 columns and no line that names them: .* columns z,y,x"):
        read_points(path, LAYER)
    with pytest.raises(BadInput, match="4 columns but columns names 3"):
        read_points(path, LAYER, columns="z,y,x")


def test_columns_that_are_named_otherwise_are_renamed(tmp_path: Path) -> None:
    rows = [[z, y, x] for x, y, z in PLACES]
    path = put(tmp_path, "p.csv", lines(["depth", "row", "column"], *rows))
    check(read_points(path, LAYER, columns="z,y,x"))
    with pytest.raises(BadInput, match=r"has the columns depth, row, column; x, y, z .* as in columns z,y,x"):
        read_points(path, LAYER)
    with pytest.raises(BadInput, match=r"has 3 columns \(depth, row, column\), but columns names 2"):
        read_points(path, LAYER, columns="z,y")


def test_a_file_of_excel_or_pandas_is_read(tmp_path: Path) -> None:
    numbered = lines(["", "x", "y", "z"], *([n, *place] for n, place in enumerate(PLACES)))
    points = read_points(put(tmp_path, "p.csv", numbered), LAYER)
    check(points)
    assert points.column_names == ["column_1", "x", "y", "z"]
    text = "\ufeff" + lines(["x", "y", "z"], *PLACES).replace("\n", "\r\n")
    check(read_points(put(tmp_path, "bom.csv", text), LAYER))


def test_rows_of_json_hdf5_and_parquet(tmp_path: Path) -> None:
    columns = dict(zip("xyz", np.array(PLACES).T, strict=True))
    rows = [{"id": 2**64 - 1 - n, **dict(zip("xyz", place, strict=True))} for n, place in enumerate(PLACES)]
    rows[0]["note"] = "ä"
    put(tmp_path, "p.json", json.dumps(rows, indent=3))
    ids = np.array([2**64 - 1, 2**64 - 2], np.uint64)
    pq.write_table(pa.table({"id": ids, **columns, "note": ["ä", None]}), tmp_path / "p.parquet")
    with h5py.File(tmp_path / "p.h5", "w", track_order=True) as file:
        file["id"] = ids
        for axis, values in columns.items():
            file[axis] = values.astype(">f8")
        file["note"] = ["ä", ""]
    for name in ("p.json", "p.parquet", "p.h5"):
        points = read_points(tmp_path / name, LAYER)
        check(points)
        assert points["id"].to_pylist() == ids.tolist(), name
        assert points["note"].to_pylist() == ["ä", "" if name == "p.h5" else None]


def test_json_is_read_object_by_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.formats.points.json_rows.BLOCK", 3)
    rows = [{"id": n, "s": "a\u20ac\U0001f600]}"[: n % 7], "f": n / 3} for n in range(50)]
    path = put(tmp_path, "p.json", json.dumps(rows, ensure_ascii=False))
    assert pa.concat_tables(open_points(path, LAYER).pieces()).to_pylist() == rows


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


def markers(*groups: tuple[int, list[tuple[float, ...]]]) -> str:
    root = ElementTree.Element("CellCounter_Marker_File")
    data = ElementTree.SubElement(root, "Marker_Data")
    for kind, places in groups:
        group = ElementTree.SubElement(data, "Marker_Type")
        ElementTree.SubElement(group, "Type").text = str(kind)
        for place in places:
            marker = ElementTree.SubElement(group, "Marker")
            for axis, value in zip("XYZ", place, strict=True):
                ElementTree.SubElement(marker, f"Marker{axis}").text = str(value)
    return ElementTree.tostring(root, encoding="unicode")


def test_markers_of_cellfinder_are_voxels_with_types(tmp_path: Path) -> None:
    text = markers((1, [(12, 3, 40)]), (2, [(13, 4, 41), (14, 5, 42)]), (-1, [(15, 6, 43)]))
    points = read_points(put(tmp_path, "cells.xml", text), LAYER)
    check(points, [(12.5, 3.5, 40.5), (13.5, 4.5, 41.5), (14.5, 5.5, 42.5), (15.5, 6.5, 43.5)])
    assert points["class"].to_pylist() == ["no cell", "cell", "cell", "artefact"]
    candidates = read_points(put(tmp_path, "c.xml", markers((1, [(12, 3, 40)]), (2, []))), LAYER)
    assert candidates.column_names == ["x", "y", "z"]


def state(*layers: dict[str, Any]) -> str:
    return json.dumps(
        {
            "dimensions": {"x": [1.62e-6, "m"], "y": [1e-6, "m"], "z": [6e-6, "m"]},
            "layers": [{"type": "image", "name": "dapi", "source": "precomputed://x"}, *layers],
        }
    )


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


def test_labels_of_ids_alone_need_no_places(tmp_path: Path) -> None:
    points = read_points(put(tmp_path, "p.csv", "ID,Class\n18446744073709551615,007\n2,\n"), LAYER)
    assert points.to_pylist() == [{"id": 2**64 - 1, "class": "007"}, {"id": 2, "class": None}]
    assert points.schema.types == [pa.uint64(), pa.string()]


BAD = {
    "nothing": ("", "p.csv is empty"),
    "a word among numbers": ("x,y,z\n20,1,40\n20,abc,40\n", "p.csv, line 3: y is 'abc', which is no number"),
    "a gap": ("x,y,z\n20,1,40\n20,1,40\n20,,40\n", "p.csv, line 4: y has no number"),
    "NaN": ("x,y,z\n20,nan,40\n", "p.csv, line 2: y has no number"),
    "infinity": ("x,y,z\ninf,1,40\n", "p.csv, line 2: x has no number"),
    "a short line": ("x,y,z\n20,1,40\n20,1\n", "p.csv, line 3, has 2 columns; the first has 3"),
    "decimal commas": ("x;y;z\n20,5;1;40\n", "line 2: x is '20,5', which is no number"),
    "two axes": ("x,y\n20,1\n", "has the columns x, y; x, y, z"),
    "a name twice": ("x,y,z,x\n20,1,40,20\n", "has two columns named x"),
    "a negative id": ("id,x,y,z\n-4,20,1,40\n", "line 2: id is -4, not a whole number"),
    "a fraction as id": ("id,x,y,z\n1,20,1,40\n4.5,20,1,40\n", "line 3: id is 4.5, not a whole number"),
    "no id": ("id,x,y,z\n1,20,1,40\n,20,1,40\n", "line 3: id is None, not a whole number"),
    "a word as id": (
        "id,x,y,z\ncell_1,20,1,40\n",
        "line 2: id is 'cell_1'.*another name if it names no objects",
    ),
    "other voxels": ("x,y,z,x_um,y_um,z_um\n20,1,40,20,1,240\n", "x_um is 20, but x is 20 voxels of 1.62 um"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text_is_refused_by_its_line(tmp_path: Path, case: str) -> None:
    text, said = BAD[case]
    with pytest.raises(BadInput, match=said):
        read_points(put(tmp_path, "p.csv", text), LAYER)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    damaged = {
        "a.parquet": (b"PAR1 and no more", "is not a whole Parquet file"),
        "a.h5": (b"\x89HDF\r\n\x1a\n and no more", "is not a whole HDF5 file"),
        "a.xml": (b"<CellCounter_Marker_File><Marker_Data>", "is not whole XML"),
        "b.xml": (b"<html></html>", "not cellfinder's: it begins with <html>"),
        "c.xml": (markers((2, [("a", 1, 2)])).encode(), "marker 1: could not convert"),  # type: ignore[list-item]
        "a.png": (b"\xff\xfe\x00\x80\x81,,", "is neither text in UTF-8 nor of a format that is known"),
        "a.json": (b"[{}, 3]", "row 2: a row must be an object"),
        "b.json": (b'[{"x": 1} {', "is not whole JSON after row 1"),
        "c.json": (b'[{"x": 1}, ', "is not whole JSON after row 1"),
        "d.json": (b"[]", "has no rows"),
    }
    for name, (data, said) in damaged.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInput, match=f"{name}.*{said}"):
            read_points(tmp_path / name, LAYER)
    with pytest.raises(BadInput, match="is a folder, not a file"):
        read_points(tmp_path, LAYER)
    with pytest.raises(BadInput, match=r"There is no .*none\.csv"):
        read_points(tmp_path / "none.csv", LAYER)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["x"], file["y"] = [1.0, 2.0], [1.0]
    with pytest.raises(BadInput, match="the dataset y has 1 values, x has 2"):
        read_points(tmp_path / "two.h5", LAYER)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["points"] = np.zeros((4, 3))
    with pytest.raises(BadInput, match="points is not a dataset of one dimension"):
        read_points(tmp_path / "flat.h5", LAYER)
    with pytest.raises(BadInput, match="The unit 'inch' is unknown"):
        read_points(put(tmp_path, "p.csv", "x,y,z\n20,1,40\n"), LAYER, unit="inch")
    with pytest.raises(BadInput, match="is in voxels by its format"):
        read_points(put(tmp_path, "p.xml", markers((2, [(20, 1, 40)]))), LAYER, unit="um")


def test_points_outside_are_counted_with_what_would_bring_them_in(tmp_path: Path) -> None:
    cases = {
        "id,z,x,y\n7,20,1,40\n8,105,-10,70\n": "2 of 2 points lie outside.* 2 with columns id,x,y,z",
        "x,y,z\n30,1,240\n170,59,470\n": r"2 of 2 points .*\(in voxels\)\. Inside would lie 2 with unit um\.",
        "x_um,y_um,z_um\n30,1,70\n105,59,75\n": "2 of 2 points .* 2 with unit voxels and columns x,y,z",
        "x,y,z\n1e9,1,1\n": r"1 of 1 points lie outside of the volume 10-110_-20-60_30-80 \(in voxels\)\.$",
    }
    for text, said in cases.items():
        with pytest.raises(BadInput, match=said):
            read_points(put(tmp_path, "p.csv", text), LAYER)


def test_a_file_without_rows_has_no_points(tmp_path: Path) -> None:
    points = read_points(put(tmp_path, "p.csv", "id,x,y,z,class\n"), LAYER)
    assert len(points) == 0
    assert points.schema.types == [pa.uint64(), *[pa.float64()] * 3, pa.string()]


inside = st.tuples(*(st.floats(a, b, width=32) for a, b in zip(VOLUME.start, VOLUME.stop, strict=True)))


@QUICK
@given(st.lists(inside, min_size=1, max_size=8), st.permutations("xyz"), st.sampled_from(["", "um", "nm"]))
def test_any_places_are_read_in_any_order_and_unit(
    tmp_path: Path, places: list[Any], order: list[str], unit: str
) -> None:
    scale = {"": 1.0, "um": 1e-3, "nm": 1.0}[unit]
    size = dict(zip("xyz", LAYER.voxel_size if unit else (1, 1, 1), strict=True))
    rows = [[repr(p["xyz".index(axis)] * size[axis] * scale) for axis in order] for p in places]
    path = put(tmp_path, "p.csv", lines(order, *rows))
    try:
        points = read_points(path, LAYER, unit=unit)
    except BadInput:  # on the volume's face, rounded
        assert unit
        return
    np.testing.assert_allclose(positions(points), np.array(places), rtol=1e-6, atol=1e-6)


@QUICK
@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_be_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p").write_bytes(data)
    with suppress(BadInput):
        read_points(tmp_path / "p", LAYER)


KEYS = [
    "x",
    "y",
    "z",
    "id",
    "type",
    "point",
    "annotations",
    "props",
    "annotationProperties",
    "source",
    "segments",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99) | st.text("xyz-", max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@QUICK
@given(JSON)
def test_no_json_does_more_than_be_refused(tmp_path: Path, value: Any) -> None:
    for document in (
        value,
        {"annotations": value},
        {**json.loads(state()), "layers": [{"annotations": value}]},
    ):
        with suppress(BadInput):
            read_points(put(tmp_path, "p.json", json.dumps(document)), LAYER)


def objects(*rows: tuple[int, float, float, float, float]) -> pa.Table:
    """Ids, centroids in voxels of the layer, diameters in micrometres."""
    ids, x, y, z, diameter = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "id": pa.array(ids, pa.uint64()),
            "x_um": pa.array(np.array(x, float) * 1.62),
            "y_um": pa.array(np.array(y, float)),
            "z_um": pa.array(np.array(z, float) * 6),
            "diameter_um": pa.array(diameter, pa.float32()),
        }
    )


def points_at(*places: tuple[float, ...], **more: Any) -> pa.Table:
    return pa.table({**dict(zip("xyz", np.array(places, float).reshape(-1, 3).T, strict=True)), **more})


def test_a_point_means_the_nearest_object_whose_radius_reaches_it() -> None:
    table = objects((5, 20, 0, 40, 4), (9, 20, 3, 40, 20), (7, 60, 0, 40, 10), (6, 60, 4, 40, 10))
    points = points_at((20, 1, 40), (20, 8, 40), (60, 2, 40), (60, 0, 42), (20, 12.9, 40))
    found = assign(points, table, LAYER)
    assert found.ids.tolist() == [5, 9, 6, 0, 9]
    assert found.unmatched.tolist() == [3]
    assert found.doubled.tolist() == [9]
    assert found.said == "Points on no object: 1 of 5 (numbers 4); objects with several points: 1 (ids 9)."
    assert assign(points_at((20, 1, 40)), table, LAYER).said == ""


def test_a_point_means_the_object_under_it(tmp_path: Path) -> None:
    labels = np.zeros((100, 80, 50), np.uint64)
    labels[0:20, 0:20, 0:20] = 2**63 + 1
    labels[60:99, 60:80, 30:50] = 4
    url = make_layer(tmp_path / "l", labels, "segmentation", LAYER.voxel_size, VOLUME.start)
    volume = Volume(layer_at(f"file://{url}"))
    table = objects((2**63 + 1, 20, -10, 40, 8), (9, 25, -10, 40, 30))
    points = points_at((29.9, -0.1, 49.9), (30.1, -0.1, 49.9), (80, 50, 70), (110, 60, 80))
    found = assign(points, table, LAYER, volume)
    assert found.ids.tolist() == [2**63 + 1, 0, 0, 0]  # 4 is no object of the table; a face has no voxel
    assert assign(points_at((30.1, -10, 40)), table, LAYER, volume).ids.tolist() == [9]


def test_a_row_with_the_id_of_an_object_there_means_it() -> None:
    table = objects((5, 20, 0, 40, 4), (9, 20, 3, 40, 20), (7, 60, 0, 40, 10))
    own = pa.array([9, 7, 5], pa.uint64())
    points = points_at((20, 1, 40), (20, 1, 40), (60, 0, 40), id=own)
    assert assign(points, table, LAYER).ids.tolist() == [9, 5, 7]
    alone = pa.table({"id": pa.array([7, 8, 9], pa.uint64())})
    assert assign(alone, [table.slice(0, 1), table.slice(1)], LAYER).ids.tolist() == [7, 0, 9]


def test_points_need_objects_that_were_measured() -> None:
    with pytest.raises(BadInput, match="measure makes; x_um is lacking"):
        assign(points_at((1, 2, 3)), pa.table({"id": pa.array([1], pa.uint64())}), LAYER)
    assert assign(points_at((20, 1, 40)), objects(), LAYER).ids.tolist() == [0]
    assert assign(points_at(), objects((5, 20, 0, 40, 4)), LAYER).ids.tolist() == []


spots = st.tuples(st.integers(10, 20), st.integers(0, 9), st.integers(40, 42))


@QUICK
@given(st.lists(st.tuples(spots, st.integers(1, 9)), max_size=12), st.lists(spots, max_size=6), st.randoms())
def test_who_is_nearest_does_not_depend_on_order_or_pieces(
    found: list[Any], marked: list[Any], random: Any
) -> None:
    rows = [(n + 1, *place, diameter) for n, (place, diameter) in enumerate(found)]
    wanted = []
    size = np.array(LAYER.voxel_size) / 1e3
    for point in marked:
        near = []
        for number, x, y, z, diameter in rows:
            distance = np.linalg.norm((np.array([x, y, z]) - point) * size)
            near += [(round(distance, 9), number)] if distance <= diameter / 2 - 1e-9 else []
            if abs(distance - diameter / 2) < 1e-9:
                return  # on the very edge rounding decides
        wanted.append(min(near)[1] if near else 0)
    random.shuffle(rows)
    pieces = [objects(*rows[:3]), objects(*rows[3:])]
    assert assign(points_at(*marked), pieces, LAYER).ids.tolist() == wanted


def test_the_volume_has_its_faces_and_nothing_beyond(tmp_path: Path) -> None:
    faces = lines(["x", "y", "z"], VOLUME.start, VOLUME.stop)
    assert len(read_points(put(tmp_path, "p.csv", faces), LAYER)) == 2
    for beyond in ("9.99,0,40", "110.01,0,40", "20,0,80.01"):
        with pytest.raises(BadInput, match="1 of 1 points lie outside"):
            read_points(put(tmp_path, "p.csv", f"x,y,z\n{beyond}\n"), LAYER)


def test_the_nearest_object_is_meant_whatever_its_id() -> None:
    for near, far in ((5, 9), (9, 5)):
        table = objects((near, 20, 0, 40, 8), (far, 20, 3, 40, 20))
        assert assign(points_at((20, 1, 40)), table, LAYER).ids.tolist() == [near]


def test_text_in_quotes_stays_text(tmp_path: Path) -> None:
    for text in ('id,s\n1,"007"\n2,\n', 'id,s\n1,\n2,"007"\n'):
        rows = pa.concat_tables(open_points(put(tmp_path, "p.csv", text), LAYER).pieces())
        assert "007" in rows["s"].to_pylist()
    for text, columns in (('1,2,3,"007"\n', "id,x,y,s"), ('"1","2"\n', "id,x")):
        rows = pa.concat_tables(open_points(put(tmp_path, "p.csv", text), LAYER, columns).pieces())
        assert (rows["s"].to_pylist() == ["007"]) if "s" in columns else (rows["x"].to_pylist() == [2])
