"""One runner at a time, Ctrl-C, and a job whose runner and workers are killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import numpy as np
import psutil

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import Decided, Event
from chunkflow.jobs.planned import open_plan
from tests.support.job_process import HELD, OVERTAKEN
from tests.support.jobs import ended_after, make_job, make_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same
from tests.support.slow_jobs import ENVIRONMENT, OWN, ROOT, SCRIPT, slow_job


def runner_of(job: Job, folder: Path, *more: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A process that runs the job."""
    path = folder / "job.json"
    path.write_text(job.model_dump_json())
    command = [sys.executable, str(SCRIPT), str(path), *more]
    process = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return ended_after(process)


def done_in(job: Job) -> int:
    return sum(stage.done for stage in Ledger.load(Folder(job.work)).state.stages.values())


def wait_until_begun(job: Job, cells: int = 1) -> None:
    while done_in(job) < cells:
        time.sleep(0.05)


def as_run_at_once(job: Job, folder: Path) -> None:
    assert_all_accounted(job)
    clean = slow_job(folder / "clean")
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "against a run without any trouble")


def test_ctrl_c_finishes_what_is_in_hand_and_the_job_goes_on_later(tmp_path: Path) -> None:
    job = slow_job(tmp_path, pause=0.2)
    with runner_of(job, tmp_path) as process:
        wait_until_begun(job)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    state = Ledger.load(Folder(job.work)).state
    assert state.ended == "interrupted"
    done = done_in(job)
    assert 0 < done < sum(len(stage.grid) for stage in open_plan(job).stages)
    assert not any(stage.causes for stage in state.stages.values())
    assert run_job(job) == "complete"
    assert sum(stage.repeats for stage in Ledger.load(Folder(job.work)).state.stages.values()) == 0
    as_run_at_once(job, tmp_path)


def test_a_second_runner_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    job = slow_job(tmp_path, pause=0.3)
    with runner_of(job, tmp_path) as first:
        wait_until_begun(job)
        with runner_of(job, tmp_path) as second:
            said, _ = second.communicate(timeout=60)
        assert second.returncode == HELD, said
        assert f"process {first.pid}" in said
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 0, said
    as_run_at_once(job, tmp_path)


def test_a_paused_runner_is_overtaken_and_stops_at_its_next_write(tmp_path: Path) -> None:
    job = slow_job(tmp_path, pause=0.3)
    with runner_of(job, tmp_path) as first:
        wait_until_begun(job)
        first.send_signal(signal.SIGSTOP)
        with runner_of(job, tmp_path) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "begun\n"
            first.send_signal(signal.SIGCONT)
            said, _ = first.communicate(timeout=60)
            assert first.returncode == OVERTAKEN, said
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 0, said
    runs = Ledger.load(Folder(job.work)).state.runs
    assert [run[1] for run in runs] == [first.pid, second.pid]
    as_run_at_once(job, tmp_path)


def ray_address() -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def actors() -> list[psutil.Process]:
    """The workers' processes in the cluster of these tests: descendants of this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Actor"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def share_done(job: Job) -> float:
    """How many of a job's slow cells its ledger says are done."""
    slow = Ledger.load(Folder(job.work)).state.stages.get("Faulty")
    return slow.done / slow.cells if slow else 0.0


def test_runner_and_workers_are_killed_again_and_again(tmp_path: Path, ray_here: None) -> None:
    job = slow_job(tmp_path, pause=0.6)
    dice = random.Random(1)
    kills = 0
    for turn in range(1, 5):
        with runner_of(job, tmp_path, ray_address(), "3") as process:
            share = turn / 5 if turn < 4 else 2.0  # the fourth run may end
            allowed = kills + 2  # a cell that is alone when its worker ends may be so twice
            while process.poll() is None and share_done(job) < share:
                time.sleep(dice.random() * 0.4)
                found = actors()
                if found and kills < allowed and dice.random() < 0.6:
                    with suppress(ProcessLookupError):  # it has ended by itself
                        os.kill(dice.choice(found).pid, signal.SIGKILL)
                        kills += 1
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
    assert process.returncode == 0
    assert kills >= 3
    runs = Ledger.load(Folder(job.work)).state.runs
    assert len(runs) >= 4
    as_run_at_once(job, tmp_path)


def test_values_decided_before_the_runner_was_killed_are_kept(tmp_path: Path) -> None:
    """What prepare decided is in the ledger; the next run goes on with it."""
    make_layer(tmp_path / "image", np.full((64, 32, 32), 7, np.uint16))
    (tmp_path / "marks").mkdir()
    tasks = [
        {OWN + "Tiles": {"image": "image", "labels": "labels"}},
        {
            OWN + "Faulty": {
                "image": "image",
                "labels": "slow",
                "marks": str(tmp_path / "marks"),
                "pause": 0.3,
            }
        },
    ]
    layers = {name: str(tmp_path / name) for name in ("image", "labels", "slow")}
    job = make_job(tmp_path, layers, tasks, chunk=[32, 32, 32], storage=[32, 32, 32], heartbeat=0.25)
    with runner_of(job, tmp_path) as process:
        while not Ledger.load(Folder(job.work)).state.stages.get("Tiles.prepare"):
            time.sleep(0.05)
        while Ledger.load(Folder(job.work)).state.stages["Tiles.prepare"].prepared is None:
            time.sleep(0.05)
        process.kill()
        process.wait()
    decided: list[Decided] = []

    def listen(event: Event) -> None:
        if isinstance(event, Decided):
            decided.append(event)

    assert run_job(job, listeners=[listen]) == "complete"
    assert [dict(event.values) for event in decided] == [{"level": 7}]
