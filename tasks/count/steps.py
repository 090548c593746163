"""Steps of `count`: the sizes of regions, the objects in them, and the table of both."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, held_within, scaled, vec
from chunkflow.task import (
    Cell,
    Labels,
    Layout,
    MergedRows,
    Objects,
    Out,
    Report,
    Result,
    Task,
    WindowTooSmall,
)
from tasks.count.brainreg import Brainreg, values_at
from tasks.count.places import covered, voxels_within, within
from tasks.count.regions import read_regions
from tasks.count.rows import AREAS, STEP, area_rows, member_rows, summed
from tasks.count.table import counts_table, report_files

MARGIN: Vec = (64, 64, 64)
"""How far from the voxel that names it an object's centroid mostly is, at most."""


class Areas(Task):
    """The voxels of each region and side whose centres lie in what the table of objects covers."""

    shape = MergedRows()
    same_voxels: ClassVar[bool] = False

    objects: Objects
    regions: Labels
    hemispheres: Labels
    areas: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        _refuse_other_voxels(layout)
        return {"areas": layout.main.as_table()}

    def grid(self, layout: Layout, region: Box) -> Grid:
        """Cells of as many voxels of the atlas as a chunk has."""
        sizes = zip(layout.chunk, layout.info("regions").voxel_size, layout.main.voxel_size, strict=True)
        return Grid.chunks(region, vec(max(1, round(n * size / own)) for n, size, own in sizes))

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        if field == "objects":
            return []
        atlas = layout.info(field)
        return [held_within(scaled(box, layout.main.voxel_size, atlas.voxel_size), atlas.bounds)]

    def map(self, cell: Cell, regions: Chunk, hemispheres: Chunk | None = None) -> Result:
        inside = voxels_within(cell.box, cell.voxel_size, regions.voxel_size).clip(regions.box)
        if inside.empty:
            return None
        numbers = regions.crop(inside).array.astype(np.int64).ravel()
        sides = np.zeros_like(numbers)
        if hemispheres is not None:
            sides = hemispheres.crop(inside).array.astype(np.int64).ravel()
        return area_rows(numbers, sides, prod(regions.voxel_size) * 1e-18)

    def no_rows(self, layout: Layout) -> pa.Table:
        return AREAS.empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        return summed(rows, ["voxels"])


class FolderAreas(Task):
    """The same from a folder of brainreg, whose atlas is small enough for one worker."""

    shape = MergedRows()

    objects: Objects
    brainreg: str
    orientation: str
    atlas_voxel_um: float
    areas: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        Brainreg.of(Path(self.brainreg), self.orientation, self.atlas_voxel_um)
        return {"areas": layout.main.as_table()}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return []

    def map(self, cell: Cell) -> Result:
        folder = Brainreg.of(Path(self.brainreg), self.orientation, self.atlas_voxel_um)
        found = [
            area_rows(
                plane.astype(np.int64).ravel(),
                sides.astype(np.int64).ravel(),
                folder.atlas_voxel_um**3 * 1e-9,
            )
            for plane, sides in zip(folder.atlas, folder.hemispheres, strict=True)
        ]
        return self.merge(pa.concat_tables(found).sort_by("id"))

    def no_rows(self, layout: Layout) -> pa.Table:
        return AREAS.empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        return summed(rows, ["voxels"])


