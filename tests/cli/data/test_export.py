"""Export: one file of every kind has the rows of all files of a finished table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from neuroglancer import CoordinateSpace
from neuroglancer.viewer_state import AnnotationLayer, AnnotationPropertySpec
from neuroglancer.write_annotations import AnnotationWriter
from typer.testing import CliRunner

from chunkflow.data.folder import Folder
from chunkflow.data.info import LayerInfo, TableInfo
from chunkflow.errors import BadInput, ChunkflowError, DamagedInput, Incomplete
from chunkflow.formats.export.export import ExportedRows
from chunkflow.formats.export.export import export as write
from chunkflow.formats.export.rows import FORMATS, Source, Value, table_rows, write_rows
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.locate import locate
from cli.data.export import export
from tests.support.jobs import make_job, make_layer, run_job

SCHEMA = pa.schema(
    [
        ("id", pa.uint64()),
        ("x", pa.float64()),
        ("dapi_mean", pa.float32()),
        ("kind", pa.string()),
        ("cut", pa.bool_()),
    ]
)


def rows(first: int, count: int) -> pa.Table:
    ids = np.arange(first, first + count, dtype=np.uint64) + np.uint64(2**50)
    columns = [ids, ids / 3, (ids % 7).astype(np.float32), [f"kind {i % 3}" for i in ids], ids % 2 == 0]
    return pa.table([pa.array(column) for column in columns], schema=SCHEMA)


def put(folder: Folder, index: int, piece: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(piece, buffer)
    folder.put(f"{index:06d}.parquet", buffer.getvalue())


def table_layer(path: Path, pieces: list[pa.Table], volume: Box | None = None) -> TableInfo:
    """A table layer whose files hold these pieces, one cell each along x."""
    volume = volume or Box.of_size((10 * len(pieces), 10, 10))
    info = TableInfo(
        url=f"file://{path}",
        volume=volume,
        voxel_size=(1620.0, 1000.0, 6000.0),
        cell=(10, 10, 10) if len(pieces) > 1 else None,
    )
    folder = Folder(info.url)
    for index, piece in enumerate(pieces):
        put(folder, index, piece)
    folder.put("info", json.dumps(info.document()).encode())
    return info


def written(info: TableInfo, to: Path, form: str = "") -> int:
    opener = FORMATS[form or {".h5": "h5"}.get(to.suffix, to.suffix[1:])][1]
    return write_rows(Source("t", info, table_rows(info)), to, opener)


TASK = """
import pyarrow as pa
from chunkflow.task import Image, Objects, Out, Task
from tests.cli.test_export import rows

class Listing(Task):
    image: Image
    objects: Objects = Out()
    fail: bool = False

    def map(self, cell, image):
        if self.fail and cell.index == 1:
            raise ValueError("on purpose")
        return rows(4 * cell.index, 4)

    def merge(self, rows):
        return rows
