"""A run without a terminal: from any thread, beside others, interrupted and gone on with, and silent."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow import api
from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import read_accounts
from chunkflow.engine.ledger.chain import Chain
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import State
from chunkflow.engine.planning.job import Job
from chunkflow.engine.run.events import CellDone, Ended, Event, Started
from chunkflow.errors import BadInput, Incomplete, Interrupted, StorageError
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from tests.support.jobs import make_job, make_layer, read_layer, run_job

OWN = "tests.support.own_tasks:"
SERIAL = Means(serial=True)
SMALL = {"chunk": [16, 16, 16], "storage": [16, 16, 16]}


def smoothing(folder: Path, seed: int = 3, **keys: Any) -> Job:
    """16 chunks of an image that is smoothed."""
    if not (folder / "image").exists():
        image = np.random.default_rng(seed).integers(0, 1000, (64, 32, 32)).astype(np.uint16)
        make_layer(folder / "image", image, chunk=(16, 16, 16))
    layers = {name: str(folder / name) for name in ("image", "smooth")}
    task = {OWN + "Smooth": {"image": "image", "smooth": "smooth"}}
    return make_job(folder, layers, [task], **(SMALL | keys))


def in_a_thread(run: Run) -> str:
    """Start a run and wait for it in a thread that ends with it."""
    came: Future[str] = Future()

    def all_of_it() -> None:
        try:
            run.start()
            came.set_result(run.wait())
        except BaseException as error:
            came.set_exception(error)

    thread = threading.Thread(target=all_of_it)
    thread.start()
    thread.join()
    return came.result()


def state_of(job: Job) -> State:
    return Ledger.load(Folder(job.work)).state


def assert_smoothed(job: Job, tmp_path: Path, seed: int = 3) -> None:
    clean = smoothing(tmp_path / "clean", seed)
    assert run_job(clean) == "complete"
    made, expected = (Path(one.layers["smooth"].url.removeprefix("file://")) for one in (job, clean))
    np.testing.assert_array_equal(read_layer(made), read_layer(expected))


def test_a_run_goes_on_in_any_thread_tells_its_listeners_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = smoothing(tmp_path)
    run = Run.of(job, SERIAL)
    heard: list[Event] = []
    run.listeners.append(heard.append)
    assert run.status == ""
    assert in_a_thread(run) == run.status == "complete"
    assert capfd.readouterr() == ("", "")
    kinds = [type(event) for event in heard]
    assert (kinds[0], kinds[-1], kinds.count(CellDone)) == (Started, Ended, 16)
    assert state_of(job).ended == "complete"
    assert len(read_accounts(job.work)) == 1
    assert len(list((tmp_path / "work" / "logs").iterdir())) == 1
    assert_smoothed(job, tmp_path)


def test_a_run_that_is_interrupted_keeps_what_is_done_and_the_next_does_the_rest(tmp_path: Path) -> None:
    job = smoothing(tmp_path)
    run = Run.of(job, SERIAL)
    heard: list[Event] = []

    def once(event: Event) -> None:
        if isinstance(event, CellDone) and not heard:
            heard.append(event)
            run.interrupt()

    run.listeners.append(once)
    with pytest.raises(Interrupted, match=r"what is done is kept\. Go on with: chunkflow retry"):
        in_a_thread(run)
    assert run.status == "interrupted"
    first = state_of(job)
    done = sum(step.done for step in first.stages.values())
    assert first.ended == "interrupted"
    assert 0 < done < 16
    assert in_a_thread(Run.of(job, SERIAL)) == "complete"
    last = state_of(job)
    assert sum(step.repeats for step in last.stages.values()) == 0
    assert len(last.runs) == 2
    assert_smoothed(job, tmp_path)


def test_a_run_that_is_interrupted_twice_ends_at_once(tmp_path: Path) -> None:
    job = smoothing(tmp_path)
    run = Run.of(job, SERIAL)

    def twice(event: Event) -> None:
        if isinstance(event, CellDone):
            run.interrupt()
            run.interrupt()

    run.listeners.append(twice)
    with pytest.raises(Interrupted, match="at once; what was recorded is kept"):
        in_a_thread(run)
    assert run.status == ""
    assert state_of(job).ended == "interrupted"
    assert in_a_thread(Run.of(job, SERIAL)) == "complete"
    assert_smoothed(job, tmp_path)


def test_the_stop_button_of_a_notebook_interrupts_the_run_that_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, waiting, heard = Run.of(smoothing(tmp_path), SERIAL), threading.Event(), threading.Event()
    result, interrupt = run._result.result, run.interrupt

    def waited_for() -> str:
        waiting.set()
        return result()

    def interrupted() -> None:
        interrupt()
        heard.set()

    monkeypatch.setattr(run._result, "result", waited_for)
    monkeypatch.setattr(run, "interrupt", interrupted)

    def press(event: Event) -> None:
        if isinstance(event, Started):
            assert waiting.wait(60)
            for _ in range(60):  # one that comes just as the wait begins is heard with the next
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                if heard.wait(1):
                    return
            raise AssertionError("the run was not interrupted")

    run.listeners.append(press)
    # what a shell runs in the background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run.start()
        with pytest.raises(Interrupted, match="what is done is kept"):
            run.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.status == "interrupted"


def test_what_is_asked_before_the_workers_are_up_is_done_when_they_are(tmp_path: Path) -> None:
    run = Run.of(smoothing(tmp_path), SERIAL)
    run.interrupt()
    with pytest.raises(Interrupted):
        in_a_thread(run)
    assert not any(step.done for step in state_of(run.plan.job).stages.values())


@pytest.mark.parametrize("means", [SERIAL, Means(workers=2)], ids=["serial", "ray"])
def test_two_runs_go_on_side_by_side_in_one_process(tmp_path: Path, means: Means, ray_here: None) -> None:
    jobs = [smoothing(tmp_path / str(seed), seed) for seed in (1, 2)]
    runs = [Run.of(job, means) for job in jobs]
    meet = threading.Barrier(2)
    met: set[int] = set()

    def listener(number: int) -> Callable[[Event], None]:
        def wait_for_the_other(event: Event) -> None:
            if isinstance(event, CellDone) and number not in met:
                met.add(number)
                meet.wait(60)

        return wait_for_the_other

    for number, run in enumerate(runs):
        run.listeners.append(listener(number))
        run.start()
    assert [run.wait() for run in runs] == ["complete", "complete"]
    assert met == {0, 1}
    for job, seed in zip(jobs, (1, 2), strict=True):
        assert_smoothed(job, tmp_path / f"check-{seed}", seed)


def test_what_cannot_be_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    job = smoothing(tmp_path)
    assert in_a_thread(Run.of(job, SERIAL)) == "complete"
    before = sorted(tmp_path.rglob("*"))
    (entry,) = job.tasks
    other = job.model_copy(
        update={"tasks": (entry.model_copy(update={"parameters": {**entry.parameters, "radius": 1}}),)}
    )
    with pytest.raises(BadInput, match=r"radius: 2 -> 1"):
        Run.of(other, SERIAL).start()
    assert sorted(tmp_path.rglob("*")) == before


def failing(folder: Path) -> Job:
    """One chunk, which fails."""
    make_layer(folder / "image", np.ones((16, 16, 16), np.uint16), chunk=(16, 16, 16))
    layers = {name: str(folder / name) for name in ("image", "labels")}
    return make_job(folder, layers, [{OWN + "WrongType": {"image": "image", "labels": "labels"}}], **SMALL)


def test_a_run_with_chunks_that_fail_is_incomplete(tmp_path: Path) -> None:
    run = Run.of(failing(tmp_path), SERIAL)
    with pytest.raises(Incomplete, match=r"1 chunk failed\. See: chunkflow failed"):
        in_a_thread(run)
    assert run.status == "incomplete"


def test_a_report_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: str) -> str:
        raise StorageError("the disk is full")

    monkeypatch.setattr(api, "write_report", fail)
    job = api.Job.model_validate(failing(tmp_path).model_dump())
    with (
        pytest.warns(UserWarning, match=r"report could not be written: the disk is full") as warned,
        pytest.raises(Incomplete, match="1 chunk failed"),
    ):
        job.run(serial=True)
    assert warned[0].filename == __file__


def test_what_was_done_since_a_run_was_planned_is_not_done_again(tmp_path: Path) -> None:
    job = smoothing(tmp_path)
    planned = Run.of(job, SERIAL)
    assert run_job(job) == "complete"
    heard: list[Event] = []
    planned.listeners.append(heard.append)
    assert in_a_thread(planned) == "complete"
    assert not any(isinstance(event, CellDone) for event in heard)
    assert len(state_of(job).runs) == 2


@pytest.mark.parametrize("chunk", [[16, 16, 16], None], ids=["given", "chosen"])
def test_the_ledger_and_the_accounts_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: list[int] | None
) -> None:
    job = smoothing(tmp_path, chunk=chunk)
    assert in_a_thread(Run.of(job, SERIAL)) == "complete"
    loaded, listed = [], []
    load, get_all = Chain.load, Folder.get_all
    monkeypatch.setattr(Chain, "load", lambda chain, decode: loaded.append(chain) or load(chain, decode))
    monkeypatch.setattr(
        Folder, "get_all", lambda folder, names: listed.extend(names) or get_all(folder, names)
    )
    assert in_a_thread(Run.of(job, SERIAL)) == "complete"
    assert len(loaded) == 1
    assert listed.count("ledger/0000000001.json") == 1
    assert len([name for name in listed if name.startswith("accounts/")]) == 1
