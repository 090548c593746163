"""A task says what becomes of its rows; one whose methods say something else is no task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from chunkflow.geometry import Box, Grid
from chunkflow.shapes import Shape
from chunkflow.task import Cell, Layout, MergedRows, ReducedRows, RowByRow, SentRows, Task, Voxels


def merge(self: Task, rows: pa.Table) -> pa.Table:
    return rows


def gathers(self: Task, layout: Layout, region: Box) -> Grid:
    return Grid.whole(region)


def reduce(self: Task, cell: Cell, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    return rows, rows.slice(0, 0)


NEEDS = [(merge, MergedRows()), (gathers, SentRows()), (reduce, ReducedRows())]


@pytest.mark.parametrize(("method", "shape"), NEEDS)
def test_a_method_and_its_shape_come_together(method: Callable[..., Any], shape: Shape) -> None:
    name = method.__name__
    with pytest.raises(TypeError, match=rf"Mine defines {name}.*`shape = {type(shape).__name__}\(\)`"):
        task_class({name: method})
    with pytest.raises(TypeError, match=f"Mine declares .*so it must define {name}"):
        task_class({"shape": shape})
    assert task_class({"shape": shape, name: method}).shape == shape


@pytest.mark.parametrize("shape", [Voxels(), RowByRow()])
def test_what_leaves_no_rows_finishes_none(shape: Shape) -> None:
    def finish(self: Task, cell: Cell, rows: pa.Table) -> pa.Table:
        return rows

    said = "Mine defines finish, but declares .*, which leaves no rows to finish; declare another shape"
    with pytest.raises(TypeError, match=said):
        task_class({"finish": finish, "shape": shape})
    parent = task_class({"shape": MergedRows(), "merge": merge, "finish": finish})
    assert type("Child", (parent,), {"__module__": __name__}).finish is finish


@pytest.mark.parametrize("key", ["id", (), ["id"], ("id", 3)])
def test_rows_are_sorted_by_the_names_of_columns(key: Any) -> None:
    with pytest.raises(TypeError, match=r"key takes the names of columns, as in ReducedRows\(key="):
        ReducedRows(key)


def test_a_class_in_place_of_a_shape_is_refused() -> None:
    with pytest.raises(TypeError, match=r"must be a shape such as MergedRows\(\)"):
        task_class({"shape": RowByRow})


def task_class(body: dict[str, Any]) -> type[Task]:
    return type("Mine", (Task,), {"__module__": __name__, **body})


@pytest.mark.parametrize(
    ("shape", "row_by_row", "leaves_rows"),
    [
        (Voxels(), False, False),
        (RowByRow(), True, False),
        (MergedRows(), False, True),
        (MergedRows(row_by_row=True), True, True),
        (SentRows(row_by_row=True), True, True),
        (ReducedRows(("one", "two")), False, True),
    ],
)
def test_what_a_shape_says(shape: Shape, row_by_row: bool, leaves_rows: bool) -> None:
    assert (shape.row_by_row, shape.leaves_rows) == (row_by_row, leaves_rows)
