"""Rows of a block that are reduced together: the same table however the volume is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.chunk import Array, Chunk
from chunkflow.data.checksums import unseal
from chunkflow.data.folder import Folder
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.outputs import names_of
from chunkflow.engine.worker.parts import Parts
from chunkflow.engine.worker.reducer import in_key_order
from chunkflow.engine.worker.results import WrongResult
from chunkflow.engine.worker.worker import Worker
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.task import Cell, Labels, Layout, Objects, Out, ReducedRows, Task
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job

OWN, TASKS = "tests.chunkflow.engine.worker.test_reduced_rows:", "tests.support.own_tasks:"
SIZE: Vec = (90, 70, 45)
CHUNKS = [(17, 13, 45), (31, 33, 9), (16, 16, 16), (200, 200, 200)]
JOINED = pa.schema([("id", pa.uint64()), ("root", pa.uint64()), ("axis", pa.int8()), ("plane", pa.int64())])
TOUCHING = pa.schema([("one", pa.uint64()), ("two", pa.uint64()), ("faces", pa.int64())])


class Joined(Task):
    """Which objects hang together: each with the smallest id of those that it is joined to, near or far.

    A row says that an object has a root, and across which plane it, or one joined to it, goes on.
    """

    shape = ReducedRows()
    empty_from_empty = True

    labels: Labels
    joined: Objects = Out()

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box.grow((1, 1, 1))]

    def no_rows(self, layout: Layout) -> pa.Table:
        return JOINED.empty_table()

    def map(self, cell: Cell, labels: Chunk) -> pa.Table:
        ids = np.unique(labels.crop(cell.box).array)
        rows = {(int(id), int(id), -1, 0) for id in ids[ids != 0]}
        for axis in range(3):
            around = labels.crop(along(cell.box, axis).clip(cell.bounds))
            rows |= {(a, b, -1, 0) for a, b in joins(pairs(around.array, axis))}
            for plane in (cell.box.start[axis], cell.box.stop[axis]):
                if cell.bounds.start[axis] < plane < cell.bounds.stop[axis]:
                    first = plane - 1 - around.box.start[axis]
                    both = pairs(np.take(around.array, (first, first + 1), axis), axis)
                    rows |= {(a, a, axis, plane) for a, b in both if a == b}
                    rows |= {(b, b, axis, plane) for pair in joins(both) for b in pair}
        return joined_rows(rows)

    def reduce(self, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        found = list(zip(*rows.to_pydict().values(), strict=True))
        roots = roots_of((id, root) for id, root, _, _ in found)
        going_on = {
            (id, roots[id], axis, plane)
            for id, _, axis, plane in found
            if axis >= 0 and not cell.box.start[axis] < plane < cell.box.stop[axis]
        }
        open_roots = {root for _, root, _, _ in going_on}
        up = going_on | {(id, root, -1, 0) for id, root in roots.items() if root in open_roots}
        final = {id: root for id, root in roots.items() if root not in open_roots}
        types = {"id": pa.array(list(final), pa.uint64()), "joined": pa.array(final.values(), pa.uint64())}
        return joined_rows(up), pa.table(types)


class Touching(Task):
    """How many faces of voxels each two objects share: rows without an id of their own, final at the root."""

    shape = ReducedRows(key=("one", "two"))

    labels: Labels
    touching: Objects = Out()

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [Box(box.start, (box.stop[0] + 1, box.stop[1] + 1, box.stop[2] + 1))]

    def no_rows(self, layout: Layout) -> pa.Table:
        return TOUCHING.empty_table()

    def map(self, cell: Cell, labels: Chunk) -> pa.Table:
        found = []
        for axis in range(3):
            beyond = Box(cell.box.start, along(cell.box, axis).stop).clip(cell.bounds)
            found += counted(labels.crop(beyond), axis)
        return touching_rows(found)

    def reduce(self, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        rows = touching_rows(zip(*rows.to_pydict().values(), strict=True))
        nothing = rows.slice(0, 0)
        return (nothing, rows) if cell.box == cell.bounds else (rows, nothing)


class NeverFinal(Touching):
    """Sends rows up where there is nothing above."""

    def reduce(self, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        return rows, rows.slice(0, 0)


class Neighbours(Touching):
    """How many others each object touches, of final rows of which several have the same key."""

    shape = ReducedRows(key=("one",))

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        ids, counts = np.unique(rows["one"].to_numpy(), return_counts=True)
        return pa.table({"one": ids, "others": counts})


class NoneLeft(Joined):
    """Leaves no row, and knows of which boxes it was given none."""

    without: ClassVar[set[Box]] = set()

    def reduce(self, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        self.without.update([] if len(rows) else [cell.box])
        up, final = super().reduce(cell, rows)
        return up, final.slice(0, 0)


def along(box: Box, axis: int) -> Box:
    return box.grow((int(axis == 0), int(axis == 1), int(axis == 2)))


def pairs(array: Array, axis: int) -> set[tuple[int, int]]:
    """Which two labels lie beside each other along an axis."""
    return {(a, b) for a, b, _ in counted(Chunk(array, Box.of_size(array.shape), (1.0, 1.0, 1.0)), axis)}


def counted(chunk: Chunk, axis: int) -> list[tuple[int, int, int]]:
    """The same with the number of faces that they share."""
    array = chunk.array
    ends = [np.take(array, np.arange(n, array.shape[axis] - 1 + n), axis).ravel() for n in range(2)]
    both = np.stack(ends, 1)
    found, counts = np.unique(both[(both != 0).all(axis=1)], axis=0, return_counts=True)
    return [(a, b, n) for (a, b), n in zip(found.tolist(), counts.tolist(), strict=True)]


def joins(found: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(a, b) for a, b in found if a != b and (a + b) % 5 < 2}


def roots_of(found: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Of each of the ids in pairs the smallest that it is joined to."""
    parents: dict[int, int] = {}

    def root(id: int) -> int:
        while parents.setdefault(id, id) != id:
            id = parents[id]
        return id

    for a, b in found:
        low, high = sorted((root(a), root(b)))
        parents[high] = low
    return {id: root(id) for id in parents}


