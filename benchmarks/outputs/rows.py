"""The most memory that one process holds as it goes through a table in one file, at two numbers of rows.

What must not grow with the rows: a task that makes rows of rows, `annotate`, and `export`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow as pa

from benchmarks.figure import Figure
from benchmarks.outputs.annotate import alone, points, run_annotate, run_tasks, write_table
from chunkflow.task import Cell, Objects, Out, Result, RowByRow, Task

WHAT = ("row_by_row", "annotate", "export")


class Halve(Task):
    """Makes of each row one with a column more."""

    shape = RowByRow()

    objects: Objects
    halves: Objects = Out()

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        return objects.append_column("half", pa.array(objects["x"].to_numpy() / 2))


def go(what: str, folder: Path) -> None:
    """What a process of its own does."""
    if what == "annotate":
        run_annotate(folder)
    elif what == "row_by_row":
        run_tasks(folder, [{"benchmarks.outputs.rows:Halve": {"objects": "objects"}}])
    else:
        from chunkflow.formats.export.export import export

        export(folder / "table", folder / "rows.csv")


def run(few: int = 1_000_000, many: int = 10_000_000) -> list[Figure]:
    """The peak of each at many rows, beside that at few."""
    found: dict[tuple[str, int], float] = {}
    for count in (few, many):
        for what in WHAT:
            folder = Path(tempfile.mkdtemp(prefix="bench-rows-"))
            try:
                write_table(folder / "table", points(count), one_file=True)
                found[what, count] = alone("rows_run.py", what, folder)["peak"] / 2**20
            finally:
                shutil.rmtree(folder)
    return [
        Figure(
            f"{what}: most memory at {many:,} rows",
            found[what, many],
            "MiB",
            found[what, few],
            f"at {few:,}",
            better="lower",
            target=0.9,
        )
        for what in WHAT
    ]


if __name__ == "__main__":
    for figure in run(*map(int, sys.argv[1:])):
        print(*figure.row(), sep=" | ")
