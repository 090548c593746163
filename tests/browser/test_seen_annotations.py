"""Annotation layers are seen in Neuroglancer: every level, sharded or not, and every kind, by class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chunkflow.kernels.precomputed import annotations as points
from chunkflow.kernels.precomputed.crossings import AnnotationKind
from chunkflow.people.service.local.viewer import start_server
from chunkflow.people.viewing.looks import look
from chunkflow.people.viewing.state import build_state
from tests.support.browser.pages import POINT, plain_server
from tests.support.browser.viewer import SECTION, SPACE, Viewer, near
from tests.support.files.annotation_layers import VOLUME, annotate, make_rows


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
        state = server.state()
        if not sharded:  # whole files can be read from a server that knows no ranges
            state = build_state([look("cells", str(layer))], lambda shown: f"{address}/{shown.name}")
        picture = viewer.show(server.base, state)
    assert near(picture[SPACE].reshape(-1, 3), POINT) > 10 * 40  # nothing else is of that colour
    assert viewer.failed == []


def classified_rows(count: int = 60) -> pa.Table:
    """Neurons and glia, with what each kind of annotation is told by; a third lie in the middle plane."""
    random = np.random.default_rng(4)
    rows = make_rows(count)
    middle = [(a + b) // 2 + 0.5 for a, b in zip(VOLUME.start, VOLUME.stop, strict=True)]
    for n, axis in enumerate("xyz"):
        low, high = VOLUME.start[n] + 16, VOLUME.stop[n] - 16
        places = random.integers(low, high, count) + 0.5
        if axis == "z":
            places[::3] = middle[n]
        rows = rows.set_column(rows.column_names.index(axis), axis, pa.array(places))
        rows = rows.append_column(f"{axis}2", pa.array(places + random.integers(-12, 13, count)))
        rows = rows.append_column(f"{axis}_min", pa.array((places - 6).astype(np.int64)))
        rows = rows.append_column(f"{axis}_max", pa.array((places + 5).astype(np.int64)))
        rows = rows.append_column(f"r_{axis}", pa.array(random.uniform(4, 8, count)))
    return rows.append_column("class", pa.array([("neuron", "glia")[n % 2] for n in range(count)]))


@pytest.mark.parametrize("kind", ["point", "line", "box", "ellipsoid"])
def test_every_kind_is_seen_in_the_colours_of_its_classes(
    viewer: Viewer, tmp_path: Path, kind: AnnotationKind
) -> None:
    rows = classified_rows()
    layer = annotate(tmp_path, rows, (64, 64, 64), kind=kind, properties=["class"], limit=20)
    viewer.failed.clear()
    with start_server({"cells": str(layer)}) as server:
        picture = viewer.show(server.base, server.state())
    for panel, least in ((SPACE, 100), (SECTION, 15)):
        pixels = picture[panel].reshape(-1, 3)
        red, blue = reddish(pixels), reddish(pixels[:, ::-1])
        assert red > least
        assert blue > least
    assert viewer.failed == []


@pytest.mark.parametrize("where", ["neuron", "glia"])
def test_a_class_of_its_own_has_one_colour(viewer: Viewer, tmp_path: Path, where: str) -> None:
    colour = {"neuron": "#ff0000", "glia": "blue"}[where]
    rows = classified_rows()
    layer = annotate(tmp_path, rows, (64, 64, 64), where={"class": where}, color=colour)
    viewer.failed.clear()
    with start_server({where: str(layer)}) as server:
        pixels = viewer.show(server.base, server.state())[SPACE].reshape(-1, 3)
    own, other = reddish(pixels), reddish(pixels[:, ::-1])
    if where == "glia":
        own, other = other, own
    assert own > 100
    assert other < own / 5  # the letters of the axes have colours, too
    assert viewer.failed == []


def reddish(pixels: np.ndarray) -> int:
    """How many pixels have far more red than blue, and no more green than red."""
    red, green, blue = pixels.T
    return int(((red > blue + 50) & (green < red - 30)).sum())