def joined_in(labels: Array) -> dict[int, int]:
    """The same for a whole volume."""
    alone = {(id, id) for id in np.unique(labels[labels != 0]).tolist()}
    return roots_of(alone.union(*(joins(pairs(labels, axis)) for axis in range(3))))


def joined_rows(rows: Iterable[tuple[int, int, int, int]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(JOINED.names, row, strict=True)) for row in rows], JOINED)


def touching_rows(found: Iterable[tuple[int, int, int]]) -> pa.Table:
    total: dict[tuple[int, int], int] = {}
    for a, b, count in found:
        if a != b:
            pair = (min(a, b), max(a, b))
            total[pair] = total.get(pair, 0) + count
    rows = [{"one": one, "two": two, "faces": count} for (one, two), count in total.items()]
    return pa.Table.from_pylist(rows, TOUCHING)


def job_of(folder: Path, task: str, chunk: Vec, tiles: str = "WholeTiles", **keys: Any) -> Job:
    make_layer(folder / "image", np.random.default_rng(3).integers(1, 250, SIZE).astype(np.uint16))
    layers = {name: str(folder / name) for name in ("image", "labels")}
    made = {TASKS + tiles: {"image": "image", "labels": "labels", **keys}}
    return make_job(folder, layers, [made, {OWN + task: {"labels": "labels"}}], chunk=chunk, storage=chunk)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("tiles", ["WholeTiles", "Tiles"])
def test_objects_that_hang_together_are_found_across_all_blocks(
    tmp_path: Path, chunk: Vec, tiles: str
) -> None:
    """Filed by space where labels are connected, as their ids say where they lie; else in one file."""
    job = job_of(tmp_path, "Joined", chunk, tiles, **({"level": 40} if tiles == "Tiles" else {}))
    assert run_job(job) == "complete"
    expected = joined_in(read_layer(tmp_path / "labels"))
    assert len(set(expected.values())) < len(expected) / 2
    table = tmp_path / "work" / "tables" / "joined"
    found = read_table(table)
    assert dict(zip(found["id"].to_pylist(), found["joined"].to_pylist(), strict=True)) == expected
    assert len(found) == len(expected)
    info = open_plan(job).products["joined", 0].info
    files = [pq.read_table(file)["id"].to_numpy() for file in sorted(table.glob("*.parquet"))]
    assert len(files) == len(info.grid)
    assert (len(files) > 1) == (tiles == "WholeTiles" and max(chunk) < 20)
    for index, ids in enumerate(files):
        assert (np.diff(ids.astype(np.int64)) > 0).all()
        box = info.grid.box(index)
        voxels = id_voxels(ids, SIZE)
        assert ((voxels >= box.start) & (voxels < box.stop)).all()


