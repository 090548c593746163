"""Import: what was exported comes back, and nothing half made is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from chunkflow.data.describe import describe
from chunkflow.data.info import ImageInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.importing import import_points
from cli.main import COMMANDS, build
from tests.support.files.imports import ENDINGS, OFFSET, SIZE, VOXEL_SIZE, export, placed, replaced, run
from tests.support.jobs import read_table


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
