"""Tiles cut out of a volume, stitched by a job: the volume comes back."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.task import Layout
from tasks.stitch.fuse import surroundings
from tasks.stitch.stitch import Stitch
from testbed.tile_sets import TileSet, cut
from tests.support.jobs import make_job, read_layer, run_job
from tests.support.same import Way, same_everywhere

JITTER = [4, 4, 1]


@cache
def tissue(depth: int = 8) -> np.ndarray:
    """Cells on an uneven background, so large that 3 x 2 tiles cover it."""
    rng = np.random.default_rng(1)
    smooth = gaussian_filter(rng.normal(size=(210, 170, depth)), (12, 12, 3))
    cells = gaussian_filter(rng.random((210, 170, depth)) > 0.995, 1.5, output=np.float64)
    return (600 + 4000 * smooth + 9000 * cells).clip(0).astype(np.uint16)


def tile_set(noise: bool = False, light: np.ndarray | None = None) -> TileSet:
    return cut(tissue(), 3, 2, 7, (4, 4, 1), noise, light)


def write(folder: Path, tiles: TileSet, name: str = "tile_{row}_{column}.tif", first: int = 1) -> str:
    """The tiles as TIFF stacks; the pattern of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for (row, column), tile in tiles.tiles.items():
        path = folder / name.format(row=row + first, column=column + first)
        tifffile.imwrite(path, tile.T, metadata={"axes": "ZYX"})
    return str(folder / name)


def stitch_job(
    folder: Path, tiles: str, images: tuple[str, ...] = ("image",), chunk: Vec = (64, 64, 8), **fields: Any
) -> Job:
    task = {"tiles": tiles, "images": list(images), "voxel_size": "500,500,2000nm", "jitter": JITTER} | fields
    layers = {name: str(folder / name) for name in images}
    return make_job(folder, layers, [{"stitch": task}], storage=[32, 32, 4], chunk=list(chunk))


def report(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "work" / "reports" / "stitch" / name).open() as file:
        return list(csv.DictReader(file))


def places(folder: Path) -> dict[tuple[int, int], np.ndarray]:
    return {
        (int(row["row"]) - 1, int(row["column"]) - 1): np.array([float(row[axis]) for axis in "xyz"])
        for row in report(folder, "places.csv")
    }


