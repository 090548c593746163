"""Shapes of tasks: whether `map` makes rows, and how these become a table or files.

A task declares one shape, in one line, as `shape = MergedRows()`; the engine asks nothing else. `row_by_row`
says that the first input is a table, whose rows `map` is given in pieces, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Voxels:
    """`map` makes voxels or files, and no rows."""

    needs: ClassVar[str] = ""
    row_by_row: ClassVar[bool] = False
    leaves_rows: ClassVar[bool] = False


@dataclass(frozen=True)
class RowByRow:
    """`map` makes of each row of a table at most one, of the same id; the new table is filed like the old."""

    needs: ClassVar[str] = ""
    row_by_row: ClassVar[bool] = True
    leaves_rows: ClassVar[bool] = False


@dataclass(frozen=True)
class MergedRows:
    """Rows of the same id become one by `merge`, up a tree of 2x2x2 blocks, and go to `finish`."""

    row_by_row: bool = False

    needs: ClassVar[str] = "merge"
    leaves_rows: ClassVar[bool] = True
    key: ClassVar[tuple[str, ...]] = ("id",)


@dataclass(frozen=True)
class SentRows:
    """Each row goes to the cell of `gathers` that its column `cell` names; `finish` gets all that came."""

    row_by_row: bool = False

    needs: ClassVar[str] = "gathers"
    leaves_rows: ClassVar[bool] = True


@dataclass(frozen=True)
class ReducedRows:
    """All rows of a cell, then of each 2x2x2 block, go through `reduce` together.

    Some go up to the next block, the others are final and go to `finish`: by the cell of space that their id
    names, where the key is the id of connected labels, else all together, so that they must fit in memory.
    """

    key: tuple[str, ...] = ("id",)
    """The columns by which rows are sorted; several rows may have the same key, and are finished together."""

    needs: ClassVar[str] = "reduce"
    row_by_row: ClassVar[bool] = False
    leaves_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        key: object = self.key
        if not (isinstance(key, tuple) and key and all(isinstance(name, str) for name in key)):
            raise TypeError(f'key takes the names of columns, as in ReducedRows(key=("id",)), not {key!r}.')


Shape = Voxels | RowByRow | MergedRows | SentRows | ReducedRows


def check_shape(task: type, shape: object, finishes: bool) -> None:
    """Refuse a class whose shape and methods contradict each other; one that `finishes` defines `finish`."""
    if not isinstance(shape, Shape):
        raise TypeError(f"{task.__name__}: shape must be a shape such as MergedRows(), not {shape!r}.")
    for other in (MergedRows, SentRows, ReducedRows):
        defined, declared = hasattr(task, other.needs), isinstance(shape, other)
        if declared and not defined:
            raise TypeError(f"{task.__name__} declares {shape}, so it must define {other.needs}.")
        if defined and not declared:
            raise TypeError(
                f"{task.__name__} defines {other.needs}, but declares {shape}; "
                f"declare `shape = {other.__name__}()`."
            )
    if finishes and not shape.leaves_rows:
        raise TypeError(
            f"{task.__name__} defines finish, but declares {shape}, which leaves no rows to finish; "
            "declare another shape, or do it in map."
        )
