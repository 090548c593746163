"""Grids of tiles by names, numbers and lists, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from tasks.stitch.stitch import Stitch
from tests.support.files.tile_stacks import stitch_job, tile_set, write


def grid_of(tiles: str, **fields: Any) -> dict[tuple[int, int], str]:
    """The names of the files by row and column."""
    task = Stitch(tiles=tiles, images=["a", "b"][: fields.pop("channels", 1)], voxel_size="1,1,1um", **fields)
    found = task.source.find()
    return {found.place(n): "+".join(path.name for path in files) for n, files in enumerate(found.files)}


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def test_names_tell_rows_and_columns_from_0_and_from_1(tmp_path: Path) -> None:
    for first in (0, 1):
        names = [
            f"r{row:02d}_c{column}.tif" for row in (first, first + 1) for column in range(first, 3 + first)
        ]
        touch(tmp_path / str(first), *names)
        found = grid_of(str(tmp_path / str(first) / "r{row}_c{column}.tif"))
        assert list(found) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
        assert list(found.values()) == names


def test_numbered_tiles_follow_row_by_row_or_as_a_snake(tmp_path: Path) -> None:
    touch(tmp_path / "t", *(f"tile{n}.tif" for n in range(1, 7)))
    tiles = str(tmp_path / "t" / "tile{tile}.tif")
    by_rows = grid_of(tiles, columns=3, rows=2)
    assert [by_rows[place] for place in ((0, 0), (0, 2), (1, 0))] == ["tile1.tif", "tile3.tif", "tile4.tif"]
    snake = grid_of(tiles, columns=3, rows=2, order="snake")
    assert [snake[place] for place in ((0, 2), (1, 0), (1, 2))] == ["tile3.tif", "tile6.tif", "tile4.tif"]


def test_channels_are_ordered_by_number_or_by_the_names_of_the_images(tmp_path: Path) -> None:
    touch(tmp_path / "t", *(f"{c}_{n}_0.tif" for n in (0, 1) for c in ("9", "10")))
    assert (
        grid_of(str(tmp_path / "t" / "{channel}_{row}_{column}.tif"), channels=2)[1, 0]
        == "9_1_0.tif+10_1_0.tif"
    )
    touch(tmp_path / "n", *(f"{c}_{n}_0.tif" for n in (0, 1) for c in "ba"))
    assert (
        grid_of(str(tmp_path / "n" / "{channel}_{row}_{column}.tif"), channels=2)[0, 0]
        == "a_0_0.tif+b_0_0.tif"
    )


def test_a_list_names_the_tiles(tmp_path: Path) -> None:
    listed = tmp_path / "tiles.csv"
    listed.write_text("row,column,path\n-1,4,x.tif\n-1,5,/data/y.tif\n")
    assert grid_of(str(listed)) == {(0, 0): "x.tif", (0, 1): "y.tif"}


def refusal(tiles: str, **fields: Any) -> str:
    with pytest.raises(BadInput) as refused:
        grid_of(tiles, **fields)
    return str(refused.value)


def test_wrong_grids_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "t", *(f"a_{row}_{column}.tif" for row in range(3) for column in range(3)))
    tiles = str(tmp_path / "t" / "a_{row}_{column}.tif")
    (tmp_path / "t" / "a_2_1.tif").unlink()
    assert "3 rows and 3 columns lacks the tile of row 2, column 1." in refusal(tiles)
    (tmp_path / "t" / "a_01_1.tif").touch()
    assert "are both the tile of row 1, column 1" in refusal(tiles)
    assert "No file is named as in" in refusal(str(tmp_path / "t" / "b_{row}_{column}.tif"))
    assert "must be a .csv file, or a pattern" in refusal(str(tmp_path / "t" / "a_{row}.tif"))
    assert "must be a .csv file, or a pattern" in refusal(str(tmp_path / "t" / "a_{row}_{columns}.tif"))
    assert "must be a .csv file, or a pattern" in refusal(str(tmp_path / "t" / "a.tif"))
    both = refusal(str(tmp_path / "t" / "a_{row}_{tile}.tif"), columns=3, rows=3)
    assert "must be a .csv file, or a pattern" in both
    touch(tmp_path / "one", "a_1_1.tif")
    assert "is one tile only" in refusal(str(tmp_path / "one" / "a_{row}_{column}.tif"))
    touch(tmp_path / "n", *(f"{n}.tif" for n in range(4)))
    numbered = str(tmp_path / "n" / "{tile}.tif")
    assert "say the grid's columns and rows" in refusal(numbered)
    assert "beyond 1 columns and 2 rows" in refusal(numbered, columns=1, rows=2)
    assert "lacks the tile of row" in refusal(numbered, columns=3, rows=2)
    touch(tmp_path / "c", "a_0_0.tif", "a_1_0.tif", "b_0_0.tif")
    channels = str(tmp_path / "c" / "{channel}_{row}_{column}.tif")
    assert "lacks the tile of row 1, column 0, channel b." in refusal(channels, channels=2)
    assert "has 2 channels (a, b), but 1 images" in refusal(channels)


def test_wrong_lists_are_refused(tmp_path: Path) -> None:
    listed = tmp_path / "tiles.csv"
    assert "cannot be read as CSV" in refusal(str(listed))
    for text, said in (
        ("row,column,path\n", "lists no tiles"),
        ("row,col,path\n1,1,a.tif\n", "lacks the column column"),
        ("row,column,path\n1,first,a.tif\n", "line 2: row and column must be whole numbers, not 'first'"),
        ("row,column,path\n1\n", "line 2: row and column must be whole numbers, not None"),
        ("row,column,path\n1,1,a.tif\n1,1,b.tif\n", "are both the tile of row 1, column 1"),
    ):
        listed.write_text(text)
        assert said in refusal(str(listed))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"voxel_size": "inf,1,1um"}, "must be three sizes"),
        ({"voxel_size": "0,1,1um"}, "larger than nothing"),
        ({"images": []}, "name one for each channel"),
        ({"images": ["a", "a"]}, "an image of its own"),
        ({"register_on": 1}, "counted from 0"),
        ({"least_overlap": 0.2}, "must not be larger than overlap"),
        ({"overlap": float("nan")}, "less than or equal"),
        ({"jitter": [-1, 0, 0]}, "not be negative"),
        ({"tiles": "s3://lab/a_{row}_{column}.tif"}, "must be a path"),
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Stitch.model_validate(
            {"tiles": "/data/{row}_{column}.tif", "images": ["a"], "voxel_size": "1,1,1um"} | fields
        )


def test_channels_and_images_must_be_as_many(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    with pytest.raises(BadInput, match="has 1 channels in 1 files, but 2 images are named"):
        open_plan(stitch_job(tmp_path, tiles, ("image", "other")))