def test_final_rows_of_a_part_are_those_of_its_voxels(tmp_path: Path) -> None:
    """Objects that the box cuts may be named by voxels beyond it."""
    job = job_of(tmp_path, "Joined", (16, 16, 16))
    box = Box((66, 5, 7), (90, 66, 41))
    assert run_job(job, box) == "complete"
    plan = open_plan(job, box)
    work = Path(plan.work.removeprefix("file://"))
    made = plan.products["labels", 0].info.bounds
    labels = read_layer(work / "layers" / "labels")[plan.steps[1].region.slices(made.start)]
    found = read_table(work / "tables" / "joined")
    assert dict(zip(found["id"].to_pylist(), found["joined"].to_pylist(), strict=True)) == joined_in(labels)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_rows_without_an_id_lie_in_one_file_in_the_order_of_their_key(tmp_path: Path, chunk: Vec) -> None:
    assert run_job(job_of(tmp_path, "Touching", chunk)) == "complete"
    labels = Chunk(read_layer(tmp_path / "labels"), Box.of_size(SIZE), (1.0, 1.0, 1.0))
    whole = touching_rows(pair for axis in range(3) for pair in counted(labels, axis))
    (file,) = (tmp_path / "work" / "tables" / "touching").glob("*.parquet")
    assert pq.read_table(file).equals(whole.sort_by([("one", "ascending"), ("two", "ascending")]))


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert run_job(job_of(tmp_path, "Joined", (16, 16, 16), "Tiles", level=1000)) == "complete"
    for file in (tmp_path / "work" / "tables" / "joined").glob("*.parquet"):
        assert pq.read_table(file).column_names == ["id", "joined"]


def test_columns_are_those_of_the_last_block(tmp_path: Path) -> None:
    """Where a cell that finishes rows was sent none: it is itself no block that could be reduced."""
    NoneLeft.without.clear()
    assert run_job(job_of(tmp_path, "NoneLeft", (16, 16, 16))) == "complete"
    assert NoneLeft.without == {Box.of_size(SIZE)}
    files = (tmp_path / "work" / "tables" / "joined").glob("*.parquet")
    assert [pq.read_table(file).column_names for file in files] == [["id", "joined"]] * 4


def test_rows_of_one_key_are_finished_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.engine.worker.parts.BATCH", 2)
    assert run_job(job_of(tmp_path, "Neighbours", (31, 33, 9))) == "complete"
    labels = Chunk(read_layer(tmp_path / "labels"), Box.of_size(SIZE), (1.0, 1.0, 1.0))
    whole = touching_rows(pair for axis in range(3) for pair in counted(labels, axis))
    ids, counts = np.unique(whole["one"].to_numpy(), return_counts=True)
    assert counts.max() > 2
    (file,) = (tmp_path / "work" / "tables" / "touching").glob("*.parquet")
    assert pq.read_table(file).equals(pa.table({"one": ids, "others": counts}))


def test_all_that_is_written_is_known(tmp_path: Path) -> None:
    """So a restart clears it, and no row lies there twice."""
    job = job_of(tmp_path, "Joined", (16, 16, 16))
    assert run_job(job) == "complete"
    plan, folder = open_plan(job), Folder(job.work)
    named = [names for url, names in names_of(plan, plan.steps[1], Parts(folder)) if url == plan.work]
    there = {name for name in folder.list() if name.startswith("parts/Joined")}
    assert there == {name for names in named for name in names}
    sent = [pa.ipc.open_file(unseal(folder.get(name), name)).read_all() for name in there if "-to-" in name]
    assert sum(map(len, sent)) == len(read_table(tmp_path / "work" / "tables" / "joined"))


def test_what_goes_up_from_the_root_is_an_error(tmp_path: Path) -> None:
    job = job_of(tmp_path, "NeverFinal", (200, 200, 200))
    assert run_job(job) == "incomplete"
    plan = open_plan(job)
    with pytest.raises(WrongResult, match="rows up from the last block"):
        Worker(plan, "alone").do(plan.stage_index("NeverFinal"), 0)


@given(st.permutations(range(12)))
def test_reduce_sees_no_order_in_which_children_came(order: list[int]) -> None:
    rows = pa.table({"id": [1, 1, 2] * 4, "value": [n % 5 for n in range(12)], "list": [[1]] * 12})
    assert in_key_order(rows.take(order), ("id",)).equals(in_key_order(rows, ("id",)))
