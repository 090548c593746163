"""The public API: what is given arrives as it is, and a work folder tells the truth of its run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import chunkflow as cf
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.opening import open_run
from chunkflow.jobs.budget import OVER_BUDGET
from chunkflow.jobs.planned import open_plan
from cluster.submission.jobs import Submission
from tests.support.smooth_jobs import smooth_job


def test_the_size_of_voxels_is_taken_as_it_is_given(brain: Path, tmp_path: Path) -> None:
    size = (1234.567, 0.25, 12345.678)
    work = cf.ingest(brain / "stack.npy", tmp_path / "stack", size, axes="xyz", serial=True)
    assert work.volume("layer").info.voxel_size == size


def test_a_run_that_its_budget_ended_is_told_from_one_that_failed(brain: Path) -> None:
    status = replace(cf.open(brain / "made").status(), ended=OVER_BUDGET, cost=2.5)
    with pytest.raises(cf.Incomplete, match=r"^The budget ended the run in /w: (\d+) of \1 .* \$2\.50 was"):
        status.complete("file:///w")
    with pytest.raises(cf.Incomplete, match=r"^The job in /w is incomplete: 0 chunks to be done again"):
        replace(status, ended="incomplete").complete("file:///w")


def begun_nowhere(folder: Path) -> cf.Work:
    """The work folder of a job that was submitted, and has not run yet."""
    url = f"file://{folder / 'later'}"
    return cf.Work(url, Ledger.load(Folder(url)))


LOOKS: dict[str, Callable[[cf.Work], Any]] = {
    "status": cf.Work.status,
    "job": cf.Work.job,
    "box": cf.Work.box,
    "plan": cf.Work.plan,
    "table": cf.Work.table,
    "volumes": cf.Work.volumes,
    "unread": cf.Work.unread,
    "run": cf.Work.run,
    "report": cf.Work.report,
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_job_that_has_not_run_yet_is_said(tmp_path: Path, look: str) -> None:
    with pytest.raises(cf.BadInput, match=f"^No job has run in {tmp_path}/later yet"):
        LOOKS[look](begun_nowhere(tmp_path))


def test_a_work_folder_follows_its_ledger(brain: Path, tmp_path: Path) -> None:
    work = begun_nowhere(tmp_path)
    said = f"No job has run in {tmp_path}/later yet."
    assert (repr(work), work._repr_html_()) == (said, f"<p>{said}</p>")
    layers = {"dapi": brain / "dapi", "nuclei": tmp_path / "nuclei"}
    job = cf.Job.read(brain / "job.yaml", layers=layers, work=tmp_path / "later")
    job.run(serial=True)
    assert work.table_info("objects").url == f"{work.url}/tables/objects"
    assert (work.job().name, type(work.job())) == ("rat", cf.Job)
    assert repr(work).startswith("rat: complete")
    assert "rat: complete" in work._repr_html_()


HEARTBEAT = 0.2


@contextmanager
def a_run_elsewhere(folder: Path, clock: float) -> Iterator[tuple[Job, Ledger]]:
    """The ledger of a run on a machine whose clock is behind by so many seconds, or ahead."""
    job = smooth_job(folder, heartbeat=HEARTBEAT)
    here = SimpleNamespace(**{**vars(time), "time": lambda: time.time() + clock})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chunkflow.jobs.status.time", here)
        with open_run(open_plan(job), {}) as ledger:
            yield job, ledger


def waiting(folder: Path) -> tuple[threading.Thread, list[Any]]:
    """Someone who waits for the run in a work folder, and what comes of it."""
    heard: list[Any] = []

    def wait() -> None:
        try:
            heard.append(cf.open(folder).wait(timeout=60).ended)
        except BaseException as error:
            heard.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread, heard


def test_a_run_is_waited_for_whatever_its_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.jobs.work.POLL_SECONDS", HEARTBEAT / 4)
    with a_run_elsewhere(tmp_path, 3600) as (job, ledger):
        thread, heard = waiting(tmp_path / "work")
        stopping = cf.open(job.work).until_ended()
        for _ in range(15):
            time.sleep(HEARTBEAT)
            ledger.flush()
            assert (next(stopping), heard) == (0, [])
        ledger.record_ended("complete")
    thread.join(60)
    assert heard == ["complete"]
    assert list(stopping) == []


def test_a_run_that_came_since_the_work_folder_was_opened_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.jobs.work.POLL_SECONDS", HEARTBEAT / 4)
    with a_run_elsewhere(tmp_path, 0) as (job, ledger):
        ledger.record_ended("complete")
    work, stopping, heard = cf.open(job.work), cf.open(job.work).until_ended(), []
    thread = threading.Thread(target=lambda: heard.append(work.wait(timeout=60).ended), daemon=True)
    with a_run_elsewhere(tmp_path, 0) as (_, ledger):
        thread.start()
        assert next(stopping) == 0
        time.sleep(2 * HEARTBEAT)
        assert heard == []
        ledger.record_ended("complete")
    thread.join(60)
    assert heard == ["complete"]


def test_a_run_that_falls_silent_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last heartbeats may seem to come for an hour yet."""
    monkeypatch.setattr("chunkflow.jobs.work.POLL_SECONDS", HEARTBEAT / 4)
    with a_run_elsewhere(tmp_path, -3600) as (_, ledger):
        ledger._heartbeat.stop()
        thread, heard = waiting(tmp_path / "work")
        thread.join(60)
        assert [type(error) for error in heard] == [cf.Interrupted]


def test_storage_that_does_not_answer_for_a_while_ends_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.jobs.work.POLL_SECONDS", HEARTBEAT / 4)
    with a_run_elsewhere(tmp_path, 0) as (job, ledger):
        work, refresh, failed = cf.open(job.work), Ledger.refresh, []

        def stumble(self: Ledger) -> State:
            if self is work.ledger and len(failed) < 3:
                failed.append(True)
                raise cf.StorageError("The bucket does not answer.")
            if self is work.ledger:
                ledger.record_ended("complete")
                ledger.flush(now=True)
            return refresh(self)

        monkeypatch.setattr(Ledger, "refresh", stumble)
        assert work.wait(timeout=60).ended == "complete"
        assert len(failed) == 3


def test_a_run_that_has_not_begun_is_waited_for(brain: Path, tmp_path: Path) -> None:
    made = cf.open(brain / "made")
    assert made.wait().ended == "complete"
    for work in (begun_nowhere(tmp_path), replace(made, runs_before=1)):
        with pytest.raises(TimeoutError, match=r"has not ended within 0\.2 seconds"):
            work.wait(timeout=0.2)


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
def test_a_submitted_job_whose_driver_has_died_is_waited_for_no_longer(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = Submission("raysubmit_1", "rat", "later", state, 0.0)
    jobs = SimpleNamespace(address="http://head:8265")
    monkeypatch.setattr("chunkflow.jobs.work.ASK_SECONDS", 0.0)
    monkeypatch.setattr("cluster.submission.submitted.find", lambda work, address: (jobs, submission))
    said = r"submitted to http://head:8265 ended \(failed\) before its run began. See: chunkflow logs"
    raised = (cf.Interrupted, said) if state == "FAILED" else (TimeoutError, "within 2 seconds")
    with pytest.raises(raised[0], match=raised[1]):
        begun_nowhere(tmp_path).wait(timeout=2)
