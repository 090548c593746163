"""Tiles of a known volume as TIFF stacks, and jobs that stitch them."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from testbed.tile_sets import TileSet, cut
from tests.support.jobs import make_job

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