def truth(tiles: TileSet) -> tuple[np.ndarray, np.ndarray]:
    """What the tiles show of the volume from the first voxel of their bounding box, and where they do."""
    starts = np.array(list(tiles.starts.values()))
    low, high = starts.min(axis=0), starts.max(axis=0) + tiles.size
    shown = np.zeros(high - low, bool)
    for start in starts - low:
        shown[tuple(slice(a, a + n) for a, n in zip(start, tiles.size, strict=True))] = True
    whole = tissue()[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return np.where(shown, whole, 0), shown


def held(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The part of a made volume that has the tiles; beyond it all is as grey as they are."""
    inside = tuple(slice(0, n) for n in wanted.shape)
    beyond = np.ones(found.shape, bool)
    beyond[inside] = False
    low, high = np.percentile(found[inside][wanted > 0], (1, 99))
    assert low < found[beyond].min() <= found[beyond].max() < high
    return found[inside]


def test_tiles_without_noise_give_the_volume_voxel_by_voxel(tmp_path: Path) -> None:
    tiles = tile_set()
    job = stitch_job(tmp_path, write(tmp_path / "tiles", tiles), shading="none")
    assert run_job(job) == "complete"
    wanted, shown = truth(tiles)
    found = read_layer(tmp_path / "image")
    assert np.array_equal(held(found, wanted)[shown], wanted[shown])
    assert found.dtype == np.uint16
    assert 0 < (~shown).mean() < 0.5
    assert tiles.errors(places(tmp_path)).max() < 0.2
    for row in report(tmp_path, "places.csv"):
        assert row["path"] == str(tmp_path / "tiles" / f"tile_{row['row']}_{row['column']}.tif")
    links = report(tmp_path, "links.csv")
    assert len(links) == 7
    assert all(link["kept"] == "yes" and float(link["correlation"]) > 0.99 for link in links)
    made = {path.name for path in (tmp_path / "work/reports/stitch").iterdir()}
    assert made == {"links.csv", "places.csv", "layout.png"}


def uneven(size: Vec) -> np.ndarray:
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in size[:2]), indexing="ij")
    flat = 1 - 0.25 * (x**2 + y**2)
    return np.asarray(flat / flat.mean())


def unevenness(found: np.ndarray, tiles: TileSet) -> float:
    """How far the light of a made volume is from that of the tissue, whatever its unit and its dark."""
    wanted, shown = truth(tiles)
    only = held(found, wanted) * shown
    made, smooth = (gaussian_filter(array.astype(float), (4, 4, 1))[shown] for array in (only, wanted))
    return float(np.std(made - np.polyval(np.polyfit(smooth, made, 1), smooth)) / np.std(smooth))


def test_uneven_light_and_gains_are_taken_out(tmp_path: Path) -> None:
    """As it is found, as it is known, and as the report of one sample has it for the next."""
    light = uneven(tile_set().size)
    tiles = tile_set(noise=True, light=light)
    source, true = write(tmp_path / "tiles", tiles), tmp_path / "true.npz"
    np.savez(true, allow_pickle=False, flat_0=light.astype(np.float32), dark_0=np.zeros_like(light))
    left, of_report = {}, tmp_path / "found/work/reports/stitch/shading.npz"
    runs = {"none": "none", "found": "estimate", "known": str(true), "next": str(of_report)}
    for name, shading in runs.items():
        assert run_job(stitch_job(tmp_path / name, source, shading=shading)) == "complete"
        assert tiles.errors(places(tmp_path / name)).max() < 1
        left[name] = unevenness(read_layer(tmp_path / name / "image"), tiles)
    assert left["found"] < 0.6 * left["none"]
    assert left["known"] < 0.3 * left["none"]
    assert np.array_equal(read_layer(tmp_path / "next/image"), read_layer(tmp_path / "found/image"))
    found = [float(row["image_gain"]) for row in report(tmp_path / "known", "places.csv")]
    ratio = np.array(found) / list(tiles.gains.values())
    assert ratio.std() / ratio.mean() < 0.5 * np.std(list(tiles.gains.values()))


def test_the_same_answer_however_it_is_cut(tmp_path: Path) -> None:
    """Two channels in each file, which is compressed by planes."""
    one = cut(tissue()[:110, :100], 2, 2, 7, (4, 4, 1), True)
    (tmp_path / "tiles").mkdir()
    for (row, column), tile in one.tiles.items():
        both = np.stack([tile.T, tile.T // 2], 1)
        path = tmp_path / "tiles" / f"t{row}{column}.tif"
        tifffile.imwrite(path, both, metadata={"axes": "ZCYX"}, compression="zlib", photometric="minisblack")
    tiles = str(tmp_path / "tiles" / "t{row}{column}.tif")

    def job_of(folder: Path, chunk: Vec) -> Job:
        return stitch_job(folder, tiles, ("dapi", "cfos"), chunk)

    same_everywhere(tmp_path, job_of, (128, 128, 8), [Way((64, 96, 4), shuffled=True)])


def test_a_part_of_the_volume_is_that_of_the_whole(tmp_path: Path) -> None:
    tiles = cut(tissue()[:110, :100], 2, 2, 7, (4, 4, 1), True)
    job = stitch_job(tmp_path, write(tmp_path / "tiles", tiles))
    assert run_job(job) == "complete"
    assert run_job(job, Box((32, 32, 0), (96, 64, 8))) == "complete"
    part = read_layer(next((tmp_path / "work/try").iterdir()) / "layers/image")
    assert np.array_equal(part, read_layer(tmp_path / "image")[32:96, 32:64, :8])


@given(
    box=st.tuples(*[st.integers(-40, 60)] * 3).flatmap(
        lambda a: st.builds(Box.of_size, st.tuples(*[st.integers(1, 12)] * 3), st.just(a))
    ),
    starts=st.lists(st.tuples(*[st.integers(-20, 40)] * 3), min_size=1, max_size=6),
)
def test_where_no_tile_is_all_is_as_grey_as_the_nearest(box: Box, starts: list[Vec]) -> None:
    size = (9, 7, 5)
    ends = [[n, 100.0 * n, 100.0 * n + 40] for n in range(len(starts))]
    found = surroundings(box, size, starts, ends)
    for index in np.ndindex(*box.size):
        place = np.add(index, box.start)
        away = [
            sum(max(a - p, p - (a + n - 1), 0) ** 2 for p, a, n in zip(place, start, size, strict=True))
            for start in starts
        ]
        nearest = int(np.argmin(away))
        deep = min(max((place[2] - starts[nearest][2]) / 4, 0), 1)
        assert found[index] == 100 * nearest + 40 * deep


def test_tiles_of_one_plane(tmp_path: Path) -> None:
    whole = cut(tissue(1), 2, 2, 3, (4, 4, 0), False)
    tiles = write(tmp_path / "tiles", whole)
    assert run_job(stitch_job(tmp_path, tiles, shading="none", least_overlap=0.02)) == "complete"
    assert whole.errors(places(tmp_path)).max() < 0.2
    assert read_layer(tmp_path / "image").shape[2] == 1


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


def failed(job: Job) -> str:
    """What is said of the chunks that failed; no voxel may have been written."""
    assert run_job(job) == "incomplete"
    assert not list(Path(job.layers["image"].url.removeprefix("file://")).glob("5*/*"))
    state = Ledger.load(Folder(job.work)).state
    assert {cause for step in state.steps.values() for cause in step.causes} == {"bad input"}
    return " ".join(str(value) for value in vars(state).values())


@pytest.mark.parametrize("unlike", ["shape", "type", "damaged"])
def test_a_tile_unlike_the_others_is_named(tmp_path: Path, unlike: str) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    odd = tmp_path / "tiles" / "tile_2_3.tif"
    if unlike == "damaged":
        odd.write_bytes(odd.read_bytes()[:5000])
    else:
        array = tifffile.imread(odd)
        tifffile.imwrite(odd, array[:, 1:] if unlike == "shape" else array.astype(np.uint8))
    said = failed(stitch_job(tmp_path, tiles))
    assert "tile_2_3.tif" in said
    assert unlike == "damaged" or "all tiles must be alike" in said


def test_channels_and_images_must_be_as_many(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    with pytest.raises(BadInput, match="has 1 channels in 1 files, but 2 images are named"):
        open_plan(stitch_job(tmp_path, tiles, ("image", "other")))


def test_a_tile_that_shows_nothing_hangs_apart_and_nothing_is_fused(tmp_path: Path) -> None:
    whole = tile_set(noise=True)
    whole.tiles[1, 2][...] = 0
    said = failed(stitch_job(tmp_path, write(tmp_path / "tiles", whole)))
    assert "The tiles at row/column 2/3 (from 1) hang apart from the other 5" in said
    links = report(tmp_path, "links.csv")
    assert sorted(link["why"] for link in links) == [""] * 5 + ["too little alike"] * 2
    assert (tmp_path / "work/reports/stitch/layout.png").read_bytes().startswith(b"\x89PNG")


def test_a_layout_larger_than_planned_is_refused(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set(noise=True))
    said = failed(stitch_job(tmp_path, tiles, least_overlap=0.1, overlap=0.2, jitter=[4, 1, 1]))
    assert "more than the" in said
    assert "give a larger jitter there" in said


def test_light_of_a_file_must_be_such(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    fields = np.ones((4, 4), np.float32)
    for name, arrays, said in (
        ("few", {"flat_0": fields}, "dark_0 is not so"),
        ("nan", {"flat_0": fields * np.nan, "dark_0": fields}, "flat_0 is not so"),
        ("dark", {"flat_0": fields * 0, "dark_0": fields}, "must be larger than 0"),
    ):
        np.savez(tmp_path / f"{name}.npz", allow_pickle=False, **arrays)
        with pytest.raises(BadInput, match=said):
            open_plan(stitch_job(tmp_path, tiles, shading=str(tmp_path / f"{name}.npz")))
    (tmp_path / "text.npz").write_text("no arrays")
    whole = (tmp_path / "dark.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "changed.npz").write_bytes(whole.replace(b"\0\0\x80\x3f", b"\0\0\x80\x40", 1))
    for name in ("text", "absent", "cut", "changed"):
        with pytest.raises(BadInput, match="cannot be read as an"):
            open_plan(stitch_job(tmp_path, tiles, shading=str(tmp_path / f"{name}.npz")))


def test_the_overlap_search_finds_overlaps_along_the_axis(tmp_path: Path) -> None:
    """It knows no shift across, so tiles must lie in straight lines."""
    whole = cut(tissue(), 3, 2, 7, (0, 0, 0), False)
    tiles = write(tmp_path / "tiles", whole)
    job = stitch_job(tmp_path, tiles, method="overlap-search", shading="none", jitter=[0, 0, 0])
    assert run_job(job) == "complete"
    assert whole.errors(places(tmp_path)).max() == 0


def test_the_steps_have_tables_of_their_own(tmp_path: Path) -> None:
    tiles = write(tmp_path / "tiles", tile_set())
    task = Stitch(tiles=tiles, images=["a"], voxel_size="1,1,1um")
    names = [name for name, _ in task.expand(Layout({}, (64, 64, 8), (32, 32, 4)))]
    light = ["sample", "light", "seen", "even", "overlaps", "balance"]
    assert names == ["links", "place", *light, "report", "fuse-a"]
