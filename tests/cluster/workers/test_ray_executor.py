"""What a Ray worker lays on its node: the user's own modules, behind all that is installed, and only for as
long as it lives."""

from __future__ import annotations

import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Gone, Happening, Up
from chunkflow.engine.queue.cells import Cause
from chunkflow.errors import WorkerLost
from chunkflow.jobs.planned import open_plan
from cluster.workers.actor import lay
from cluster.workers.executor import RayExecutor
from tests.support.jobs import make_job, make_layer

OWN = "tests.support.own_tasks:"
SOURCES = {"numpy.py": b"raise ImportError('this is no numpy')\n", "own/steps.py": b"SAID = 'here'\n"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    make_layer(tmp_path / "image", np.ones((32, 32, 32), np.uint16))
    layers = {name: str(tmp_path / name) for name in ("image", "smooth")}
    task = {OWN + "Smooth": {"image": "image", "smooth": "smooth"}}
    return open_plan(make_job(tmp_path, layers, [task], chunk=[32, 32, 32], storage=[32, 32, 32]))


def test_modules_are_laid_as_they_lie_beside_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = list(sys.path)
    folder = lay(SOURCES)
    assert list(tmp_path.glob("chunkflow-tasks-*")) == [folder]
    assert sys.path == before
    assert (folder / "own" / "steps.py").read_bytes() == SOURCES["own/steps.py"]


def first(executor: RayExecutor, kind: type[Happening]) -> Happening:
    """Wait for the first event of a kind."""
    for _ in range(600):
        for event in executor.wait(0.1):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


def test_a_worker_that_cannot_start_ends_the_run_only_where_no_other_is_up(
    plan: Plan, ray_here: None
) -> None:
    unwritable = {"/proc/none": b""}
    executor = RayExecutor(plan)
    executor.start_worker()
    first(executor, Up)
    executor._sources = unwritable  # as on a node that is out of order
    bad = executor.start_worker()
    gone = first(executor, Gone)
    executor.close()
    assert isinstance(gone, Gone)
    assert (gone.worker, gone.cause) == (bad, Cause.CRASH)
    alone = RayExecutor(plan)
    alone._sources = unwritable
    alone.start_worker()
    with pytest.raises(WorkerLost, match="A worker cannot start"):
        first(alone, Gone)
    alone.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_nothing_is_left_on_the_node(plan: Plan, ray_here: None, at_once: bool) -> None:
    own = f"own_{uuid.uuid4().hex}.py"

    def laid() -> bool:
        return any(Path(tempfile.gettempdir()).glob(f"chunkflow-tasks-*/{own}"))

    executor = RayExecutor(plan)
    executor._sources = {own: b""}
    name = executor.start_worker()
    first(executor, Up)
    assert laid()
    if at_once:
        executor.end_worker(name)
    executor.close()
    assert not laid()
