"""Tiles cut from real volumes with noise of their own: how many are placed within a voxel of where they were,
by phase correlation and by the overlap search of Michaleas et al. (HPEC 2020); with tiles in straight lines,
as that method takes them to lie, and with each up to 8 voxels astray in x and y and 3 in z."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.figure import Figure
from chunkflow.kernels.images.placement import Placement
from testbed.placed_tiles import TISSUES, Tissue, place_tiles
from testbed.tile_sets import TileSet

SEEDS = range(4)


def run() -> list[Figure]:
    present = [tissue for tissue in TISSUES if tissue.path.exists()]
    if not present:
        print("stitch: the data are not here; nothing measured.")
    return [
        figure for tissue in present for straight in (True, False) for figure in _figures(tissue, straight)
    ]


def _figures(tissue: Tissue, straight: bool) -> Iterator[Figure]:
    near, worst, speed = {}, {}, {}
    for method in ("phase", "overlap-search"):
        errors, seconds, voxels = [], 0.0, 0
        for seed in SEEDS:
            tiles = tissue.tiles(seed, straight)
            jitter = (0, 0, 0) if straight else (8, 8, tissue.depth)
            placement, took = place_tiles(tiles, method, jitter)
            errors.append(_errors(tiles, placement))
            seconds += took
            voxels += len(tiles.tiles) * int(np.prod(tiles.size))
        near[method] = float(np.mean(np.concatenate(errors) <= 1))
        worst[method] = float(max(found[np.isfinite(found)].max() for found in errors))
        speed[method] = voxels / seconds / 1e6
    what = f"stitch, {tissue.name}, {'straight' if straight else 'astray'}"
    for name, found, unit, better in (
        ("tiles within a voxel", near, "of 1", "higher"),
        ("worst tile that a link joins to the first", worst, "voxels", "lower"),
        ("tiles placed", speed, "Mvoxel/s", "higher"),
    ):
        ours, peer = found["phase"], found["overlap-search"]
        yield Figure(f"{what}: {name}", ours, unit, peer, "overlap search", better)  # type: ignore[arg-type]


def _errors(tiles: TileSet, placement: Placement) -> npt.NDArray[np.float64]:
    """How far tiles are off; those that hang apart from the first are nowhere."""
    joined = placement.pieces == 0
    keys = [key for key, one in zip(tiles.tiles, joined, strict=True) if one]
    found = TileSet({}, {key: tiles.starts[key] for key in keys}, {}, tiles.size)
    errors = np.full(len(joined), np.inf)
    errors[joined] = found.errors(dict(zip(keys, placement.places[joined], strict=True)))
    return errors


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
