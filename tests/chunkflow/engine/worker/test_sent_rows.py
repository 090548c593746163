"""Rows that a task sends to other cells: all of them arrive, wherever the table had them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chunkflow.data import tables
from chunkflow.data.folder import Folder
from chunkflow.data.info import LayerInfo
from chunkflow.engine.run.outputs import names_of
from chunkflow.engine.worker.parts import Parts
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.task import Cell, Layout, Objects, Out, Result, SentRows, Task
from tests.support.files.annotation_layers import make_rows, write_table
from tests.support.jobs import make_job, read_table, run_job

PLACES: Vec = (40, 40, 40)


class Refile(Task):
    """File rows by where their centroids lie, twice where `double` says so; none of an odd block along x."""

    shape = SentRows(row_by_row=True)

    objects: Objects
    placed: Objects = Out()
    double: int = 0

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"placed": layout.main.as_table(PLACES)}

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return Grid(region, PLACES, layout.main.volume.start)

    def map(self, cell: Cell, objects: pa.Table) -> Result:
        grid = self.gathers(cell.layout, cell.bounds)
        places = np.stack([objects[axis].to_numpy() for axis in "xyz"], 1) - cell.volume.start
        cells = [grid.index(tuple(int(n) for n in place)) for place in places // PLACES]
        rows = objects.append_column("cell", pa.array(cells, pa.int64()))
        again = rows.filter(pa.array(rows["id"].to_numpy() % 7 < self.double))
        return pa.concat_tables([rows, again])

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        if not len(rows):
            return make_rows(0).drop_columns(["dapi_mean"])
        return rows.sort_by("id").append_column("filed", pa.array([cell.index] * len(rows), pa.int64()))


@pytest.mark.parametrize("cell", [None, (64, 64, 64), (256, 256, 256)])
def test_all_that_is_sent_arrives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: Sequence[int]
) -> None:
    monkeypatch.setattr(tables, "BATCH", 37)
    rows = make_rows(500, apart=20.0).drop_columns(["dapi_mean"])  # has values that equal not even themselves
    table = write_table(tmp_path / "table", rows, cell and (cell[0], cell[1], cell[2]))
    task = {"tests.chunkflow.engine.worker.test_sent_rows:Refile": {"objects": "objects", "double": 2}}
    job = make_job(tmp_path, {"objects": table}, [task])
    assert run_job(job) == "complete"

    found = read_table(tmp_path / "work" / "tables" / "placed")
    twice = rows.filter(pa.array(rows["id"].to_numpy() % 7 < 2))
    expected = pa.concat_tables([rows, twice]).sort_by("id")
    assert found.drop_columns(["filed"]).equals(expected.combine_chunks())

    plan = open_plan(job)
    folder = Folder(plan.work)
    parts = Parts(folder)
    named = {
        name for url, names in names_of(plan, plan.steps[0], parts) if url == plan.work for name in names
    }
    assert {name for name in folder.list() if name.startswith("parts/")} == named  # a restart clears them all


def test_a_part_that_is_missing_is_no_silent_gap(tmp_path: Path) -> None:
    parts = Parts(Folder(f"file://{tmp_path}"))
    rows = pa.table({"id": pa.array([1], pa.uint64())})
    parts.put("step", 0, (), sent=[(4, rows)])
    parts.put("step", 1, (), sent=[])
    assert parts.gathered("step", 2, 4)["id"].to_pylist() == [1]
    assert len(parts.gathered("step", 2, 3)) == 0
    (tmp_path / "parts/step/0000/0-to-4.arrow").unlink()
    with pytest.raises(Exception, match="is missing"):
        parts.gathered("step", 2, 4)
    with pytest.raises(Exception, match="is missing"):
        parts.gathered("step", 3, 4)
