"""A synthetic block of brain tissue in two channels, with the truth about its cells."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo, LayerInfo
from chunkflow.geometry import Box, vec
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.kernels.synthetic.cells import (
    ACTIVE,
    COLUMNS,
    DAPI,
    GRAIN,
    KIND,
    KINDS,
    RADIUS,
    Cells,
    Tissue,
    cells_near,
    centre_voxels,
    sites_for_density,
)
from chunkflow.kernels.synthetic.light import render
from chunkflow.task import Cell, Image, Layout, MergedRows, Objects, Out, Task


class Synthesize(Task):
    """Make a two-channel light-sheet volume of known neurons and glia, from a seed.

    `dapi` shows every nucleus: neurons larger, paler and smoother, glia smaller, brighter and grainier. The
    two overlap in all of that: not even who knew each cell's radius, brightness and grain could tell them
    apart without error (the area under the ROC curve would be 0.988). `cfos` shows the cells that are
    active, most of them neurons. `cells` is the truth, one row a cell. Both channels have a background that
    rises across the volume, fade with depth and have shot noise; some cells touch. The same seed gives the
    same voxels, however the volume is cut into chunks. Outputs that are not named are not made.
    """

    shape = MergedRows()
    version: ClassVar[int] = 2

    dapi: Image = Out("the nuclei's channel")
    cfos: Image = Out("the active cells' channel")
    cells: Objects = Out("the truth: id, centre, radius_um, brightness, grain, class, active")
    size: tuple[int, int, int] = Field((384, 384, 256), description="voxels along x, y, z")
    start: tuple[int, int, int] = Field((0, 0, 0), description="the volume's first voxel")
    voxel_size: tuple[float, float, float] = Field(
        (1.0, 1.0, 2.0), description="micrometres along x, y, z: whole nanometres, at most 3 µm"
    )
    seed: int = Field(1, ge=0, le=999_999_999, description="another seed, another tissue")
    density: float = Field(40_000, gt=0, le=60_000, description="cells in a cubic millimetre, about")
    glia: float = Field(0.4, ge=0, le=1, description="share of glia among the cells")
    active: float = Field(
        0.3, ge=0, le=1, description="share of active cells among the neurons; a sixth of it among glia"
    )
    touching: float = Field(0.2, ge=0, le=0.5, description="share of cells that have another touching them")
    noise: float = Field(3.0, ge=0, le=50, description="shot noise: deviations, in roots of the grey value")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for length in self.voxel_size:
            # Larger voxels could hold two cells' centres, and a cell is named by its centre's voxel.
            if not 10 <= length * 1000 <= 3000 or abs(length * 1000 - round(length * 1000)) > 1e-6:
                raise ValueError(f"voxel_size {length:g}: give whole nanometres from 0.01 to 3 micrometres")
        if min(self.size) < 1:
            raise ValueError("size must be at least one voxel along each axis")
        return self

    @property
    def tissue(self) -> Tissue:
        pairs = self.touching / (2 - self.touching)  # of the sites, so many hold two cells
        x, y, z = (round(length * 1000) for length in self.voxel_size)
        return Tissue(
            seed=self.seed,
            start=self.start,
            size=self.size,
            voxel=(x, y, z),
            sites=sites_for_density(self.density, pairs),
            glia=round(self.glia * 1000),
            active=round(self.active * 1000),
            touching=round(pairs * 1000),
            noise=round(self.noise * 1000),
        )

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        extent = Box.of_size(self.size, self.start)
        x, y, z = (float(length) for length in self.tissue.voxel)
        image = ImageInfo(volume=extent, voxel_size=(x, y, z), dtype="uint16")
        made: dict[str, LayerInfo] = {"dapi": image, "cfos": image, "cells": image.as_table()}
        return {name: info for name, info in made.items() if getattr(self, name)}

    def map(self, cell: Cell) -> dict[str, Chunk | pa.Table]:
        tissue, box = self.tissue, cell.box
        near = cells_near(tissue, box.start, box.stop)
        dapi, cfos = render(tissue, near, box.start, box.stop)
        made: dict[str, Chunk | pa.Table] = {
            "dapi": Chunk(dapi, box, cell.voxel_size),
            "cfos": Chunk(cfos, box, cell.voxel_size),
            "cells": truth_table(tissue, near, box),
        }
        return {name: result for name, result in made.items() if getattr(self, name)}

    def no_rows(self, layout: Layout) -> pa.Table:
        return truth_table(self.tissue, np.empty((0, COLUMNS), np.int64), Box.of_size((0, 0, 0)))

    def merge(self, rows: pa.Table) -> pa.Table:
        """Each cell comes from the one chunk that holds its centre."""
        return rows


def truth_table(tissue: Tissue, cells: Cells, box: Box) -> pa.Table:
    """The cells whose centres lie in `box`, a row each, sorted by id."""
    voxels = centre_voxels(tissue, cells)
    inside = ((voxels >= np.array(box.start)) & (voxels < np.array(box.stop))).all(axis=1)
    cells, voxels = cells[inside], voxels[inside]
    ids = voxel_ids(voxels - np.array(tissue.start), vec(tissue.size))
    order = np.argsort(ids)
    cells = cells[order]
    places = cells[:, :3]
    columns: dict[str, pa.Array] = {"id": pa.array(ids[order])}
    for axis, name in enumerate("xyz"):
        columns[name] = pa.array(places[:, axis] / tissue.voxel[axis])
    for axis, name in enumerate("xyz"):
        columns[f"{name}_um"] = pa.array(places[:, axis] / 1000)
    columns["radius_um"] = pa.array((cells[:, RADIUS] / 1000).astype(np.float32))
    columns["brightness"] = pa.array(cells[:, DAPI].astype(np.float32))
    columns["grain"] = pa.array((cells[:, GRAIN] / 1000).astype(np.float32))
    columns["class"] = pa.array(np.array(KINDS, object)[cells[:, KIND]], pa.string())
    columns["active"] = pa.array(cells[:, ACTIVE].astype(np.uint8))
    return pa.table(columns)
