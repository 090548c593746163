"""Tiles of real microscopy are placed where they were."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from testbed.placed_tiles import DATA, TISSUES, Tissue, place_tiles
from tests.support.files.tile_stacks import places
from tests.support.jobs import make_job, run_job

each_tissue = pytest.mark.parametrize("tissue", TISSUES, ids=lambda tissue: tissue.name)
MICROSCOPE = DATA / "tiles_5x5_t1.npz"


@each_tissue
@pytest.mark.parametrize("seed", [0, 1, 3])
def test_every_tile_is_within_a_voxel(tissue: Tissue, seed: int) -> None:
    if not tissue.path.exists():
        pytest.skip(f"real data are absent: {tissue.path}")
    tiles = tissue.tiles(seed)
    placement, _ = place_tiles(tiles, "phase", (8, 8, tissue.depth))
    errors = tiles.errors(dict(zip(tiles.tiles, placement.places, strict=True)))
    print(f"{tissue.name}: {errors.max():.2f} voxels at most, {placement.kept.sum()} links kept")
    assert errors.max() <= 1
    assert not placement.pieces.any()


@pytest.mark.skipif(not MICROSCOPE.exists(), reason="the real tiles are not on this machine")
def test_the_tiles_of_a_microscope_lie_where_another_program_has_them(tmp_path: Path) -> None:
    with np.load(MICROSCOPE) as file:
        given = {
            (int(row), int(column)): xy for (column, row), xy in zip(file["grid"], file["xy"], strict=True)
        }
        for (column, row), tile in zip(file["grid"], file["tiles"], strict=True):
            tifffile.imwrite(tmp_path / f"t_{row}_{column}.tif", tile)
    task = {
        "tiles": str(tmp_path / "t_{row}_{column}.tif"),
        "images": ["image"],
        "voxel_size": "1,1,1um",
        "jitter": [8, 8, 0],
        "least_overlap": 0.02,
    }
    layers = {"image": str(tmp_path / "image")}
    job = make_job(tmp_path, layers, [{"stitch": task}], storage=[128, 128, 1], chunk=[256, 256, 1])
    assert run_job(job) == "complete"
    off = np.array([place[:2] - given[key] for key, place in places(tmp_path).items()])
    error = np.abs(off - np.median(off, axis=0)).max(axis=1)
    print(f"{(error <= 3).sum()} of 25 within 3 pixels, {error.max():.1f} at most")
    assert (error <= 3).sum() >= 23
