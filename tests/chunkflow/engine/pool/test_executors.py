"""What every executor must do; a further executor is one more parameter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import BatchDone, Executor, Gone, Happening, Up
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.cells import Cause, Range
from chunkflow.engine.run.opening import open_run
from chunkflow.jobs.planned import open_plan
from cluster.workers.executor import RayExecutor
from tests.support.jobs import make_job, make_layer, read_layer

pytestmark = pytest.mark.xdist_group("ray")
OWN = "tests.support.own_tasks:"
MAKERS: dict[str, Callable[[Plan], Executor]] = {
    "serial": SerialExecutor,
    "ray": lambda plan: RayExecutor(plan),
}


@pytest.fixture(params=MAKERS)
def executor_of(request: pytest.FixtureRequest) -> Callable[[Plan], Executor]:
    if request.param == "ray":
        request.getfixturevalue("ray_here")
    return MAKERS[request.param]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A job of one stage with eight cells; the fourth cannot be done."""
    make_layer(tmp_path / "image", np.random.default_rng(1).integers(0, 1000, (64, 64, 64)).astype(np.uint16))
    (tmp_path / "marks").mkdir()
    task = {"image": "image", "labels": "labels", "marks": str(tmp_path / "marks"), "faults": {3: "raise"}}
    layers = {name: str(tmp_path / name) for name in ("image", "labels")}
    shape = {"chunk": [32, 32, 32], "storage": [32, 32, 32], "heartbeat": 0.2}
    plan = open_plan(make_job(tmp_path, layers, [{OWN + "Faulty": task}], **shape))
    open_run(plan, {}).close()
    return plan


@pytest.fixture
def executor(executor_of: Callable[[Plan], Executor], plan: Plan) -> Iterator[Executor]:
    made = executor_of(plan)
    yield made
    made.close()


def until(executor: Executor, kind: type[Happening], count: int = 1, beats: bool = True) -> list[Happening]:
    """Wait until so many things of a kind have happened."""
    found: list[Happening] = []
    for _ in range(600):
        if beats:
            executor.heartbeat()
        found += executor.wait(0.1)
        if sum(isinstance(event, kind) for event in found) >= count:
            return found
    raise AssertionError(f"only {found} happened")


def test_workers_come_up_under_names_of_their_own(executor: Executor) -> None:
    names = [executor.start_worker() for _ in range(2)]
    assert len(set(names)) == 2
    assert {event.worker for event in until(executor, Up, 2)} == set(names)


def test_a_batch_is_answered_cell_by_cell_in_order(executor: Executor, plan: Plan) -> None:
    name = executor.start_worker()
    until(executor, Up)
    executor.submit(name, Range(0, 1, 5))
    (event,) = until(executor, BatchDone)
    assert isinstance(event, BatchDone)
    assert (event.worker, event.batch) == (name, Range(0, 1, 5))
    assert [answer.index for answer in event.answers] == [1, 2, 3, 4]
    assert [answer.cause for answer in event.answers] == [None, None, Cause.BUG, None]
    assert "this cell cannot be done" in event.answers[2].traceback
    done = event.answers[0]
    assert done.worker == name
    assert (done.bytes_in, done.bytes_out) == (32**3 * 2, 32**3 * 8)
    assert done.peak_bytes > 2**20
    assert min(done.seconds) > 0
    assert abs(done.started - time.time()) < 600


def test_several_batches_in_hand_are_all_answered(executor: Executor) -> None:
    names = [executor.start_worker() for _ in range(2)]
    until(executor, Up, 2)
    batches = [Range(0, i, i + 1) for i in range(8)]
    for i, batch in enumerate(batches):
        executor.submit(names[i % 2], batch)
    events = until(executor, BatchDone, 8)
    assert sorted(e.batch.start for e in events if isinstance(e, BatchDone)) == list(range(8))
    assert all(e.worker == names[e.batch.start % 2] for e in events if isinstance(e, BatchDone))


def test_what_is_said_of_a_batch_is_done(executor: Executor, plan: Plan) -> None:
    name = executor.start_worker()
    until(executor, Up)
    executor.submit(name, Range(0, 0, 8, skip=True))
    (event,) = until(executor, BatchDone)
    assert isinstance(event, BatchDone)
    assert all(answer.empty and answer.cause is None for answer in event.answers), "the fourth is not mapped"
    executor.submit(name, Range(0, 2, 3, alone=True))
    (event,) = until(executor, BatchDone)
    assert isinstance(event, BatchDone)
    assert [(answer.alone, answer.empty) for answer in event.answers] == [(True, False)]


def test_a_worker_without_word_from_its_runner_writes_nothing(executor: Executor, plan: Plan) -> None:
    name = executor.start_worker()
    until(executor, Up, beats=False)
    time.sleep(12 * 0.2 + 0.5)
    executor.submit(name, Range(0, 0, 1))
    (event,) = until(executor, BatchDone, beats=False)
    assert isinstance(event, BatchDone)
    assert event.answers[0].cause is Cause.GIVEN_BACK
    with pytest.raises(Exception, match="0-32_0-32_0-32"):
        read_layer(plan.products["labels", 0].info.url)
    executor.heartbeat()
    time.sleep(0.2)
    executor.submit(name, Range(0, 0, 1))
    (event,) = until(executor, BatchDone)
    assert isinstance(event, BatchDone)
    assert event.answers[0].cause is None


def test_a_worker_that_is_ended_is_not_heard_of_again(executor: Executor) -> None:
    first = executor.start_worker()
    until(executor, Up)
    executor.submit(first, Range(0, 0, 1))
    executor.end_worker(first)
    second = executor.start_worker()
    assert second != first
    until(executor, Up)
    executor.submit(second, Range(0, 1, 2))
    events = until(executor, BatchDone)
    assert [event.worker for event in events if isinstance(event, BatchDone | Gone)] == [second]


def test_an_executor_is_closed_with_work_in_hand(executor: Executor) -> None:
    name = executor.start_worker()
    until(executor, Up)
    executor.submit(name, Range(0, 0, 8))
    executor.close()
    executor.close()


def test_code_that_lies_beside_the_job_is_brought_to_ray_workers(tmp_path: Path, ray_here: None) -> None:
    code = tmp_path / "code"
    code.mkdir()
    source = (
        "from chunkflow.task import Image, Out, Task\n"
        "import helper_beside\n"
        "class Twice(Task):\n"
        "    image: Image\n"
        "    twice: Image = Out()\n"
        "    def map(self, cell, image):\n"
        "        return image.like(image.array * helper_beside.TWO)\n"
    )
    (code / "own_beside.py").write_text(source)
    (code / "helper_beside.py").write_text("TWO = 2\n")
    array = np.arange(27, dtype=np.uint16).reshape(3, 3, 3)
    make_layer(tmp_path / "image", array)
    layers = {name: str(tmp_path / name) for name in ("image", "twice")}
    task = {"own_beside:Twice": {"image": "image", "twice": "twice"}}
    job: Job = make_job(code, layers, [task], chunk=[64, 64, 64])
    plan = open_plan(job)
    ledger = open_run(plan, {})
    executor = RayExecutor(plan)
    try:
        name = executor.start_worker()
        until(executor, Up)
        executor.submit(name, Range(0, 0, 1))
        until(executor, BatchDone)
    finally:
        executor.close()
        ledger.close()
    np.testing.assert_array_equal(read_layer(tmp_path / "twice"), array * 2)
