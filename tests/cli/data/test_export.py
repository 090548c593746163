"""Export: one file of every kind has the rows of all files of a finished table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chunkflow.data.folder import Folder
from chunkflow.data.info import TableInfo
from chunkflow.errors import BadInput, DamagedInput, Incomplete
from chunkflow.formats.export.export import ExportedRows
from chunkflow.formats.export.export import export as write
from chunkflow.formats.export.rows import RowSource, Value, opener_of, write_rows
from chunkflow.jobs.locate import locate
from tests.support.files.exports import PLACED, SCHEMA, read, rows, run, table_layer, written
from tests.support.jobs import make_job, make_layer, run_job

TASK = """
import pyarrow as pa
from chunkflow.task import Image, MergedRows, Objects, Out, Task
from tests.support.files.exports import rows

class Listing(Task):
    shape = MergedRows()

    image: Image
    objects: Objects = Out()
    fail: bool = False
    shape = MergedRows()

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
        (["image", "--box", "a"], "box takes"),
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
        ({"cut": np.True_, "class": np.str_("cell")}, [5, 9]),
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
    assert isinstance(table, TableInfo)
    assert (table.kind, table.url) == ("table", f"file://{work}/tables/objects")


def test_two_threads_write_one_file_whole(tmp_path: Path) -> None:
    info = table_layer(tmp_path / "table", [rows(0, 4)])
    both = threading.Barrier(2)

    def source() -> RowSource:
        def pieces() -> Iterator[pa.Table]:
            yield rows(0, 0)
            both.wait(60)
            yield rows(0, 4)

        return RowSource("objects", info, pieces())

    to = tmp_path / "objects.csv"
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda _: write_rows(source(), to, opener_of(to, "")), range(2)))
    assert counts == [4, 4]
    assert read(to) == rows(0, 4).to_pylist()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["objects.csv", "table"]
