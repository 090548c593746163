"""All objects as a layer: each point that is there now stands in one cell, whatever people did."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from neuroglancer.read_precomputed_annotations import AnnotationReader

from chunkflow.data.info import TableInfo
from chunkflow.geometry import Box
from chunkflow.people.review.log.edits import DrawnShape, ObjectState
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.point_layer import PointLayer

VOLUME = Box.of_size((300, 150, 70), (7, -20, 11))
CLASSES = ("glia", "neuron")
STATUSES = {"": 0, "accepted": 1, "rejected": 2}
PLACE = st.tuples(*[st.floats(a, b, width=32) for a, b in zip(VOLUME.start, VOLUME.stop, strict=True)])
STATE = st.builds(
    lambda status, of_class, place, deleted: ObjectState(
        status, of_class, place and DrawnShape(kind="point", points=(place,)), deleted=deleted
    ),
    st.sampled_from(list(STATUSES)),
    st.sampled_from(["", *CLASSES, "unknown"]),
    st.none() | PLACE,
    st.booleans(),
)
Point = tuple[tuple[float, ...], int, int]
"""A place, a status, a class."""


def objects_at(count: int, seed: int, classes: tuple[str, ...] = CLASSES) -> TableObjects:
    random = np.random.default_rng(seed)
    ids = np.sort(random.choice(2**40, count, replace=False)).astype(np.uint64) + np.uint64(2**63)
    places = (random.random((count, 3)) * VOLUME.size + VOLUME.start).astype(np.float32).astype(float)
    info = TableInfo(url="file:///table", bounds=VOLUME, volume=VOLUME, voxel_size=(1000.0, 1000.0, 2000.0))
    of_class = random.integers(-1, len(classes), count).astype(np.int16)
    nothing = np.zeros(count, np.float32)
    return TableObjects(info, (), ids, places, classes, of_class, nothing, np.zeros(count, np.int32))


def modelled(objects: TableObjects, states: dict[int, ObjectState]) -> dict[int, Point]:
    """All points that are there, told one by one."""
    found: dict[int, Point] = {}
    table = {int(id): number for number, id in enumerate(objects.ids)}
    for id in {*table, *states}:
        state, number = states.get(id, ObjectState()), table.get(id)
        if state.deleted or (number is None and state.shape is None):
            continue
        own = 0 if number is None else int(objects.of_class[number]) + 1
        given = [*CLASSES].index(state.of_class) + 1 if state.of_class in CLASSES else 0
        place = state.shape.points[0] if state.shape else tuple(objects.places[number].tolist())
        found[id] = place, STATUSES[state.status], given if state.of_class else own
    return found


def read(layer: PointLayer, path: str) -> bytes:
    found = layer.file(path)
    assert found is not None, path
    return found


def cells_of(layer: PointLayer) -> list[tuple[dict[str, Any], tuple[int, ...], list[tuple[int, Point]]]]:
    """The points of each cell, as the bytes of the format say."""
    found = []
    for level in json.loads(read(layer, "info"))["spatial"]:
        for cell in itertools.product(*map(range, level["grid_shape"])):
            content = read(layer, f"{level['key']}/{'_'.join(map(str, cell))}")
            (count,) = struct.unpack_from("<Q", content)
            assert len(content) == 8 + count * 24
            records = [struct.unpack_from("<3f2H", content, 8 + 16 * n) for n in range(count)]
            ids = struct.unpack_from(f"<{count}Q", content, 8 + 16 * count)
            points = [(id, (one[:3], one[3], one[4])) for id, one in zip(ids, records, strict=True)]
            found.append((level, cell, points))
    return found


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 60),
    st.integers(0, 9),
    st.sampled_from([1, 3, 10, 1000]),
    st.lists(st.tuples(st.integers(0, 70), STATE), max_size=12),
)
def test_each_live_point_stands_in_one_cell(
    count: int, seed: int, limit: int, edits: list[tuple[int, ObjectState]]
) -> None:
    objects = objects_at(count, seed)
    layer, states = PointLayer(objects, limit), {}
    for which, state in edits:
        id = int(objects.ids[which]) if which < count else which + 1
        layer.keep(id, state)
        states[id] = state
    wanted = modelled(objects, states)
    found: list[int] = []
    for level, cell, points in cells_of(layer):
        low = np.array(VOLUME.start) + np.array(cell) * level["chunk_size"]
        for id, point in points:
            assert point == wanted[id]
            assert (low <= point[0]).all()
            assert (np.array(point[0]) <= low + level["chunk_size"]).all()
            assert struct.unpack("<3f2H", read(layer, f"by_id/{id}")) == (*point[0], *point[1:])
        found += [id for id, _ in points]
    assert sorted(found) == sorted(wanted)
    gone = {*objects.ids.tolist(), *states} - wanted.keys()
    assert [layer.file(f"by_id/{id}") for id in gone] == [None] * len(gone)


def test_levels_are_fair_samples_and_say_how_full_their_cells_are() -> None:
    layer = PointLayer(objects_at(6000, 1), limit=100)
    cells = cells_of(layer)
    by_level: dict[str, list[int]] = {}
    for level, _, points in cells:
        by_level.setdefault(level["key"], []).append(len(points))
        assert len(points) <= level["limit"]
    limits = {level["key"]: level["limit"] for level, _, _ in cells}
    assert {key: max(counts) for key, counts in by_level.items()} == limits
    assert 80 < by_level["spatial0"][0] < 120
    assert len(by_level) > 2
    (_, _, first), *_ = cells
    halves = np.array([place[0] for _, (place, _, _) in first]) < VOLUME.start[0] + VOLUME.size[0] / 2
    assert 0.3 < halves.mean() < 0.7


def test_neuroglancer_reads_it(tmp_path: Path) -> None:
    objects = objects_at(50, 2)
    layer = PointLayer(objects, limit=5)
    layer.keep(7, ObjectState("rejected", "neuron", DrawnShape(kind="point", points=((8.0, 0.0, 12.0),))))
    info = json.loads(read(layer, "info"))
    paths = ["info", *(f"by_id/{id}" for id in (7, int(objects.ids[3])))]
    cells = [list(itertools.product(*map(range, level["grid_shape"]))) for level in info["spatial"]]
    for level, places in enumerate(cells):
        paths += [f"spatial{level}/{x}_{y}_{z}" for x, y, z in places]
    for path in paths:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(read(layer, path))
    reader = AnnotationReader(f"file://{tmp_path}")
    found = [
        int(one.id)
        for level, places in enumerate(cells)
        for at in places
        for one in reader.spatial[level][at]
    ]
    assert sorted(found) == sorted([7, *objects.ids.tolist()])
    added = reader.by_id[7]
    assert ([float(n) for n in added.point], [int(n) for n in added.props]) == ([8.0, 0.0, 12.0], [2, 2])


def test_other_files_there_are_none_and_another_table_has_another_version() -> None:
    layer = PointLayer(objects_at(20, 3))
    for path in ("", "infos", "spatial9/0_0_0", "spatial0/1_0_0", "spatial0/0_0", "by_id/5", "by_id/x"):
        assert layer.file(path) is None
    assert layer.file(f"by_id/{2**64 + 5}") is None
    assert layer.version == PointLayer(objects_at(20, 3)).version
    others = [objects_at(20, 4), objects_at(20, 3, ("glia", "neuron", "dust"))]
    assert len({layer.version, *(PointLayer(other).version for other in others)}) == 3
