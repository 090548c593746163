"""Which object a point means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.data.describe import layer_at
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import assign, read_points
from tests.support.files.point_files import LAYER, QUICK, VOLUME, lines, put
from tests.support.jobs import make_layer


def test_labels_of_ids_alone_need_no_places(tmp_path: Path) -> None:
    points = read_points(put(tmp_path, "p.csv", "ID,Class\n18446744073709551615,007\n2,\n"), LAYER)
    assert points.to_pylist() == [{"id": 2**64 - 1, "class": "007"}, {"id": 2, "class": None}]
    assert points.schema.types == [pa.uint64(), pa.string()]


def objects(*rows: tuple[int, float, float, float, float]) -> pa.Table:
    """Ids, centroids in voxels of the layer, diameters in micrometres."""
    ids, x, y, z, diameter = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "id": pa.array(ids, pa.uint64()),
            "x_um": pa.array(np.array(x, float) * 1.62),
            "y_um": pa.array(np.array(y, float)),
            "z_um": pa.array(np.array(z, float) * 6),
            "diameter_um": pa.array(diameter, pa.float32()),
        }
    )


def points_at(*places: tuple[float, ...], **more: Any) -> pa.Table:
    return pa.table({**dict(zip("xyz", np.array(places, float).reshape(-1, 3).T, strict=True)), **more})


def test_a_point_means_the_nearest_object_whose_radius_reaches_it() -> None:
    table = objects((5, 20, 0, 40, 4), (9, 20, 3, 40, 20), (7, 60, 0, 40, 10), (6, 60, 4, 40, 10))
    points = points_at((20, 1, 40), (20, 8, 40), (60, 2, 40), (60, 0, 42), (20, 12.9, 40))
    found = assign(points, table, LAYER)
    assert found.ids.tolist() == [5, 9, 6, 0, 9]
    assert found.unmatched.tolist() == [3]
    assert found.doubled.tolist() == [9]
    assert found.said == "Points on no object: 1 of 5 (numbers 4); objects with several points: 1 (ids 9)."
    assert assign(points_at((20, 1, 40)), table, LAYER).said == ""


def test_a_point_means_the_object_under_it(tmp_path: Path) -> None:
    labels = np.zeros((100, 80, 50), np.uint64)
    labels[0:20, 0:20, 0:20] = 2**63 + 1
    labels[60:99, 60:80, 30:50] = 4
    url = make_layer(tmp_path / "l", labels, "segmentation", LAYER.voxel_size, VOLUME.start)
    volume = Volume(layer_at(f"file://{url}"))
    table = objects((2**63 + 1, 20, -10, 40, 8), (9, 25, -10, 40, 30))
    points = points_at((29.9, -0.1, 49.9), (30.1, -0.1, 49.9), (80, 50, 70), (110, 60, 80))
    found = assign(points, table, LAYER, volume)
    assert found.ids.tolist() == [2**63 + 1, 0, 0, 0]  # 4 is no object of the table; a face has no voxel
    assert assign(points_at((30.1, -10, 40)), table, LAYER, volume).ids.tolist() == [9]


def test_a_row_with_the_id_of_an_object_there_means_it() -> None:
    table = objects((5, 20, 0, 40, 4), (9, 20, 3, 40, 20), (7, 60, 0, 40, 10))
    own = pa.array([9, 7, 5], pa.uint64())
    points = points_at((20, 1, 40), (20, 1, 40), (60, 0, 40), id=own)
    assert assign(points, table, LAYER).ids.tolist() == [9, 5, 7]
    alone = pa.table({"id": pa.array([7, 8, 9], pa.uint64())})
    assert assign(alone, [table.slice(0, 1), table.slice(1)], LAYER).ids.tolist() == [7, 0, 9]


def test_points_need_objects_that_were_measured() -> None:
    with pytest.raises(BadInput, match="measure makes; x_um is lacking"):
        assign(points_at((1, 2, 3)), pa.table({"id": pa.array([1], pa.uint64())}), LAYER)
    assert assign(points_at((20, 1, 40)), objects(), LAYER).ids.tolist() == [0]
    assert assign(points_at(), objects((5, 20, 0, 40, 4)), LAYER).ids.tolist() == []


spots = st.tuples(st.integers(10, 20), st.integers(0, 9), st.integers(40, 42))


@QUICK
@given(st.lists(st.tuples(spots, st.integers(1, 9)), max_size=12), st.lists(spots, max_size=6), st.randoms())
def test_who_is_nearest_does_not_depend_on_order_or_pieces(
    found: list[Any], marked: list[Any], random: Any
) -> None:
    rows = [(n + 1, *place, diameter) for n, (place, diameter) in enumerate(found)]
    wanted = []
    size = np.array(LAYER.voxel_size) / 1e3
    for point in marked:
        near = []
        for number, x, y, z, diameter in rows:
            distance = np.linalg.norm((np.array([x, y, z]) - point) * size)
            near += [(round(distance, 9), number)] if distance <= diameter / 2 - 1e-9 else []
            if abs(distance - diameter / 2) < 1e-9:
                return  # on the very edge rounding decides
        wanted.append(min(near)[1] if near else 0)
    random.shuffle(rows)
    pieces = [objects(*rows[:3]), objects(*rows[3:])]
    assert assign(points_at(*marked), pieces, LAYER).ids.tolist() == wanted


def test_the_volume_has_its_faces_and_nothing_beyond(tmp_path: Path) -> None:
    faces = lines(["x", "y", "z"], VOLUME.start, VOLUME.stop)
    assert len(read_points(put(tmp_path, "p.csv", faces), LAYER)) == 2
    for beyond in ("9.99,0,40", "110.01,0,40", "20,0,80.01"):
        with pytest.raises(BadInput, match="1 of 1 points lie outside"):
            read_points(put(tmp_path, "p.csv", f"x,y,z\n{beyond}\n"), LAYER)


def test_the_nearest_object_is_meant_whatever_its_id() -> None:
    for near, far in ((5, 9), (9, 5)):
        table = objects((near, 20, 0, 40, 8), (far, 20, 3, 40, 20))
        assert assign(points_at((20, 1, 40)), table, LAYER).ids.tolist() == [near]
