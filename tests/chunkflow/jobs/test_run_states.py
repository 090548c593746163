"""The states of a run: begun once, alive from the first, heard by who listened, and left in good order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chunkflow.data.folder import Folder
from chunkflow.data.owned import OwnedPlaces
from chunkflow.engine.cost.accounts import read_accounts
from chunkflow.engine.ledger.chain import Held
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Executor
from chunkflow.engine.pool.staff import Staff
from chunkflow.engine.run.events import CellDone, Ended, Event, Said, Started
from chunkflow.engine.run.outputs import delete
from chunkflow.errors import BadInput, Overtaken
from chunkflow.jobs.log import read_log
from chunkflow.jobs.means import Means, SerialSite
from chunkflow.jobs.run import Run
from tests.support.four_tasks import contents
from tests.support.jobs import run_job
from tests.support.smooth_jobs import as_without_fault, smooth_job, state_of

SERIAL = Means(serial=True)
HEARTBEAT = 0.2
SLOW_SECONDS = 2.5
"""Longer than the silence after which another runner follows."""


def is_closed(run: Run) -> bool:
    """Whether another runner may follow at once."""
    last = Ledger.load(Folder(run.plan.work))._chain.last
    return last is not None and last.kind == "closed"


def begin(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let the executor of this process be as slow as Ray, which does `act` meanwhile."""
    made = SerialSite.executor

    def executor(
        self: SerialSite, plan: Plan, staff: Staff, owner: str, say: Callable[[str], None]
    ) -> Executor:
        say("Starting")
        act()
        return made(self, plan, staff, owner, say)

    monkeypatch.setattr(SerialSite, "executor", executor)


def test_a_run_lives_while_its_workers_are_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(monkeypatch, lambda: time.sleep(SLOW_SECONDS))
    run = Run.of(smooth_job(tmp_path, heartbeat=HEARTBEAT), SERIAL)
    run.start()
    with pytest.raises(Held):
        Ledger.load(Folder(run.plan.work)).take(HEARTBEAT)
    assert run.wait() == "complete"


def test_a_run_lives_while_it_deletes_what_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = smooth_job(tmp_path, heartbeat=HEARTBEAT)
    first = Run.of(job, SERIAL)
    first.start()
    assert first.wait() == "complete"
    deletes = threading.Event()

    def slowly(plan: Plan, cleared: set[int], places: OwnedPlaces) -> None:
        deletes.set()
        time.sleep(SLOW_SECONDS)
        delete(plan, cleared, places)

    monkeypatch.setattr("chunkflow.engine.run.opening.delete", slowly)
    again = Run.of(job, SERIAL, restart=job.tasks[0].name)
    starting = threading.Thread(target=again.start)
    starting.start()
    assert deletes.wait(60)
    with pytest.raises(Held):
        Ledger.load(Folder(job.work)).take(HEARTBEAT)
    starting.join()
    assert again.wait() == "complete"


def test_a_run_that_is_overtaken_while_its_workers_start_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.of(smooth_job(tmp_path, heartbeat=HEARTBEAT), SERIAL)

    def overtake() -> None:
        other = Ledger.load(Folder(run.plan.work))
        other._chain._make_taken()
        time.sleep(2 * HEARTBEAT)

    begin(monkeypatch, overtake)
    run.start()
    with pytest.raises(Overtaken):
        run.wait()


def test_a_run_that_is_overtaken_while_it_deletes_deletes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = smooth_job(tmp_path, heartbeat=HEARTBEAT)
    assert run_job(job) == "complete"

    def overtaken(plan: Plan, cleared: set[int], places: OwnedPlaces) -> None:
        Ledger.load(Folder(job.work))._chain._make_taken()
        time.sleep(2 * HEARTBEAT)
        delete(plan, cleared, places)

    monkeypatch.setattr("chunkflow.engine.run.opening.delete", overtaken)
    before = contents(tmp_path / "out")
    with pytest.raises(Overtaken):
        Run.of(job, SERIAL, restart=job.tasks[0].name).start()
    assert contents(tmp_path / "out") == before


def test_a_run_is_started_once(tmp_path: Path) -> None:
    run = Run.of(smooth_job(tmp_path), SERIAL)
    with pytest.raises(BadInput, match="not started yet: call start before wait"):
        run.wait()
    run.start()
    with pytest.raises(BadInput, match="was started already: make another one"):
        run.start()
    assert run.wait() == "complete"
    assert len(state_of(run.plan.job).runs) == 1


def test_whoever_waits_for_a_run_that_could_not_be_started_is_told_why(tmp_path: Path) -> None:
    run = Run.of(smooth_job(tmp_path), SERIAL, restart="mesh")
    with pytest.raises(BadInput, match="no task mesh to restart") as refused:
        run.start()
    with pytest.raises(BadInput) as told:
        run.wait()
    assert told.value is refused.value
    assert not (tmp_path / "work" / "ledger").exists()


def test_a_run_without_a_thread_leaves_the_ledger_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.of(smooth_job(tmp_path), SERIAL)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "run":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        run.start()
    with pytest.raises(RuntimeError, match="can't start"):
        run.wait()
    assert is_closed(run)


def test_those_who_listened_when_a_run_was_started_hear_all_of_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = threading.Event()
    begin(monkeypatch, lambda: None if complete.wait(60) else pytest.fail("never"))
    early: list[Event] = []
    late: list[Event] = []
    run = Run.of(smooth_job(tmp_path), SERIAL)
    run.listeners.append(early.append)
    run.start()
    run.listeners.append(late.append)
    complete.set()
    assert run.wait() == "complete"
    assert [type(event) for event in (early[0], early[1], early[-1])] == [Said, Started, Ended]
    assert late == []


@pytest.mark.parametrize("moment", [Said, Started, CellDone, Ended])
def test_an_error_of_a_listener_ends_the_run_in_good_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: type[Event]
) -> None:
    begin(monkeypatch, lambda: None)
    job = smooth_job(tmp_path)
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, moment):
            raise LookupError("a listener's own fault")

    run = Run.of(job, SERIAL)
    run.listeners.append(listen)
    run.start()
    with pytest.raises(LookupError, match="own fault"):
        run.wait()
    assert is_closed(run)
    state = state_of(job)
    done = sum(record.done for record in state.stages.values())
    assert done == sum(isinstance(event, CellDone) for event in heard)
    assert state.ended == ("complete" if moment is Ended else None)
    if moment is Ended:
        assert read_log(Folder(job.work), 100)[-1]["event"] == "complete"
        assert len(read_accounts(job.work)) == 1
    as_without_fault(job, tmp_path)
