"""The forecast of a job as a notebook shows it: numbers by task, a plain and an HTML table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.cost.job_forecast import forecast_job
from chunkflow.engine.cost.measures import CellSeconds
from chunkflow.engine.planning.plan import Plan
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    make_layer(tmp_path / "dapi", np.zeros((64, 64, 64), np.uint16), chunk=(16, 16, 16))
    layers = {name: str(tmp_path / name) for name in ("dapi", "nuclei")}
    tasks = [
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 6, "threshold": 200.0}},
        {"measure": {"labels": "nuclei", "images": ["dapi"]}},
    ]
    return open_plan(make_job(tmp_path, layers, tasks, chunk=[32, 32, 32], storage=[16, 16, 16]))


def test_what_a_job_takes_is_told_by_task(plan: Plan) -> None:
    found = forecast_job(plan, workers=4)
    assert [(task.name, task.cells) for task in found.tasks] == [("segment", 8), ("measure", 8)]
    assert (found.chunk, found.workers) == ((32, 32, 32), 4)
    assert found.memory == max(task.most_memory for task in found.tasks)
    assert (found.total_seconds, found.unmeasured) == (None, ["segment", "measure"])
    assert "time" not in found.head
    lines = repr(found).splitlines()
    assert lines[0].startswith("Chunks of [32, 32, 32] voxels; 4 workers of at most ")
    assert lines[1].split()[:2] == ["task", "chunks"]
    assert lines[2].split()[:2] == ["segment", "8"]


def test_the_time_is_told_where_it_was_measured(plan: Plan) -> None:
    measured = CellSeconds(voxels=32**3, cells=2, seconds=3.0, squares=4.5)
    found = forecast_job(plan, 4, {"segment": measured})
    assert found.total_seconds == pytest.approx(8 * 1.5 / 4)
    assert found.unmeasured == ["measure"]
    assert found.throughputs == {"segment": pytest.approx(64**3 / (8 * 1.5 / 4) / 1000)}
    assert found.rows()[0][-2:] == ("1.50", "3.0 s")
    assert found.rows()[1][-2:] == ("", "")
    assert "About 3.0 s in all, without measure" in repr(found)


def test_a_notebook_shows_a_table(plan: Plan) -> None:
    page = forecast_job(plan, 4)._repr_html_()
    assert page.count("<tr>") == 3
    assert "<td>segment</td><td>8</td>" in page
