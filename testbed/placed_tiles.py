"""Tiles cut from real volumes, and where they are placed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import tifffile

from chunkflow.geometry import Box, Vec
from chunkflow.kernels.images.placement import Placement
from chunkflow.task import Cell, Layout
from tasks.stitch.links import Links, Method, placed
from tasks.stitch.tiles import Tiles, TileSource
from testbed.tile_sets import TileSet, Voxels, cut

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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


def place_tiles(tiles: TileSet, method: Method, jitter: Vec) -> tuple[Placement, float]:
    """Where all tiles of a set are found to lie, and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        for (row, column), tile in tiles.tiles.items():
            np.save(Path(folder) / f"{row}_{column}.npy", tile.T)
        source = TileSource(tiles=f"{folder}/{{row}}_{{column}}.npy", images=("image",))
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
