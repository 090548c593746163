"""A worker that does not write does every kind of cell and leaves no trace, with no runner to hear of."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunkflow.engine.ledger.heartbeat import FENCE_HEARTBEATS
from chunkflow.engine.worker import turns
from chunkflow.engine.worker.worker import Worker
from chunkflow.jobs.planned import open_plan
from tests.support.four_tasks import contents, job_of
from tests.support.jobs import run_job


def test_no_stage_writes(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    assert run_job(job) == "complete"
    before = contents(tmp_path)
    plan = open_plan(job)
    worker = Worker(plan, "replay", writes=False)
    for number, stage in enumerate(plan.stages):
        for cell in range(len(stage.grid)):
            worker.do(number, cell)
    assert {stage.kind for stage in plan.stages} == {"prepare", "map", "merge", "finish"}
    assert contents(tmp_path) == before


def test_no_word_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path)
    assert run_job(job) == "complete"
    worker = Worker(open_plan(job), "replay", writes=False)
    later = turns.clock() + FENCE_HEARTBEATS * job.heartbeat + 1
    monkeypatch.setattr(turns, "clock", lambda: later)
    worker.do(0, 0)
