"""A run is ended in good order through its work folder, by whoever may write there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import Event, Started
from chunkflow.errors import BadInput
from chunkflow.jobs.work import Work
from cluster.submission.jobs import Submission
from cluster.submission.submitted import stop_run
from tests.support.commands import Command
from tests.support.jobs import run_job


def test_a_run_that_is_asked_to_stop_ends_in_good_order(lab: Path, command: Command) -> None:
    job = Job.from_file(lab / "job.yaml")
    asked: list[bool] = []
    in_flight: list[int] = []

    def stop_at_once(event: Event) -> None:
        if isinstance(event, Started):
            work = Work.open(job.work)
            asked.append(isinstance(stop_run(job.work), Work))
            in_flight.append(next(work.until_ended()))

    assert run_job(job, listeners=[stop_at_once]) == "interrupted"
    assert (asked, in_flight) == ([True], [0])
    ended = Work.open(job.work)
    assert not ended.stop()
    assert list(ended.until_ended()) == []
    told = command("stop", "work")
    assert (told.code, "the last run ended interrupted" in told.err) == (2, True)


def test_a_work_folder_that_cannot_be_read_is_not_taken_for_one_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match=rf"^Nothing runs in {tmp_path}/nowhere\.$"):
        stop_run(f"file://{tmp_path}/nowhere")

    def refuse(folder: Folder) -> Ledger:
        raise BadInput("This ledger is of a later chunkflow.")

    monkeypatch.setattr(Ledger, "load", refuse)
    with pytest.raises(BadInput, match="is of a later chunkflow"):
        stop_run(f"file://{tmp_path}/nowhere")
    submission = Submission("raysubmit_1", "rat", "nowhere", "RUNNING", 0.0)
    stopped: list[str] = []
    jobs = SimpleNamespace(stop=stopped.append)
    monkeypatch.setattr("cluster.submission.submitted.find", lambda work, address: (jobs, submission))
    stop_run(f"file://{tmp_path}/nowhere", now=True)
    assert stopped == ["raysubmit_1"], "which asks nothing of the folder"