class Members(Task):
    """Count the objects of each region, side and group, and sum up their means."""

    shape = MergedRows(row_by_row=True)
    same_voxels: ClassVar[bool] = False

    objects: Objects
    regions: Labels = ""
    hemispheres: Labels = ""
    brainreg: str = ""
    orientation: str = ""
    atlas_voxel_um: float = 0.0
    by: list[str]
    members: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        _refuse_other_voxels(layout)
        return {"members": layout.main.as_table()}

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """A row is filed by the voxel that names its object, and counted by its centroid: mostly near."""
        if field == "objects":
            return [box]
        atlas, objects = layout.info(field), layout.info("objects")
        near = scaled(box.grow(MARGIN), objects.voxel_size, atlas.voxel_size)
        return [held_within(near, atlas.bounds), atlas.bounds]

    def setup(self, layout: Layout) -> Brainreg | None:
        if not self.brainreg:
            return None
        return Brainreg.of(Path(self.brainreg), self.orientation, self.atlas_voxel_um)

    def map(
        self, cell: Cell, objects: pa.Table, regions: Chunk | None = None, hemispheres: Chunk | None = None
    ) -> Result:
        if not len(objects):
            return None
        lacking = [name for name in (*"xyz", *self.by) if name not in objects.column_names]
        if lacking:
            raise BadInput(
                f"count: the table has no column {lacking[0]!r}; it has {', '.join(objects.column_names)}."
            )
        places = np.stack([objects[axis].to_numpy().astype(np.float64) for axis in "xyz"], 1)
        if not np.isfinite(places).all():
            row = int(np.argmin(np.isfinite(places).all(axis=1)))
            raise BadInput(
                f"count: object {objects['id'][row].as_py()} lies nowhere: {places[row].tolist()}."
            )
        here = covered(places, cell)
        objects, places = objects.filter(pa.array(here)), places[here]
        if not len(objects):
            return None
        nanometres = places * np.array(cell.layout.info("objects").voxel_size)
        number, side = self._where(cell, nanometres, regions, hemispheres)
        return member_rows(objects, number, side, self.by)

    def _where(
        self,
        cell: Cell,
        nanometres: npt.NDArray[np.float64],
        regions: Chunk | None,
        hemispheres: Chunk | None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The region and the side of each place; 0 where there is none."""
        nowhere = np.zeros(len(nanometres), np.int64)
        if isinstance(cell.loaded, Brainreg):
            info = cell.layout.info("objects")
            x, y, z = (n * s / 1000 for n, s in zip(info.volume.size, info.voxel_size, strict=True))
            first = np.array(info.volume.start) * np.array(info.voxel_size)
            voxels = cell.loaded.voxels((nanometres - first) / 1000, (x, y, z))
            return values_at(cell.loaded.atlas, voxels), values_at(cell.loaded.hemispheres, voxels)
        if regions is None:
            return nowhere, nowhere
        voxels = np.floor(nanometres / np.array(regions.voxel_size)).astype(np.int64)
        inside = within(voxels, cell.layout.info("regions").bounds)
        if not within(voxels[inside], regions.box).all():
            raise WindowTooSmall
        found = values_at(regions.array, voxels - np.array(regions.box.start))
        if hemispheres is None:
            return found, nowhere
        return found, values_at(hemispheres.array, voxels - np.array(hemispheres.box.start))

    def no_rows(self, layout: Layout) -> pa.Table:
        keys = [("id", pa.uint64()), ("region", pa.int64()), ("side", pa.int64())]
        return pa.schema([*keys, *((name, pa.string()) for name in self.by), ("n", pa.int64())]).empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        return summed(rows, [name for name in rows.column_names if name == "n" or name.startswith("sum:")])


class Total(Task):
    """The regions with their names, sizes, numbers and means."""

    shape = MergedRows()

    members: Objects
    areas: Objects = ""
    names: str = ""
    by: list[str]
    counts: Objects = Out()
    report: Report = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        if self.names:
            read_regions(Path(self.names))
        return {"counts": layout.main.as_table(), "report": layout.main.as_folder()}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box]

    def map(self, cell: Cell, members: pa.Table, areas: pa.Table | None = None) -> Result:
        names = read_regions(Path(self.names)) if self.names else {}
        x, y, z = (n * s * 1e-6 for n, s in zip(cell.box.size, cell.voxel_size, strict=True))
        table = counts_table(members, areas, names, self.by, STEP, x * y * z)
        return table, report_files(table, self.by)

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


def _refuse_other_voxels(layout: Layout) -> None:
    if "hemispheres" in layout.layers:
        atlas, sides = layout.info("regions"), layout.info("hemispheres")
        if (atlas.voxel_size, atlas.bounds) != (sides.voxel_size, sides.bounds):
            raise BadInput("count: regions and hemispheres must have the same voxels.")
