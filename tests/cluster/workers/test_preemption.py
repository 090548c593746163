"""Workers of several kinds on several nodes, and nodes that are taken away after a notice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ray.util import placement_group, remove_placement_group

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import BatchDone, Happening, Leaving, Up
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.queue.cells import Answer, Cause, Range
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.events import CellDone, CellFailed, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.jobs.planned import open_plan
from cluster.workers.executor import RayExecutor
from tests.support.clusters.ray_nodes import Node, add_node, end_node, takes_no_more
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.same import all_made, assert_all_accounted, assert_same

OWN = "tests.support.own_tasks:"
PLAIN, GPU = "Faulty", "Faulty-2"
ENDS = 4e9


@dataclass(frozen=True)
class Nodes:
    """Two nodes with a GPU each, as they say; the first hears notices from a file."""

    taken: Node
    stays: Node
    notice: Path


@pytest.fixture(scope="module")
def nodes(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    notice = tmp_path_factory.mktemp("notice") / "notice"
    taken = add_node(2, 1, "fast spot", {"CHUNKFLOW_NOTICE": str(notice)})
    stays = add_node(2, 1, "fast", {"CHUNKFLOW_ENDS": str(ENDS)})
    yield Nodes(taken, stays, notice)
    end_node(taken)
    end_node(stays)


def gpu_job(folder: Path, pause: float) -> Job:
    """Cells for plain workers, and as many for workers with a GPU."""
    folder.mkdir(exist_ok=True)
    (folder / "marks").mkdir()
    make_layer(folder / "image", np.random.default_rng(3).integers(0, 1000, (128, 64, 32)).astype(np.uint16))
    both = {"image": "image", "marks": str(folder / "marks"), "pause": pause}
    return make_job(
        folder,
        {name: str(folder / name) for name in ("image", "plain", "gpu", "tiles")},
        [
            {OWN + "Faulty": both | {"labels": "plain"}},
            {OWN + "Faulty": both | {"labels": "gpu"}},
            {OWN + "Count": {"labels": "gpu", "objects": "objects"}},
        ],
        chunk=[32, 32, 32],
        storage=[32, 32, 32],
        resources={GPU: {"gpus": 1}},
    )


def on_kinds(plan: Plan) -> RayExecutor:
    return RayExecutor(plan)


def stage_name(plan: Plan, answer: Answer) -> str:
    return plan.stages[answer.stage].name


def test_workers_with_and_without_a_gpu_are_busy_at_the_same_time(tmp_path: Path, nodes: Nodes) -> None:
    job = gpu_job(tmp_path / "job", pause=0.5)
    answers: list[Answer] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellDone):
            answers.append(event.answer)

    assert run_job(job, executor=on_kinds, workers=2, listeners=[listen]) == "complete"
    plan = open_plan(job)
    on_gpus = [answer for answer in answers if stage_name(plan, answer) == GPU]
    on_cores = [answer for answer in answers if stage_name(plan, answer) == PLAIN]
    assert len(on_gpus) == len(on_cores) == 8
    assert {answer.place.device for answer in on_gpus} == {"fast", "fast spot"}
    assert {answer.place.node for answer in on_gpus} == {nodes.taken.id, nodes.stays.id}
    assert any(overlap(one, other) for one in on_gpus for other in on_cores)
    assert not {answer.worker for answer in on_gpus} & {answer.worker for answer in on_cores}
    assert_all_accounted(job, clean=True)
    serial = gpu_job(tmp_path / "serial", pause=0.0)
    assert run_job(serial) == "complete"
    assert_same(all_made(job), all_made(serial), "on two kinds of workers")


def overlap(one: Answer, other: Answer) -> bool:
    return max(one.started, other.started) < min(
        one.started + one.seconds[1], other.started + other.seconds[1]
    )


def until(executor: RayExecutor, kind: type[Happening], count: int = 1) -> list[Happening]:
    found: list[Happening] = []
    for _ in range(600):
        found += executor.wait(0.1)
        if sum(isinstance(event, kind) for event in found) >= count:
            return found
    raise AssertionError(f"only {found} happened")


def test_a_worker_says_where_it_runs_and_when_its_node_ends(tmp_path: Path, nodes: Nodes) -> None:
    """Also where others have all cores of the nodes: GPUs do not wait for them."""
    plan = open_plan(gpu_job(tmp_path / "job", 0.0))
    executor = on_kinds(plan)
    here = [{"ray.io/node-id": node.id} for node in (nodes.taken, nodes.stays)]
    all_cores = placement_group([{"CPU": 2}] * 2, bundle_label_selector=here)
    assert all_cores.wait(60)
    try:
        for _ in range(2):
            executor.start_worker(1)
        ends = {event.worker: event.ends for event in until(executor, Up, 2) if isinstance(event, Up)}
        stage = [one.name for one in plan.stages].index(GPU)
        for cell, worker in enumerate(ends):
            executor.submit(worker, Range(stage, cell, cell + 1, worker_kind=1))
        done = [event for event in until(executor, BatchDone, 2) if isinstance(event, BatchDone)]
    finally:
        executor.close()
        remove_placement_group(all_cores)
    places = {event.answers[0].place.device: event.answers[0].place for event in done}
    assert {event.answers[0].place.node: ends[event.worker] for event in done} == {
        nodes.stays.id: ENDS,
        nodes.taken.id: None,
    }
    assert places["fast"].node == nodes.stays.id
    assert places["fast"].since > places["fast spot"].since > 0


class Watched(RayExecutor):
    """Knows what becomes of the workers with a GPU, and says each time that anything may have happened."""

    def __init__(self, plan: Plan, said: Callable[[Watched], None]) -> None:
        super().__init__(plan)
        self._said = said
        self.started: list[str] = []
        self.given: Counter[str] = Counter()
        self.leaving: list[str] = []
        self._patience = time.monotonic() + 180.0

    def start_worker(self, kind: int = 0) -> str:
        name = super().start_worker(kind)
        self.started += [name] * kind
        return name

    def submit(self, worker: str, batch: Range) -> None:
        super().submit(worker, batch)
        self.given.update({worker} & {*self.started})

    def wait(self, seconds: float) -> list[Happening]:
        found = super().wait(seconds)
        ours = [event for event in found if event.worker in self.started]
        self.leaving += [event.worker for event in ours if isinstance(event, Leaving)]
        self._said(self)
        assert time.monotonic() < self._patience, (self.started, self.given, self.leaving)
        return found


def run_watched(
    job: Job, sizes: Sequence[int], said: Callable[[Watched], None]
) -> tuple[Watched, list[Event]]:
    """Run a job to its end."""
    plan, events = open_plan(job), list[Event]()
    executor, queue = Watched(plan, said), MemoryQueue(len(sizes))
    with open_run(plan, {}) as ledger:
        runner = Runner(plan, ledger, queue, Pool(queue, executor, sizes), [events.append])
        assert runner.run() == "complete"
    return executor, events


def test_a_worker_whose_walltime_nears_is_replaced_at_no_attempt(tmp_path: Path, nodes: Nodes) -> None:
    """Its node comes once the others are busy. Of those one lasts for years: less than half a minute is too
    little for what nobody knows the seconds of, however long the worker took to come up."""
    job = gpu_job(tmp_path / "job", pause=0.0).until(GPU)
    hold = tmp_path / "job" / "marks" / "hold"
    hold.touch()
    ending: list[Node] = []

    def said(executor: Watched) -> None:
        if not ending and len(executor.pids) == 3:  # the plain one, and one for each GPU that is there
            ending.append(add_node(0, 1, "ends", {"CHUNKFLOW_ENDS": str(time.time() + 30.0)}))
        if len(executor.started) == 4 or len(executor.given) == 3:
            hold.unlink(missing_ok=True)

    try:
        executor, events = run_watched(job, (1, 3), said)
    finally:
        for node in ending:
            end_node(node)
    assert len(executor.started) == 4  # the third, for which there is no other GPU, was replaced
    assert not [event for event in events if isinstance(event, CellFailed)]
    done = [event.answer.place.device for event in events if isinstance(event, CellDone)]
    assert len(done) == 16
    assert "ends" not in done
    assert_all_accounted(job, clean=True)


def test_a_node_that_is_taken_after_a_notice_costs_no_attempt(tmp_path: Path, nodes: Nodes) -> None:
    """Last here, as nothing is started on the node any more."""
    job = gpu_job(tmp_path / "job", pause=0.0)
    hold = tmp_path / "job" / "marks" / "hold"
    hold.touch()

    def said(executor: Watched) -> None:
        if sorted(executor.given.values()) == [3, 3]:  # one that it maps, two that it has not begun
            nodes.notice.write_text("the batch system takes the node")
        if executor.leaving:
            hold.unlink(missing_ok=True)

    _, events = run_watched(job, (1, 2), said)
    failed = [event for event in events if isinstance(event, CellFailed)]
    assert {event.answer.cause for event in failed} == {Cause.PREEMPTED}
    assert {event.answer.place.node for event in failed} == {nodes.taken.id}
    assert {event.attempt for event in failed} == {0}, "no attempt is charged"
    state = Ledger.load(Folder(job.work)).state
    assert not any(step.failures for step in state.stages.values())
    assert sum(step.causes["preempted"] for step in state.stages.values()) == len(failed)
    assert takes_no_more(nodes.taken)
    assert not takes_no_more(nodes.stays)
    assert_all_accounted(job)
    serial = gpu_job(tmp_path / "serial", pause=0.0)
    assert run_job(serial) == "complete"
    assert_same(all_made(job), all_made(serial), "after a preemption")
