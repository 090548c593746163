"""Failures judged by cause, each caused for real: workers that crash, hang, run out of memory, are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellFailed, Event
from chunkflow.errors import WorkerLost
from cluster.workers.executor import RayExecutor
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

OWN = "tests.support.own_tasks:"


def an_image(size: tuple[int, int, int] = (64, 64, 64)) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 1000, size).astype(np.uint16)


def faulty_job(folder: Path, faults: dict[int, str], **parameters: Any) -> Job:
    """Eight cells that may go wrong, and eight that count what the first made."""
    folder.mkdir(exist_ok=True)
    (folder / "marks").mkdir(exist_ok=True)
    source = folder / "image"
    if not source.exists():
        make_layer(source, an_image())
    first = {"image": "image", "labels": "labels", "marks": str(folder / "marks"), "faults": faults}
    return make_job(
        folder,
        {"image": str(source), "labels": str(folder / "labels")},
        [
            {OWN + "Faulty": first | parameters},
            {OWN + "Count": {"labels": "labels", "objects": "objects"}},
        ],
        chunk=[32, 32, 32],
        storage=[32, 32, 32],
    )


def on_ray(job: Job, workers: int = 2, **options: Any) -> str:
    return run_job(job, executor=lambda plan: RayExecutor(plan), workers=workers, **options)


def state_of(job: Job) -> State:
    return Ledger.load(Folder(job.work)).state


def mended(job: Job, folder: Path) -> None:
    """Once the reason is gone, going on gives what a run without any fault gives."""
    (folder / "marks" / "mended").touch()
    assert run_job(job) == "complete"
    assert_all_accounted(job)
    clean = faulty_job(folder.with_name("clean"), {})
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "after mending")


def test_each_cell_is_judged_by_its_own_fault_and_all_else_is_done(tmp_path: Path, ray_here: None) -> None:
    folder = tmp_path / "job"
    faults = {0: "raise", 2: "exit", 3: "memory", 5: "flaky", 6: "hang"}
    job = faulty_job(folder, faults)
    failures: list[CellFailed] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellFailed):
            failures.append(event)

    assert on_ray(job, listeners=[listen], patience=3.0) == "incomplete"
    step = state_of(job).stages["Faulty"]
    causes = {index: failure.cause for index, failure in step.failures.items() if failure.final}
    assert causes == {0: "bug", 2: "crash", 3: "out of memory", 6: "no word"}
    assert step.done == 4
    assert "this cell cannot be done" in step.failures[0].traceback
    charged = {f.answer.index: f.attempt for f in failures if f.final}
    assert charged == {0: 3, 2: 3, 3: 3, 6: 3}
    assert len(list((folder / "marks").glob("5.*"))) == 4, "a storage error that went away"
    counted = state_of(job).stages["Count"]
    assert counted.done == 0, "every cell reads one voxel of a cell that failed"
    mended(job, folder)


def test_a_worker_killed_from_outside_costs_no_attempt(tmp_path: Path, ray_here: None) -> None:
    folder = tmp_path / "job"
    job = faulty_job(folder, {}, pause=0.4)
    executors: list[RayExecutor] = []

    def executor(plan: Any) -> RayExecutor:
        executors.append(RayExecutor(plan))
        return executors[0]

    def kill() -> None:
        while not (executors and executors[0].pids):
            time.sleep(0.02)
        time.sleep(0.6)
        os.kill(min(executors[0].pids.values()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    status = run_job(job, executor=executor, workers=2)
    killer.join()
    assert status == "complete"
    step = state_of(job).stages["Faulty"]
    assert step.causes["crash"] >= 1
    assert not step.failures
    mended(job, folder)


def test_a_worker_that_cannot_start_is_an_error_not_an_endless_loop(tmp_path: Path, ray_here: None) -> None:
    job = faulty_job(tmp_path / "job", {})
    entry = job.tasks[0].model_copy(update={"type": "no.such:Task"})
    other = job.model_copy(update={"tasks": [entry]})
    with pytest.raises(WorkerLost, match="cannot be imported"):
        run_job(job, executor=lambda plan: RayExecutor(replace(plan, job=other)), workers=1)
