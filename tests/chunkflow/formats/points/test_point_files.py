"""Points of files of every format: read to the last digit, refused helpfully."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.errors import BadInput
from chunkflow.formats.points.files import open_points, positions, read_points
from tests.support.files.point_files import (
    LAYER,
    NAMES,
    PLACES,
    QUICK,
    VOLUME,
    check,
    lines,
    markers,
    put,
    state,
)


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
    check(read_points(path, LAYER, columns=("z", "y", "x", "n")))
    with pytest.raises(BadInput, match=r"4 columns and no line that names them: .* columns z,y,x"):
        read_points(path, LAYER)
    with pytest.raises(BadInput, match="4 columns but columns names 3"):
        read_points(path, LAYER, columns=("z", "y", "x"))


def test_columns_that_are_named_otherwise_are_renamed(tmp_path: Path) -> None:
    rows = [[z, y, x] for x, y, z in PLACES]
    path = put(tmp_path, "p.csv", lines(["depth", "row", "column"], *rows))
    check(read_points(path, LAYER, columns=("z", "y", "x")))
    with pytest.raises(BadInput, match=r"has the columns depth, row, column; x, y, z .* as in columns z,y,x"):
        read_points(path, LAYER)
    with pytest.raises(BadInput, match=r"has 3 columns \(depth, row, column\), but columns names 2"):
        read_points(path, LAYER, columns=("z", "y"))


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


def test_text_in_quotes_stays_text(tmp_path: Path) -> None:
    for text in ('id,s\n1,"007"\n2,\n', 'id,s\n1,\n2,"007"\n'):
        rows = pa.concat_tables(open_points(put(tmp_path, "p.csv", text), LAYER).pieces())
        assert "007" in rows["s"].to_pylist()
    for text, columns in (('1,2,3,"007"\n', ("id", "x", "y", "s")), ('"1","2"\n', ("id", "x"))):
        rows = pa.concat_tables(open_points(put(tmp_path, "p.csv", text), LAYER, columns).pieces())
        assert (rows["s"].to_pylist() == ["007"]) if "s" in columns else (rows["x"].to_pylist() == [2])
