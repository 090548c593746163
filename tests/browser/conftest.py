"""The browser and the scene, made once for all tests that look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chunkflow.people.service.local.reviewer import Reviewer, review
from testbed.people.browser import chromium
from tests.support.browser.scene import write_scene
from tests.support.browser.viewer import Viewer, open_viewer


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    if chromium() is None:
        pytest.fail("the tests that look need a browser: apt-get install chromium")
    with open_viewer() as viewer:
        yield viewer


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def start(reviewed_work: str, tmp_path: Path) -> Iterator[Callable[..., Reviewer]]:
    """Starts a server of the review for a person; all are ended."""
    started = []

    def start(person: str, port: int = 0) -> Reviewer:
        started.append(review(reviewed_work, database=tmp_path / "review.sqlite", person=person, port=port))
        return started[-1]

    yield start
    for page in started:
        page.close()
