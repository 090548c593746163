"""One runner and several pools, each a process of its own, over a queue on a stand-in for SQS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

import chunkflow
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.serving import plan_of
from cli.jobs.run import retry
from cli.jobs.work import work
from tests.support.jobs import ended_after, run_job
from tests.support.own_tasks.faults import Faulty
from tests.support.same import all_made, assert_all_accounted, assert_same
from tests.support.slow_jobs import ROOT, slow_job
from tests.support.sqs import environment, make, new_queue

MAIN = """
from dataclasses import replace
from chunkflow.jobs import serving
from cli import main
serving.TIMING = replace(serving.TIMING, visibility=3, poll=1, held=1.0)
main.main()
"""
"""The command, for whose pools a lease is of seconds."""


def started(*words: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A command in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words],
        cwd=ROOT,
        env=os.environ | environment() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return ended_after(process)


def says(process: subprocess.Popen[str], words: str) -> None:
    """Read on to a line with these words."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"it never said {words!r}: {said}")


def ends(process: subprocess.Popen[str], code: int) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == code, said
    return said


def state_of(job: Job) -> State:
    return Ledger.load(Folder(job.work)).state


def wait_until_held(job: Job, processes: Sequence[subprocess.Popen[str]]) -> None:
    """Until a cell waits in each of these processes."""
    marks = marks_of(job)
    while not all((marks / f"held-{process.pid}").exists() for process in processes):
        time.sleep(0.05)


def kill_once_held(job: Job, pool: subprocess.Popen[str], hold: Path) -> None:
    """End a pool while it has cells in flight, and let the others go on."""
    wait_until_held(job, [pool])
    pool.kill()
    hold.unlink()


def marks_of(job: Job) -> Path:
    return Path(job.tasks[0].parameters["marks"])


def small(folder: Path) -> Job:
    return slow_job(folder, heartbeat=1.0).until("Count")


def assert_as_run_at_once(job: Job, folder: Path) -> None:
    assert_all_accounted(job)
    clean = small(folder / "clean")
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "against a run without other pools")


def job_with_queue(folder: Path) -> tuple[Job, Path]:
    job = small(folder).model_copy(update={"queue": new_queue()})
    path = folder / "job.yaml"
    path.write_text(job.model_dump_json())
    return job, path


def test_pools_share_a_job_drain_die_and_outlive_its_runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment().items():
        monkeypatch.setenv(variable, value)
    job, path = job_with_queue(tmp_path)
    hold = marks_of(job) / "hold"
    hold.touch()
    with ExitStack() as stack:
        pools = [stack.enter_context(started("work", job.work, "--serial")) for _ in range(2)]
        for pool in pools:
            says(pool, "Waiting for a run")
        runner = stack.enter_context(started("run", str(path), "--serial"))
        wait_until_held(job, [runner, *pools])
        pools[0].send_signal(signal.SIGTERM)
        says(pools[0], "Draining")
        runner.send_signal(signal.SIGINT)
        says(pools[1], "Draining")
        hold.unlink()
        ends(runner, 130)
        assert "back on the queue" in ends(pools[0], 130)
        steps = state_of(job).stages.values()
        assert sum(step.repeats for step in steps) == sum(sum(step.causes.values()) for step in steps) == 0
        assert len(state_of(job).stages["Faulty"].workers) == 3, "each pool has done what it had begun"
        assert state_of(job).stages["Faulty"].done < 16
        (marks_of(job) / f"held-{pools[1].pid}").unlink()
        hold.touch()
        threading.Thread(target=kill_once_held, args=(job, pools[1], hold), daemon=True).start()
        retry(job.work, serial=True)
    assert_as_run_at_once(job, tmp_path)
    work(job.work, 1, "", True, Path())
    assert "has ended: complete" in capsys.readouterr().out
    left = make(new_queue()).boto.list_queues(QueueNamePrefix=job.queue.removeprefix("sqs://"))
    assert "QueueUrls" not in left, "the queues of a complete job are removed"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("finished")
    job = small(folder)
    assert run_job(job) == "complete"
    return job


def test_a_job_without_a_queue_takes_no_other_pools(finished: Job) -> None:
    with pytest.raises(BadInput, match="names no queue"):
        work(finished.work, 1, "", True, Path())


def test_a_pool_whose_tasks_are_others_is_refused(
    finished: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = state_of(finished)
    assert plan_of(state, tmp_path).work == finished.work
    assert plan_of(state, Path()).work == finished.work, "its tasks may lie there, and be installed elsewhere"
    with monkeypatch.context() as patch:
        patch.setattr(Faulty, "version", Faulty.version + 1)
        with pytest.raises(BadInput, match="The tasks here are not those of the run"):
            plan_of(state, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(chunkflow, "__version__", "0.0.1")
        with pytest.raises(BadInput, match=r"here is 0\.0\.1: install the same"):
            plan_of(state, tmp_path)


def test_a_pool_takes_own_tasks_from_a_named_folder_alone(finished: Job, tmp_path: Path) -> None:
    state = state_of(finished)
    assert state.job is not None
    job = state.job.plan.job
    entry = job.tasks[0].model_copy(update={"type": "task_that_lies_beside_the_job:Own"})
    plan = state.job.plan.model_copy(update={"job": job.model_copy(update={"tasks": [entry]})})
    state.job = state.job.model_copy(update={"plan": plan})
    (Path(finished.work.removeprefix("file://")) / "task_that_lies_beside_the_job.py").write_text(
        "raise OSError"
    )
    state.versions["folder"] = finished.work.removeprefix("file://")
    with pytest.raises(BadInput, match=r"cannot be imported .* name their folder as `modules`"):
        plan_of(state, tmp_path)
