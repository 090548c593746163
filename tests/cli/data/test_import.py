"""Import: what was exported comes back, points become a table that jobs read, nothing half made is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import chunkflow.data.table_writer
from chunkflow.data.describe import describe
from chunkflow.data.info import ImageInfo, TableInfo
from chunkflow.data.table_writer import write_table
from chunkflow.data.tables import read_table as read_cells
from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.formats.export.rows import FORMATS, Source, write_rows
from chunkflow.geometry import Box
from chunkflow.jobs.importing import import_points
from chunkflow.kernels.precomputed.morton import voxel_ids
from cli.data.import_table import import_table
from cli.main import COMMANDS, build
from tests.support.jobs import make_job, make_layer, read_table, run_job

VOXEL_SIZE = (1620.0, 1620.0, 6000.0)
OFFSET = (10, -20, 30)
SIZE = (96, 64, 48)
ENDINGS = {
    "csv": ".csv",
    "parquet": ".parquet",
    "json": ".json",
    "h5": ".h5",
    "napari": ".csv",
    "neuroglancer": ".json",
    "cellfinder": ".xml",
}


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(import_table)
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, ChunkflowError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("like")
    return make_layer(folder / "image", np.zeros(SIZE, np.uint8), voxel_size=VOXEL_SIZE, offset=OFFSET)


def placed(count: int, seed: int = 0) -> pa.Table:
    """Objects as measure names and places them, with columns of all types."""
    random = np.random.default_rng(seed)
    voxels = np.stack(np.unravel_index(random.choice(np.prod(SIZE), count, replace=False), SIZE), 1)
    places = voxels + np.array(OFFSET) + random.uniform(0, 1, voxels.shape)
    columns: dict[str, Any] = {"id": voxel_ids(voxels, SIZE)}
    columns |= {axis: places[:, i] for i, axis in enumerate("xyz")}
    columns |= {f"{axis}_um": places[:, i] * (VOXEL_SIZE[i] / 1e3) for i, axis in enumerate("xyz")}
    columns["count"] = random.integers(-5, 5, count)
    columns["large"] = pa.array([2**64 - 1 - int(n) for n in random.integers(0, 99, count)], pa.uint64())
    columns["whole"] = random.integers(0, 3, count).astype(float)
    columns["class"] = pa.array([["neuron", "007", 'a "b",\nc', "", None][n % 5] for n in range(count)])
    columns["part"] = pa.array([[0.5, None, 0.25][n % 3] for n in range(count)])
    columns["cut"] = random.random(count) < 0.5
    return pa.table(columns).sort_by("id")


def replaced(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), name, pa.array(values))


def export(rows: pa.Table, to: Path, form: str) -> None:
    box = Box.of_size(SIZE, OFFSET)
    info = TableInfo(url="file:///objects", volume=box, voxel_size=VOXEL_SIZE)
    pieces = iter([rows.schema.empty_table(), rows.slice(0, 7), rows.slice(7)])
    write_rows(Source("objects", info, pieces), to, FORMATS[form][1])


@pytest.mark.parametrize("form", ["csv", "parquet", "json", "h5"])
def test_a_table_comes_back_as_it_was(tmp_path: Path, like: str, form: str) -> None:
    rows = placed(50)
    export(rows, tmp_path / f"t{ENDINGS[form]}", form)
    run(str(tmp_path / f"t{ENDINGS[form]}"), str(tmp_path / "back"), "--like", like)
    back = read_table(tmp_path / "back")
    if form == "h5":  # which has no missing texts, nor numbers
        rows = replaced(rows, "class", [t or "" for t in rows["class"].to_pylist()])
        rows = replaced(rows, "part", [np.nan if v is None else v for v in rows["part"].to_pylist()])
        assert back.drop_columns(["part"]).equals(rows.drop_columns(["part"]))
        np.testing.assert_array_equal(back["part"].to_numpy(), rows["part"].to_numpy())
    else:
        assert back.schema == rows.schema
        assert back.equals(rows)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rounded_numbers_keep_all_their_digits_in_text(tmp_path: Path, like: str, form: str) -> None:
    rows = placed(30).append_column("mean", pa.array(np.random.default_rng(0).random(30), pa.float32()))
    export(rows, tmp_path / f"t{ENDINGS[form]}", form)
    run(str(tmp_path / f"t{ENDINGS[form]}"), str(tmp_path / "back"), "--like", like)
    back = read_table(tmp_path / "back")
    assert back["mean"].type == pa.float64()
    assert back["mean"].cast(pa.float32()).equals(rows["mean"])


def test_napari_and_neuroglancer_bring_back_what_they_can_hold(tmp_path: Path, like: str) -> None:
    rows = placed(40).drop_columns(["part", "large"])
    for form in ("napari", "neuroglancer"):
        to = tmp_path / f"t{ENDINGS[form]}"
        export(rows, to, form)
        run(str(to), str(tmp_path / form), "--like", like)
        back = read_table(tmp_path / form)
        assert set(back.column_names) == set(rows.column_names)
        for name in rows.column_names:
            if name[0] in "xyz" and len(name) == 1:
                np.testing.assert_allclose(back[name].to_numpy(), rows[name].to_numpy(), atol=1e-12)
            else:
                assert back[name].to_pylist() == rows[name].to_pylist(), (form, name)


def test_points_that_were_moved_elsewhere_are_where_they_are_now(tmp_path: Path, like: str) -> None:
    export(
        placed(3).select(["id", "x", "y", "z", "x_um", "y_um", "z_um"]), tmp_path / "t.json", "neuroglancer"
    )
    layer = json.loads((tmp_path / "t.json").read_text())
    layer["annotations"][0]["point"] = [20.5, 1.5, 40.5]
    (tmp_path / "t.json").write_text(json.dumps(layer))
    run(str(tmp_path / "t.json"), str(tmp_path / "back"), "--like", like)
    moved = read_table(tmp_path / "back").filter(pa.compute.equal(read_table(tmp_path / "back")["x"], 20.5))
    assert moved["id"].to_pylist() == [int(layer["annotations"][0]["id"])]
    np.testing.assert_allclose(moved["x_um"].to_numpy(), 20.5 * 1.62)


def test_cellfinder_brings_back_voxels_and_classes(tmp_path: Path, like: str) -> None:
    rows = placed(40)
    rows = replaced(rows, "class", [["cell", "no cell", "artefact"][n % 3] for n in range(40)])
    export(rows, tmp_path / "t.xml", "cellfinder")
    run(str(tmp_path / "t.xml"), str(tmp_path / "back"), "--like", like)
    back = read_table(tmp_path / "back")
    assert back["id"].equals(rows["id"])  # as the ids are those of the voxels
    assert back["class"].equals(rows["class"])
    for axis in "xyz":
        np.testing.assert_array_equal(back[axis].to_numpy(), np.floor(rows[axis].to_numpy()) + 0.5)


VALUES: dict[str, Any] = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "large": st.integers(2**63, 2**64 - 1),
    "number": st.floats(allow_nan=False, width=64),
    "flag": st.booleans(),
    "text": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=6),
}
TYPES = {
    "whole": pa.int64(),
    "large": pa.uint64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "text": pa.string(),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from(["csv", "json", "parquet"]))
def test_any_values_come_back(tmp_path: Path, data: st.DataObject, form: str) -> None:
    from chunkflow.formats.points.files import open_points

    count = data.draw(st.integers(1, 9))
    columns: dict[str, Any] = {"id": pa.array(range(1, count + 1), pa.int64())}
    for kind, values in VALUES.items():
        if form == "json" and kind == "number":
            values = st.floats(allow_nan=False, allow_infinity=False)
        drawn = data.draw(st.lists(values | st.none(), min_size=count, max_size=count))
        drawn[0] = data.draw(values)  # a column of nothing has no type in text
        columns[kind] = pa.array(drawn, TYPES[kind])
    rows = pa.table(columns)
    to = tmp_path / f"t{ENDINGS[form]}"
    export(rows, to, form)
    box = Box.of_size(SIZE, OFFSET)
    info = ImageInfo(url="file:///l", volume=box, voxel_size=VOXEL_SIZE)
    found = open_points(to, info)
    back = pa.concat_tables(found.pieces())
    assert back.schema == rows.schema
    assert back.equals(rows)


def test_ids_that_name_voxels_file_rows_in_cells(
    tmp_path: Path, like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.data.table_writer, "MOST_IN_CELL", 20)
    rows = placed(400).take(np.random.default_rng(1).permutation(400))
    export(rows, tmp_path / "t.parquet", "parquet")
    run(str(tmp_path / "t.parquet"), str(tmp_path / "back"), "--like", like)
    info = describe(f"file://{tmp_path / 'back'}", 0, "table")
    assert (info.cell, info.connected, len(info.grid)) == ((64, 64, 64), True, 2)
    seen = []
    for index in range(len(info.grid)):
        part = read_cells(info, info.grid.box(index))
        assert part["id"].to_pylist() == sorted(part["id"].to_pylist())
        voxels = np.floor(np.stack([part[axis].to_numpy() for axis in "xyz"], 1))
        box = info.grid.box(index)
        assert ((voxels >= box.start) & (voxels < box.stop)).all()
        seen.append(part)
    assert pa.concat_tables(seen).sort_by("id").equals(rows.sort_by("id"))
    last = rows.sort_by("id").slice(399)
    export(pa.concat_tables([rows, last]), tmp_path / "twice.parquet", "parquet")
    with pytest.raises(BadInput, match="more than once"):
        run(str(tmp_path / "twice.parquet"), str(tmp_path / "twice"), "--like", like)
    assert not list((tmp_path / "twice").iterdir())  # though the first cell's file was there


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_any_other_ids_are_filed_in_one(
    tmp_path: Path, like: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.data.table_writer, "RANGE", 64)
    monkeypatch.setattr(chunkflow.data.table_writer, "KEPT", 16)
    info = TableInfo(url=f"file://{tmp_path / 'back'}", volume=Box.of_size(SIZE), voxel_size=VOXEL_SIZE)
    random = np.random.default_rng(3)
    ids = np.unique(random.integers(1, 2**64 - 1, count, dtype=np.uint64))
    rows = pa.table({"id": random.permutation(ids), "n": np.arange(len(ids))})
    made = write_table(
        info, iter([rows.schema.empty_table(), *(rows.slice(i, 300) for i in range(0, count, 300))])
    )
    assert made.cell is None
    assert read_table(tmp_path / "back").equals(rows.sort_by("id"))
    assert read_cells(made, made.bounds)["id"].to_pylist() == sorted(ids.tolist())


HELD = """
import sys, tracemalloc
import numpy as np, pyarrow as pa
import cli.table_layer as layer
from chunkflow.geometry import Box
from chunkflow.data.info import TableInfo

