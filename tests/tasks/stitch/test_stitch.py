"""Tiles cut out of a volume, stitched by a job: the volume comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Box, Vec
from chunkflow.task import Layout
from tasks.stitch.fuse import surroundings
from tasks.stitch.stitch import Stitch
from testbed.tile_sets import cut
from tests.support.files.tile_stacks import held, places, report, stitch_job, tile_set, tissue, truth, write
from tests.support.jobs import read_layer, run_job
from tests.support.same import Way, same_everywhere


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


def failed(job: Job) -> str:
    """What is said of the chunks that failed; no voxel may have been written."""
    assert run_job(job) == "incomplete"
    assert not list(Path(job.layers["image"].url.removeprefix("file://")).glob("5*/*"))
    state = Ledger.load(Folder(job.work)).state
    assert {cause for step in state.stages.values() for cause in step.causes} == {"bad input"}
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