"""


def write_work(folder: Path, monkeypatch: pytest.MonkeyPatch, fail: bool = False) -> Path:
    """A job of two chunks that makes a table of eight rows."""
    (folder / "export_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(folder))
    make_layer(folder / "image", np.ones((64, 32, 32), dtype=np.uint8))
    task = {"export_tasks:Listing": {"image": "image", "objects": "objects", "fail": fail}}
    layers = {"image": str(folder / "image")}
    job = make_job(folder, layers, [task], storage=[32, 32, 32], chunk=[32, 32, 32])
    assert run_job(job) == ("incomplete" if fail else "complete")
    return folder / "work"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_work(tmp_path, monkeypatch)


def read(path: Path) -> list[dict[str, object]]:
    """The rows of a file of any kind."""
    if path.suffix == ".csv":
        found = list(csv.DictReader(path.open()))
        kinds = {"id": int, "x": float, "dapi_mean": float, "kind": str, "cut": lambda text: text == "true"}
        return [{name: kinds[name](text) for name, text in row.items()} for row in found]
    if path.suffix == ".json":
        return list(json.loads(path.read_text()))
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with h5py.File(path) as file:
        columns = {
            name: [v.decode() if isinstance(v, bytes) else v.item() for v in file[name]] for name in file
        }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def run(*arguments: str) -> None:
    app = typer.Typer()
    app.command()(export)
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, ChunkflowError):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".h5"])
def test_all_rows_are_there_in_order(work: Path, tmp_path: Path, ending: str) -> None:
    to = tmp_path / f"objects{ending}"
    run(str(work), "objects", "--to", str(to))
    found = read(to)
    assert found == rows(0, 8).to_pylist()
    assert list(found[0]) == SCHEMA.names
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".h5"])
def test_a_table_without_rows_has_its_columns(tmp_path: Path, ending: str) -> None:
    to = tmp_path / f"none{ending}"
    assert written(table_layer(tmp_path / "table", [rows(0, 0)]), to) == 0
    assert read(to) == []
    if ending == ".csv":
        assert to.read_text().strip() == ",".join(f'"{name}"' for name in SCHEMA.names)


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    piece = pa.table({"id": pa.array([1], pa.uint64()), "x": pa.array([float("nan")])})
    written(table_layer(tmp_path / "table", [piece]), tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == [{"id": 1, "x": None}]


def test_numbers_with_decimals_have_a_point_and_text_has_quotes(tmp_path: Path) -> None:
    piece = pa.table(
        {
            "id": pa.array([2**64 - 1, 2], pa.uint64()),
            "x": pa.array([6.0, float("inf")]),
            "f": pa.array([0.1, None], pa.float32()),
            "s": ['a "b", c', None],
            "t": pa.array(["007", ""]).dictionary_encode(),
        }
    )
    written(table_layer(tmp_path / "table", [piece]), tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[1:] == ['18446744073709551615,6.0,0.1,"a ""b"", c","007"', '2,inf,,,""']


def test_missing_whole_numbers_are_refused_in_hdf5(tmp_path: Path) -> None:
    info = table_layer(tmp_path / "table", [pa.table({"id": pa.array([1, None], pa.uint64())})])
    with pytest.raises(BadInput, match=r"column id has rows without a value.*parquet"):
        written(info, tmp_path / "t.h5")
    assert [file.name for file in tmp_path.iterdir()] == ["table"]


def test_lists_are_refused_where_there_is_no_word_for_them(tmp_path: Path) -> None:
    info = table_layer(tmp_path / "table", [pa.table({"id": pa.array([1], pa.uint64()), "l": [[1, 2]]})])
    for ending, form in ((".csv", "CSV"), (".json", "JSON"), (".h5", "HDF5")):
        with pytest.raises(BadInput, match=f"column l holds list.*{form} has no word"):
            written(info, tmp_path / f"t{ending}")
    assert written(info, tmp_path / "t.parquet") == 1


def test_a_file_that_exists_is_not_replaced_unasked(work: Path, tmp_path: Path) -> None:
    to = tmp_path / "objects.csv"
    to.write_text("precious")
    with pytest.raises(BadInput, match="exists already"):
        run(str(work), "objects", "--to", str(to))
    assert to.read_text() == "precious"
    run(str(work), "objects", "--to", str(to), "--overwrite")
    assert len(read(to)) == 8


def test_bad_input_is_named(work: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"its tables: objects"):
        run(str(work), "cells", "--to", str(tmp_path / "x.csv"))
    with pytest.raises(BadInput, match=r"must end in .csv"):
        run(str(work), "objects", "--to", str(tmp_path / "x.xlsx"))
    with pytest.raises(BadInput, match="no job has run"):
        run(str(tmp_path / "image"), "objects", "--to", str(tmp_path / "x.csv"))
    with pytest.raises(BadInput, match="cannot be written"):
        run(str(work), "objects", "--to", str(tmp_path / "nowhere" / "x.csv"))


def test_an_unfinished_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = write_work(tmp_path, monkeypatch, fail=True)
    with pytest.raises(Incomplete, match="not finished"):
        run(str(work), "objects", "--to", str(tmp_path / "x.csv"))
    assert not (tmp_path / "x.csv").exists()


def test_files_are_taken_by_number_and_those_without_rows_passed_over(tmp_path: Path) -> None:
    info = table_layer(tmp_path / "table", [rows(0, 0), rows(0, 5), rows(0, 0), rows(5, 3)])
    assert written(info, tmp_path / "x.parquet") == 8
    assert read(tmp_path / "x.parquet") == rows(0, 8).to_pylist()


def test_a_file_that_is_lost_is_noticed(tmp_path: Path) -> None:
    info = table_layer(tmp_path / "table", [rows(0, 2), rows(2, 2)])
    Folder(info.url).delete(["000001.parquet"])
    with pytest.raises(DamagedInput, match=r"lacks its file 000001.parquet"):
        written(info, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_a_table_is_named_by_its_place_and_its_rows_chosen(tmp_path: Path) -> None:
    table_layer(tmp_path / "table", [rows(0, 5), rows(5, 4)])
    to = tmp_path / "x.csv"
    run(str(tmp_path / "table"), "--to", str(to), "--where", "kind=kind 2", "--columns", "kind,id")
    wanted = [row for row in rows(0, 9).to_pylist() if row["kind"] == "kind 2"]
    lines = to.read_text().splitlines()
    assert lines == ['"kind","id"', *(f'"kind 2",{row["id"]}' for row in wanted)]
    run(str(tmp_path / "table"), "--to", str(tmp_path / "y.parquet"), "--where", "cut=true")
    assert all(row["cut"] for row in read(tmp_path / "y.parquet"))


PLACED = pa.table(
    {
        "id": pa.array([5, 2**63 + 1, 9], pa.uint64()),
        "x": [1.25, 2.5, 19.75],
        "y": [3.5, 0.5, 9.5],
        "z": [7.0, 0.25, 9.75],
        "class": ["cell", "no cell", "cell"],
        "score": pa.array([0.5, 0.25, 1.0], pa.float32()),
        "cut": [True, False, True],
    }
)


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


def test_an_image_goes_to_a_file_of_its_own_kind(work: Path, tmp_path: Path) -> None:
    for number, words in enumerate(([str(tmp_path / "image")], [str(work), "image"])):
        to = tmp_path / f"{number}.npy"
        run(*words, "--to", str(to), "--box", "0-32,0-32,8-16")
        assert np.load(to).shape in ((32, 32, 8), (8, 32, 32))
    with pytest.raises(BadInput, match=r"is meant: name one of its tables: objects"):
        run(str(work), "--to", str(tmp_path / "x.csv"))


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    table_layer(tmp_path / "table", [PLACED])
    make_layer(tmp_path / "image", np.ones((8, 8, 8), np.uint8))
    for words, said in (
        (["table", "--as", "excel"], "no format excel"),
        (["table", "--where", "class"], "--where takes COLUMN=VALUE"),
        (["table", "--where", "=cell"], "--where takes COLUMN=VALUE"),
        (["table", "--where", "kind=x"], "no column 'kind'"),
        (["table", "--columns", "id,kind"], "no column 'kind'"),
        (["table", "--mip", "1"], "box and mip are for images"),
        (["image", "--where", "class=x"], "is an image or labels"),
        (["image", "--box", "a"], "--box takes"),
    ):
        with pytest.raises(BadInput, match=said):
            run(str(tmp_path / words[0]), "--to", str(tmp_path / "x.csv"), *words[1:])


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"class": "cell"}, [5, 9]),
        ({"class": "cell", "score": 1}, [9]),
        ({"score": 0.25}, [2**63 + 1]),
        ({"cut": True}, [5, 9]),
        ({"id": 2**63 + 1, "cut": False}, [2**63 + 1]),
        ({"cut": "false"}, [2**63 + 1]),
        ({}, [5, 2**63 + 1, 9]),
    ],
)
def test_rows_are_chosen_by_values_of_several_columns(
    tmp_path: Path, where: dict[str, Value], ids: list[int]
) -> None:
    info = table_layer(tmp_path / "table", [PLACED.slice(0, 2), PLACED.slice(2)])
    for source in (info, tmp_path / "table"):
        made = write(source, tmp_path / "x.parquet", where=where, columns=["id"], overwrite=True)
        assert made == ExportedRows(tmp_path / "x.parquet", "table", len(ids))
        assert pq.read_table(tmp_path / "x.parquet").to_pydict() == {"id": ids}


def test_what_a_job_made_is_found_by_its_name(work: Path, tmp_path: Path) -> None:
    assert locate(str(tmp_path / "image")) == f"file://{tmp_path}/image"
    assert locate(str(work), "image") == f"file://{tmp_path}/image"
    table = locate(str(work), "objects")
    assert isinstance(table, LayerInfo)
    assert (table.kind, table.url) == ("table", f"file://{work}/tables/objects")


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