def rows(pieces):
    for number in range(pieces):
        random = np.random.default_rng(number)
        ids = random.permutation(2000).astype(np.uint64) * np.uint64(1000) + np.uint64(number + 1)
        yield pa.table({"id": ids, "a": random.random(2000), "b": random.random(2000)})

layer.RANGE, layer.KEPT, box = 2**13, 256, Box.of_size((4096, 4096, 4096))
info = TableInfo(volume=box, voxel_size=(1, 1, 1))
tracemalloc.start()
for pieces in (20, 160):
    layer.write_table(info.model_copy(update={"url": f"{sys.argv[1]}/{pieces}"}), rows(pieces))
    print(tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory())
"""


def test_no_more_is_held_for_more_rows(tmp_path: Path) -> None:
    """The most bytes that Arrow and Python held at once, for a table and for one eight times as long."""
    words = [sys.executable, "-c", HELD, f"file://{tmp_path}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    held = [int(line) for line in done.stdout.split()]
    assert held[0] > 300_000
    assert held[1] < 1.6 * held[0]
    assert len(read_table(tmp_path / "160")) == 160 * 2000


def test_points_become_a_table_that_jobs_read(tmp_path: Path, like: str) -> None:
    rows = placed(30)
    places = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    np.savetxt(tmp_path / "points.csv", places[:, ::-1] * (np.array(VOXEL_SIZE[::-1]) / 1e3), delimiter=",")
    words = ["--like", like, "--columns", "z,y,x", "--unit", "um"]
    said = run(str(tmp_path / "points.csv"), str(tmp_path / "points"), *words)
    assert "points has 30 rows." in said
    back = read_table(tmp_path / "points")
    assert back.column_names == ["id", "x", "y", "z", "x_um", "y_um", "z_um"]
    for name in back.column_names:
        np.testing.assert_allclose(back[name].to_numpy(), rows[name].to_numpy(), rtol=1e-12, err_msg=name)
    layers = {"points": str(tmp_path / "points"), "shown": str(tmp_path / "shown")}
    task = {"annotate": {"objects": "points", "annotations": "shown"}}
    assert run_job(make_job(tmp_path, layers, [task], chunk=[64, 64, 64])) == "complete"
    assert json.loads((tmp_path / "shown" / "info").read_text())["annotation_type"].upper() == "POINT"


TASK = """
import numpy as np
import pyarrow as pa
from chunkflow.task import Labels, Objects, Out, Task

