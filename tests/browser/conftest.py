"""The browser and the scene, made once for all tests that look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser.scene import write_scene
from tests.support.browser.viewer import Viewer, chromium, open_viewer


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    if chromium() is None:
        pytest.fail("the tests that look need a browser: apt-get install chromium")
    with open_viewer() as viewer:
        yield viewer


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_scene(tmp_path_factory.mktemp("scene"))
