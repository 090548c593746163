"""What all tests share: one Ray cluster on this machine, started when the first test needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.clusters.ray_head import Head, ray_head
from tests.support.files.brain import make_brain
from tests.support.people.learners import job_to_learn, truth_of
from tests.support.people.reviews import job_to_review

hypothesis.settings.register_profile("busy", deadline=None)  # machines are shared: time proves nothing
hypothesis.settings.load_profile("busy")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks as its own turn comes
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes run the tests, one of them runs all that share the Ray cluster, so that it is
    started once, and begins with them, as they take longest; the others go file by file."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            names = getattr(item, "fixturenames", ())
            shared = "ray" if "ray_here" in names else "head" if "head" in names else item.path.stem
            item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group").args != ("ray",))


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray cluster with room for four workers."""
    import ray

    from cluster.workers.connection import start_here

    start_here(4)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray cluster with a dashboard and a token, met from outside."""
    with ray_head() as running:
        yield running


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small brain whose nuclei were found."""
    return make_brain(tmp_path_factory.mktemp("brain"))


@pytest.fixture(scope="session")
def reviewed_work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The work folder of a job whose objects are reviewed; logs lie elsewhere, and nobody changes it."""
    return job_to_review(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture(scope="session")
def learnt_work(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The work folder of a job whose objects are to be learnt."""
    return job_to_learn(tmp_path_factory.mktemp("learnt"))


@pytest.fixture(scope="session")
def learnt_truth(learnt_work: str) -> dict[int, str]:
    """What each of its objects is."""
    return truth_of(learnt_work)