class Balls(Task):
    labels: Labels
    objects: Objects = Out()

    def map(self, cell, labels):
        ids = [3, 7]
        places = {a: [16.0, 48.0] for a in "xyz"}
        um = {f"{a}_um": np.array(p) for a, p in places.items()}
        return pa.table({"id": pa.array(ids, pa.uint64()), **places, **um, "diameter_um": [10.0, 10.0]})

    def merge(self, rows):
        return rows.slice(0, 1)
"""


def test_points_are_given_to_the_objects_that_they_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((64, 64, 64), np.uint64)
    labels[14:18, 14:18, 14:18] = 3
    labels[44:52, 44:52, 44:52] = 7
    make_layer(tmp_path / "labels", labels, "segmentation", (1000, 1000, 1000))
    (tmp_path / "import_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = {"import_tasks:Balls": {"labels": "labels"}}
    assert (
        run_job(make_job(tmp_path, {"labels": str(tmp_path / "labels")}, [task], chunk=[64] * 3))
        == "complete"
    )
    words = ["--like", str(tmp_path / "labels"), "--objects", f"{tmp_path / 'work'}:objects"]
    points = tmp_path / "p.csv"
    points.write_text("x,y,z,class\n15.5,15.5,15.5,neuron\n51,51,51,glia\n47,47,47,glia\n30,30,30,glia\n")
    said = run(str(points), str(tmp_path / "marked"), *words)
    assert "Points on no object: 1 of 4 (numbers 4); objects with several points: 1 (ids 7)." in " ".join(
        said.split()
    )
    back = read_table(tmp_path / "marked")
    assert (back["id"].to_pylist(), back["class"].to_pylist()) == ([3, 7], ["neuron", "glia"])
    assert describe(f"file://{tmp_path / 'marked'}", 0, "table").labels == f"file://{tmp_path / 'labels'}"
    points.write_text("x,y,z,class\n51,51,51,glia\n47,47,47,neuron\n")
    with pytest.raises(BadInput, match=r"Objects with points of several classes: 1 \(7 among them\)"):
        run(str(points), str(tmp_path / "again"), *words)
    with pytest.raises(BadInput, match="--objects takes WORK:TABLE"):
        run(str(points), str(tmp_path / "again"), "--like", str(tmp_path / "labels"), "--objects", "objects")


def test_what_was_imported_is_told_as_data(tmp_path: Path, like: str) -> None:
    points = tmp_path / "p.csv"
    points.write_text("40,1,20,2\n41,2,21,2\n")
    made = import_points(points, tmp_path / "made", like, columns=["z", "y", "x", "diameter_um"])
    assert (made.rows, made.assigned) == (2, None)
    assert made.table == describe(f"file://{tmp_path / 'made'}", 0, "table")
    points.write_text("x,y,z,class\n20.1,1.1,40,neuron\n90,20,70,glia\n")
    again = import_points(points, tmp_path / "again", like, objects=made.table)
    assert again.rows == 1
    assert again.assigned is not None
    assert again.assigned.unmatched.tolist() == [1]


BAD: dict[str, tuple[str, str, list[str]]] = {
    "empty": ("p.csv", "", ["is empty"]),
    "two in a voxel": ("p.csv", "x,y,z\n20.1,1,40\n20.2,1,40\n", ["more than once", "one at 20.1, 1, 40"]),
    "an id twice": ("p.csv", "id,x,y,z\n5,20,1,40\n5,21,1,40\n", ["more than once: 5"]),
    "background": ("p.csv", "id,x,y,z\n1,20,1,40\n0,21,1,40\n", ["Row 2 has the id 0"]),
    "outside": ("p.csv", "x,y,z\n20,1,40\n0,0,0\n", ["1 of 2 points lie outside", "10-106_-20-44_30-78"]),
    "no places": ("p.csv", "a,b\n1,2\n", ["x, y, z (in voxels"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_and_nothing_is_left(tmp_path: Path, like: str, case: str) -> None:
    name, text, said = BAD[case]
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput) as error:
        run(str(tmp_path / name), str(tmp_path / "made"), "--like", like)
    for part in said:
        assert part in str(error.value)
    assert not (tmp_path / "made").exists()


def test_bad_words_are_refused(tmp_path: Path, like: str) -> None:
    points = tmp_path / "p.csv"
    points.write_text("x,y,z\n20,1,40\n")
    with pytest.raises(BadInput, match="is not a layer"):
        run(str(points), str(tmp_path / "made"), "--like", str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"There is no .*nothing\.csv"):
        run(str(tmp_path / "nothing.csv"), str(tmp_path / "made"), "--like", like)
    with pytest.raises(BadInput, match="exists already and was not touched"):
        run(str(points), like, "--like", like)
    with pytest.raises(BadInput, match="unit 'inch' is unknown"):
        run(str(points), str(tmp_path / "made"), "--like", like, "--unit", "inch")
    assert list(tmp_path.iterdir()) == [points]


def test_the_command_is_called_import() -> None:
    assert COMMANDS["import"] == "cli.data.import_table:import_table"
    result = CliRunner().invoke(build(["import"]), ["import", "--help"])
    assert result.exit_code == 0
    assert "exported" in result.output
