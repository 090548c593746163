"""Annotation layers are seen in Neuroglancer: every level, sharded or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chunkflow.kernels import annotations as points
from cli.layers import look
from cli.neuroglancer_state import build_state
from cli.view import start_server
from tests.browser.test_neuroglancer import POINT, plain_server
from tests.browser.viewer import SPACE, Viewer, near
from tests.tasks.annotation_layers import make_rows
from tests.tasks.test_annotate import annotate


@pytest.mark.parametrize("sharded", [True, False])
def test_points_of_all_levels_are_seen(
    viewer: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    monkeypatch.setattr(points, "FINEST", 16)
    monkeypatch.setattr(points, "MOST_FILES", 0 if sharded else 4096)
    layer = annotate(tmp_path, make_rows(40), (64, 64, 64), limit=4)
    levels = json.loads((layer / "info").read_text())["spatial"]
    assert len(levels) >= 3
    assert any("sharding" in level for level in levels) == sharded

    viewer.failed.clear()
    with start_server({"cells": str(layer)}) as server, plain_server(layer.parent) as address:
        state = server.state(server.base)
        if not sharded:  # whole files can be read from a server that knows no ranges
            state = build_state([look("cells", str(layer))], lambda shown: f"{address}/{shown.name}")
        picture = viewer.show(server.base, state)
    assert near(picture[SPACE].reshape(-1, 3), POINT) > 10 * 40  # nothing else is of that colour
    assert viewer.failed == []
