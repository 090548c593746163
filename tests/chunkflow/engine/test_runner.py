"""The runner, its ledger, queue and pools over workers that only pass the time: kinds, pools, stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import chunkflow.engine.run.runner
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.chain import Held
from chunkflow.engine.ledger.heartbeat import STOP
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Gone, Up
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import Cause, Range, WorkerPlace
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.queue.schedule import DONE
from chunkflow.engine.run.events import CellDone, Ended, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.errors import Overtaken
from chunkflow.jobs.planned import open_plan
from chunkflow.resources import Resources
from testbed.simulated import SimulatedExecutor, job_of
from tests.support.puppet import Puppet, eventually


def job_in(folder: Path, side: int = 6, tasks: int = 2, **keys: object) -> Job:
    return job_of(folder, "job", (side, side, side), ["Copy"] * tasks).model_copy(
        update={"heartbeat": 0.1, **keys}
    )


def run(
    plan: Plan,
    sizes: list[int],
    seconds: Callable[[int], float] = lambda stage: 0.01,
    listen: Callable[[Event, Runner], None] = lambda event, runner: None,
) -> str:
    """Run a plan with simulated workers; the listener is handed the runner, too."""
    queue = MemoryQueue(len(plan.worker_kinds))
    with open_run(plan, {}) as ledger:
        pool = Pool(queue, SimulatedExecutor(seconds), sizes)
        runner = Runner(plan, ledger, queue, pool, [lambda event: listen(event, runner)])
        return runner.run()


def assert_nothing_lost(plan: Plan, complete: bool) -> None:
    """Each chunk is in the ledger once at most, and none is counted as failed."""
    state = Ledger.load(Folder(plan.work)).state
    for stage in plan.stages:
        step = state.stages[stage.name]
        assert (step.repeats, step.failed, dict(step.causes)) == (0, 0, {})
        assert step.done == (len(stage.grid) if complete else np.count_nonzero(step.states == 1))


def test_both_kinds_of_workers_are_busy_at_the_same_time(tmp_path: Path) -> None:
    plan = open_plan(job_in(tmp_path, resources={"Copy-2": Resources(gpus=1)}))
    assert [stage.worker_kind for stage in plan.stages] == [0, 1]
    answers = []
    status = run(plan, [2, 2], listen=lambda e, _: answers.append(e.answer) if isinstance(e, CellDone) else 0)
    assert status == "complete"
    workers = [{a.worker for a in answers if a.stage == stage} for stage in (0, 1)]
    assert not workers[0] & workers[1]
    last = max(answer.started for answer in answers if answer.stage == 0)
    beside = sum(answer.stage == 1 and answer.started < last for answer in answers)
    assert beside > 216 / 2, "the second task did most of its chunks beside the first"
    assert_nothing_lost(plan, complete=True)


def test_the_workers_of_another_pool_are_found_and_fed(tmp_path: Path) -> None:
    plan = open_plan(job_in(tmp_path, side=8, tasks=1))
    queue = MemoryQueue()
    other = Pool(queue, SimulatedExecutor(lambda stage: 0.02, lambda worker: WorkerPlace("other")), [30])
    nodes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            nodes.append(event.answer.place.node)

    with open_run(plan, {}) as ledger:
        runner = Runner(
            plan, ledger, queue, Pool(queue, SimulatedExecutor(lambda stage: 0.02), [1]), [listen]
        )
        other.start()
        assert runner.run() == "complete"
        other.drain()
        eventually(lambda: other.drained)
        other.stop()
    assert nodes.count("other") > 256, "30 of 31 workers are there"
    assert_nothing_lost(plan, complete=True)


def test_a_runner_that_was_overtaken_stops_no_pool_of_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.engine.run.runner, "BEAT_SECONDS", 60.0)  # it does not find out by itself
    plan = open_plan(job_in(tmp_path, queue="sqs://queue"))
    folder = Folder(plan.work)
    queue = MemoryQueue(len(plan.worker_kinds))
    taken: list[Ledger] = []
    done: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            done.append(event.answer.index)
        if len(done) > 100 and not taken:
            while not taken:
                with suppress(Held):  # the runner's heartbeat was just written
                    taken.append(Ledger.load(folder).take(heartbeat=100, lease=0))
            runner.interrupt()

    with open_run(plan, {}) as ledger:
        pool = Pool(queue, SimulatedExecutor(lambda stage: 0.01), [2])
        runner = Runner(plan, ledger, queue, pool, [listen])
        with pytest.raises(Overtaken):
            runner.run()
    assert not folder.exists(STOP)
    taken[0].close()


@pytest.mark.parametrize("how", ["file", "budget"])
def test_a_run_that_is_stopped_loses_nothing_and_is_gone_on_with(tmp_path: Path, how: str) -> None:
    plan = open_plan(job_in(tmp_path))
    ended: list[Ended] = []
    done: list[int] = []

    def listen(event: Event, runner: Runner) -> None:
        if isinstance(event, Ended):
            ended.append(event)
        if isinstance(event, CellDone):
            done.append(event.answer.index)
            if len(done) == 20:
                if how == "file":
                    Folder(plan.work).put(STOP, b"")
                else:
                    runner.interrupt("incomplete: budget")

    wanted = "interrupted" if how == "file" else "incomplete: budget"
    assert run(plan, [2], listen=listen) == wanted
    assert 20 <= len(done) < 432
    assert (ended[0].status, Ledger.load(Folder(plan.work)).state.ended) == (wanted, wanted)
    assert int(ended[0].schedule.counts[:, DONE].sum()) == len(done)
    assert_nothing_lost(plan, complete=False)
    assert run(plan, [20], listen=listen) == "complete"
    assert not Folder(plan.work).exists(STOP)
    assert len(done) == 432
    assert_nothing_lost(plan, complete=True)


def test_what_is_in_hand_is_waited_for_as_long_as_chunks_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunkflow.engine.run.runner, "DRAIN_SECONDS", 0.0)
    done: list[int] = []

    def listen(event: Event, runner: Runner) -> None:
        if isinstance(event, CellDone):
            done.append(event.answer.index)
            if len(done) == 4:
                runner.interrupt()

    plan = open_plan(job_in(tmp_path))
    assert run(plan, [2], lambda stage: 0.3, listen) == "interrupted"
    assert len(done) >= 8, "each of the two workers had three in flight"


def test_pools_of_other_clusters_learn_by_a_file_that_they_are_to_drain(tmp_path: Path) -> None:
    plan = open_plan(job_in(tmp_path, queue="sqs://none"))

    def listen(event: Event, runner: Runner) -> None:
        if isinstance(event, CellDone):
            runner.interrupt()

    assert run(plan, [2], listen=listen) == "interrupted"
    assert Folder(plan.work).exists(STOP)


def test_what_a_lost_node_had_is_done_by_others_at_no_attempt(tmp_path: Path) -> None:
    plan = open_plan(job_in(tmp_path, side=2, tasks=1))
    queue, puppet = MemoryQueue(), Puppet()
    with open_run(plan, {}) as ledger:
        runner = Runner(plan, ledger, queue, Pool(queue, puppet, [1]))
        thread = threading.Thread(target=runner.run)
        thread.start()
        for worker, cause in (("p1", Cause.NODE_LOST), ("p2", Cause.PREEMPTED)):
            eventually(lambda worker=worker: [w for w, _ in puppet.given] == [worker] * 3)
            puppet.given.clear()
            puppet.tell(Gone(worker, cause, "the node is gone"))
        begun: list[Range] = []
        while thread.is_alive():
            if puppet.given:
                begun.append(puppet.given[0][1])
                puppet.finish(0)
            thread.join(0.002)
    assert sorted(cell for r in begun for cell in range(r.start, r.stop)) == list(range(8))
    step = Ledger.load(Folder(plan.work)).state.stages["Copy"]
    assert (step.done, step.attempts.tolist()) == (8, [1] * 8)
    assert dict(step.causes) == {"node lost": 3, "preempted": 3}


def test_what_takes_longer_than_any_walltime_fails_and_says_so(tmp_path: Path) -> None:
    plan = open_plan(job_in(tmp_path, side=1, tasks=1))
    queue, puppet = MemoryQueue(), Puppet(up=False)
    pool = Pool(queue, puppet, [1])
    with open_run(plan, {}) as ledger:
        thread = threading.Thread(target=Runner(plan, ledger, queue, pool).run)
        thread.start()
        for worker in ("p1", "p2"):
            eventually(lambda worker=worker: worker in puppet.kinds)
            puppet.tell(Up(worker, ends=time.time() + 100))
            eventually(lambda worker=worker: [name for name, _ in puppet.given] == [worker])
            puppet.given.clear()
            pool._crews[0].workers[worker].since -= 99  # as if it had done nothing else
            puppet.tell(Gone(worker, Cause.PREEMPTED, "its time is over"))
        thread.join(60)
    state = Ledger.load(Folder(plan.work)).state
    assert (state.ended, dict(state.stages["Copy"].causes)) == ("incomplete", {"out of time": 2})
    assert "give the nodes a longer walltime, or the job smaller chunks" in (
        state.stages["Copy"].failures[0].traceback
    )
