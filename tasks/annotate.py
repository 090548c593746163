"""Points: an object table as a precomputed annotation layer, indexed by place, by id and by segment.

1. `survey` finds the few rows that lie far from the part of the table that has them.
2. `count` counts points in the cells of each level, a block at a time.
3. `levels` decides how large a share of the points each level shows.
4. `cells` writes each block's own cells; cells that hold several blocks are put together up the tree.
5. `index` writes the id index and the segment index, each file of them a block of space, as ids are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.kernels import annotations as points
from chunkflow.kernels.morton import Voxels, morton_encode
from chunkflow.task import Annotations, Cell, Layout, Objects, Out, Result, Task
from chunkflow.volume import LayerInfo
from tasks.annotation_files import Cells, Index
from tasks.annotation_rows import MARGIN, Table, lost_rows, of_one_file, positions, with_strays


class Annotate(Task):
    """Show the objects of a table in Neuroglancer: one point an object, at its centroid.

    Points have numbers of the table as properties (those of 64 bits rounded to float32), and are related to
    their segments: where the layer is linked to its labels, selecting a segment selects its point. The layer
    is indexed in levels, so that a viewer loads only what it shows, about `limit` points in a cell.
    """

    objects: Objects = Field(description="the table: id, x, y, z, and the columns to show")
    annotations: Annotations = Out("the annotation layer")
    properties: list[str] = Field(
        [], description="columns to show; by default volume_um3, diameter_um and every image's mean"
    )
    limit: int = Field(1000, ge=1, description="points in a cell of the spatial index, about")

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        strays, counts, levels = (f"{self.annotations}.{name}" for name in ("strays", "counts", "levels"))
        objects, index = self.objects, f"{self.annotations}/index"
        chosen = {"levels": levels, "properties": self.properties}
        return [
            ("survey", Survey(objects=objects, strays=strays)),
            ("count", Count(objects=objects, strays=strays, counts=counts)),
            ("levels", Share(objects=objects, counts=counts, levels=levels, limit=self.limit)),
            (
                "cells",
                Cells.model_validate(
                    {
                        "objects": objects,
                        "strays": strays,
                        "annotations": self.annotations,
                        "limit": self.limit,
                    }
                    | chosen
                ),
            ),
            (
                "index",
                Index.model_validate({"objects": objects, "strays": strays, "annotations": index} | chosen),
            ),
        ]


class Survey(Task):
    """The rows that `cells` or `index` would not see: they lie far from where the table has them, or their id
    belongs to the file of another block (ids are one more than the codes of their voxels)."""

    objects: Objects
    strays: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"strays": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).files(region)

    def map(self, cell: Cell, objects: pa.Table) -> Result:  # type: ignore[override]
        table = Table(cell.layout.info("objects"))
        covered = cell.layout.info("strays").bounds
        if not len(objects):
            return None
        _check_positions(objects, cell.volume)
        if not table.in_cells:
            return None
        grid = table.blocks(cell.volume)
        first = np.array(cell.volume.start)
        starts = table.voxels(objects) // grid.cell * grid.cell + first
        lost_to_cells = ~_seen(cell.box, covered, starts, starts + grid.cell, MARGIN)
        shards, which = np.unique(table.shards(objects["id"].to_numpy()), return_inverse=True)
        spaces = [table.space_of_shard(int(shard)) for shard in shards]
        first_of, stop_of = np.array([s.start for s in spaces]), np.array([s.stop for s in spaces])
        seen = _seen(cell.box, covered, first_of, stop_of, (0, 0, 0))
        lost_to_index = ~seen[which]
        rows = objects.append_column("lost_to_cells", pa.array(lost_to_cells))
        rows = rows.append_column("lost_to_index", pa.array(lost_to_index))
        return rows.filter(pa.array(lost_to_cells | lost_to_index))

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


def _check_positions(objects: pa.Table, volume: Box) -> None:
    places = positions(objects)
    inside = ((places >= np.array(volume.start)) & (places <= np.array(volume.stop))).all(axis=1)
    if not inside.all():
        row = int(np.argmin(inside))
        raise BadInput(
            f"annotate: object {objects['id'][row].as_py()} lies at {places[row].tolist()}, "
            f"outside of the volume {volume}."
        )


def _seen(file: Box, covered: Box, start: Voxels, stop: Voxels, margin: Vec) -> npt.NDArray[np.bool_]:
    """Whether a cell that has each of these boxes, as far as the job covers them, reads this file: it reads
    `margin` beyond its box."""
    low, high = np.maximum(start, covered.start), np.minimum(stop, covered.stop)
    margins = np.array(margin)
    near = (low - margins < file.stop) & (high + margins > file.start)
    return np.asarray((near & (low < high)).all(axis=1))


class Count(Task):
    """How many points each block has, and how many the fullest cell of each finer level."""

    objects: Objects
    strays: Objects
    counts: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"counts": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Table(layout.info("objects")).blocks(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow(MARGIN)] if field == "objects" else [box]

    def map(self, cell: Cell, objects: pa.Table, strays: pa.Table) -> Result:  # type: ignore[override]
        table = Table(cell.layout.info("objects"))
        levels = table.levels
        voxels = table.voxels(
            table.within(cell.box, with_strays(objects, lost_rows(strays, "lost_to_cells")))
        )
        fullest = []
        for level in range(levels.block + 1, len(levels.cells)):
            numbers = morton_encode(levels.places(voxels, level), levels.shape(level))
            fullest.append(int(np.unique(numbers, return_counts=True)[1].max(initial=0)))
        place = table.block_at(cell.box)
        columns = {name: str(objects.schema.field(name).type) for name in objects.column_names}
        return pa.table(
            {
                "id": pa.array([levels.number(levels.block, place) + 1], pa.uint64()),
                **{axis: pa.array([n], pa.int64()) for axis, n in zip("xyz", place, strict=True)},
                "points": pa.array([len(voxels)], pa.int64()),
                "fullest": [json.dumps(fullest)],
                "columns": [json.dumps(columns)],
            }
        )

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows


class Share(Task):
    """The share of the points that each level takes."""

    objects: Objects
    counts: Objects
    levels: Objects = Out()
    limit: int

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"levels": of_one_file(layout)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "counts" else []

    def map(self, cell: Cell, counts: pa.Table) -> Result:  # type: ignore[override]
        levels = Table(cell.layout.info("objects")).levels
        blocks = np.stack([counts[axis].to_numpy() for axis in "xyz"], 1)
        number = counts["points"].to_numpy()
        fullest = []
        for level in range(levels.block + 1):
            factor = np.array(levels.cells[level]) // np.array(levels.cells[levels.block])
            _, which = np.unique(morton_encode(blocks // factor, levels.shape(level)), return_inverse=True)
            fullest.append(int(np.bincount(which, weights=number).max()))
        finer = np.array([json.loads(text) for text in counts["fullest"].to_pylist()], np.int64)
        fullest += [int(n) for n in finer.reshape(len(blocks), -1).max(axis=0)]
        columns: dict[str, str] = {}
        for text in set(counts["columns"].to_pylist()):
            columns = json.loads(text) if len(text) > len(json.dumps(columns)) else columns
        decided = {
            "shares": points.shares(fullest, self.limit),
            "points": int(number.sum()),
            "fullest_block": int(number.max()),
            "columns": columns,
        }
        return pa.table({"id": pa.array([1], pa.uint64()), "decided": [json.dumps(decided)]})

    def merge(self, rows: pa.Table) -> pa.Table:
        return rows
