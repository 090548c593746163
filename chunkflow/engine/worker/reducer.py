"""The reducer: parts become results up a tree of 2x2x2 blocks, never all at once.

1. A block adds the rows of its children that are still open: those whose object goes on across a face of the
   child. A face between two children of the block is inside now, so it no longer keeps a row open.
2. Where objects are known to be connected, a row that no outer face keeps open is final and stays in this
   block's part; all others go up. Where they are not, all go to the root.
3. `finish` takes the final rows of one cell of space (by the voxel that an object is named after), or the
   whole root, sorted by id.
Rows that are reduced go up the same tree, all of a block through the task's `reduce` at once. The final ones
are sent to the cell of `finish` that they are named after, or else all to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.worker.parts import Parts, in_order, merged_streams
from chunkflow.engine.worker.spill import by_cell
from chunkflow.geometry import Box, Grid
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.task import Task


def outer_faces(inner: Box, block: Box) -> int:
    """The faces of `inner` that lie on faces of `block`, as bits -x, +x, -y, +y, -z, +z."""
    bits = 0
    for axis in range(3):
        bits |= (inner.start[axis] == block.start[axis]) << (2 * axis)
        bits |= (inner.stop[axis] == block.stop[axis]) << (2 * axis + 1)
    return bits


def sorted_rows(task: Task, rows: pa.Table) -> pa.Table:
    """A map's rows, one an id, in the order of the ids."""
    ids = rows["id"].to_numpy()
    if (ids[1:] > ids[:-1]).all():
        return rows
    rows = rows.take(pc.sort_indices(rows, sort_keys=[("id", "ascending")]))
    ids = rows["id"].to_numpy()
    return task.merge(rows) if (ids[1:] == ids[:-1]).any() else rows


def merge_block(plan: Plan, stage_index: int, cell: int, parts: Parts) -> Iterator[pa.Table]:
    """The rows of a block, from its children's parts, merged."""
    stage = plan.stages[stage_index]
    step = plan.steps[stage.step]
    below, children = _children(plan, stage, cell)
    block = stage.grid.box(cell)
    streams = [
        _open_rows(pieces, outer_faces(below.grid.box(child), block), step.rows_are_final_early)
        for child, pieces in zip(children, parts.each(below.name, children), strict=True)
    ]
    return in_order(step.task.merge(piece) if len(piece) else piece for piece in merged_streams(streams))


def _children(plan: Plan, stage: Stage, cell: int) -> tuple[Stage, list[int]]:
    """The stage below a block's, and which of its cells the block consists of."""
    wait = stage.waits[0]
    below = plan.stages[wait.stage]
    x, y, z = wait.needed(stage.grid.position(cell))
    children = [
        below.grid.index((i, j, k))
        for k in range(z.start, z.stop)
        for j in range(y.start, y.stop)
        for i in range(x.start, x.stop)
    ]
    return below, children


def _open_rows(pieces: Iterator[pa.Table], outer: int, final_early: bool) -> Iterator[pa.Table]:
    for rows in pieces:
        if "faces" in rows.column_names:
            if final_early:
                rows = rows.filter(pc.not_equal(rows["faces"], 0))
            rows = _with_faces(rows, outer)
        yield rows


def _with_faces(rows: pa.Table, outer: int) -> pa.Table:
    faces = pc.bit_wise_and(rows["faces"], pa.scalar(outer, pa.uint8()))
    return rows.set_column(rows.column_names.index("faces"), "faces", faces)


def final_rows(plan: Plan, stage_index: int, cell: int, parts: Parts) -> Iterator[pa.Table]:
    """The merged rows that belong to one cell of a finish stage, sorted by id, in pieces."""
    stage = plan.stages[stage_index]
    step = plan.steps[stage.step]
    levels = levels_of(plan, stage)
    root = levels[-1]
    if not step.rows_are_final_early:
        yield from parts.rows(plan.stages[root].name, 0)
        return
    box = stage.grid.box(cell)
    found = []
    for level in levels:
        below = plan.stages[level]
        for pieces in parts.each(below.name, list(below.grid.indexes_meeting(box))):
            for rows in pieces:
                if level != root and "faces" in rows.column_names:
                    rows = rows.filter(pc.equal(rows["faces"], 0))
                found.append(rows.filter(pa.array(_named_within(rows["id"].to_numpy(), step, box))))
    rows = pa.concat_tables(found, promote_options="default")
    yield from in_order([rows.take(pc.sort_indices(rows, sort_keys=[("id", "ascending")]))])


def _named_within(ids: npt.NDArray[np.uint64], step: Step, box: Box) -> npt.NDArray[np.bool_]:
    """Which ids name a voxel in `box`."""
    voxels = _named_voxels(ids, step)
    return np.asarray(((voxels >= box.start) & (voxels < box.stop)).all(axis=1))


def _named_voxels(ids: npt.NDArray[np.uint64], step: Step) -> npt.NDArray[np.int64]:
    """The voxels that ids name. An object that the job's box cuts may be named by a voxel beyond it, and is
    filed under the nearest that the job covers; 0, which names none, under the first."""
    voxels = id_voxels(np.maximum(ids, np.uint64(1)), step.volume.size) + np.array(step.volume.start)
    return np.asarray(np.clip(voxels, step.region.start, np.array(step.region.stop) - 1))


def levels_of(plan: Plan, stage: Stage) -> list[int]:
    """The stages that leave a step's rows: its map, and all levels of blocks."""
    return [*plan.stages_of(stage.step, "map"), *plan.stages_of(stage.step, "merge")]


def block_rows(plan: Plan, stage_index: int, cell: int, parts: Parts) -> pa.Table:
    """All rows that a block's children sent up."""
    below, children = _children(plan, plan.stages[stage_index], cell)
    pieces = [piece for part in parts.each(below.name, children) for piece in part]
    return pa.concat_tables(pieces, promote_options="default")


def in_key_order(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Rows sorted by their key; those of one key by all other columns that have an order, so that it does
    not matter where they come from."""
    others = [f.name for f in rows.schema if f.name not in key and not pa.types.is_nested(f.type)]
    return rows.take(pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in (*key, *others)]))


def filed_by_id(final: pa.Table, step: Step, grid: Grid) -> list[tuple[int, pa.Table]]:
    """Final rows by the cells of the finish stage's `grid` that they belong to."""
    if not len(final):
        return []
    if len(grid) == 1:
        return [(0, final)]
    places = (_named_voxels(final["id"].to_numpy(), step) - grid.anchor) // grid.cell - grid.first
    return list(by_cell(final, places @ np.array([1, grid.shape[0], grid.shape[0] * grid.shape[1]])))


def sent_rows(plan: Plan, stage_index: int, cell: int, parts: Parts) -> pa.Table:
    """What all cells of a step, and all its blocks, sent to one cell of the finish stage."""
    levels = [plan.stages[level] for level in levels_of(plan, plan.stages[stage_index])]
    found = [parts.gathered(level.name, len(level.grid), cell) for level in levels]
    return pa.concat_tables([rows for rows in found if rows.num_columns] or [pa.table({})])
