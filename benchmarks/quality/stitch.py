"""Tiles cut from real volumes with noise of their own: how many are placed within a voxel of where they were,
by phase correlation and by the overlap search of Michaleas et al. (HPEC 2020); with tiles in straight lines,
as that method takes them to lie, and with each up to 8 voxels astray in x and y and 3 in z."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tifffile

from benchmarks.figure import Figure
from chunkflow.geometry import Box, Vec
from chunkflow.kernels.images.placement import Placement
from chunkflow.task import Cell, Layout
from tasks.stitch.links import Links, Method, placed
from tasks.stitch.tiles import Source, Tiles
from testbed.tile_sets import TileSet, Voxels, cut

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SEEDS = range(4)


@dataclass(frozen=True)
class Tissue:
    """A real volume and how it is cut."""

    name: str
    path: Path
    columns: int
    rows: int
    depth: int
    """How far a tile strays in z."""

    def load(self) -> Voxels:
        if self.path.is_dir():
            return np.stack([tifffile.imread(file) for file in sorted(self.path.iterdir())]).T
        with np.load(self.path) as file:
            return np.asarray(file["image"])

    def tiles(self, seed: int, straight: bool = False) -> TileSet:
        return cut(self.load(), self.columns, self.rows, seed, (0, 0, 0) if straight else (8, 8, self.depth))


TISSUES = (
    Tissue("two-photon brain", DATA / "brain_tiff" / "signal", 4, 3, 1),
    Tissue("light-sheet c-Fos", DATA / "light_sheet_cfos_753.npz", 2, 2, 3),
    Tissue("light-sheet microglia", DATA / "light_sheet_microglia_6003.npz", 2, 2, 3),
)


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


def place_tiles(tiles: TileSet, method: Method, jitter: Vec) -> tuple[Placement, float]:
    """Where all tiles of a set are found to lie, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        for (row, column), tile in tiles.tiles.items():
            np.save(Path(folder) / f"{row}_{column}.npy", tile.T)
        source = Source(tiles=f"{folder}/{{row}}_{{column}}.npy", images=("image",))
        links = Links(
            source=source,
            voxel_size=(1, 1, 1),
            links="links",
            register_on=0,
            method=method,
            overlap=0.1,
            least_overlap=0.03,
            jitter=jitter,
        )
        opened, grid = Tiles(source), source.find()
        links.match(opened, *grid.pairs()[0])  # compiled before the clock starts
        begin = time.perf_counter()
        found = [links.map(_cell(index, opened)) for index in range(len(grid.pairs()))]
        placement = placed(pa.concat_tables(found), grid, opened.size, 0.2)
        return placement, time.perf_counter() - begin


def _cell(index: int, tiles: Tiles) -> Cell:
    nowhere = Box.of_size((1, 1, 1))
    layout = Layout({}, (64, 64, 64), (64, 64, 64))
    return Cell(index, nowhere, nowhere, nowhere, (1.0, 1.0, 1.0), layout, {}, tiles)


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
