"""The real tasks, end to end: labels, table, meshes, annotations and mips are the same in every way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Box, Vec
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job
from tests.support.same import Way, all_made, assert_same, run_in, same_everywhere

SIZE = (133, 104, 62)
OFFSET = (13, -9, 5)
STORAGE = (25, 27, 15)
WHOLE = (150, 108, 75)


def two_channels() -> tuple[np.ndarray, np.ndarray]:
    """Nuclei and what lies in the way of finding them the same in every piece: objects larger than the halo,
    plateaus, saturated and constant regions, objects on the volume's border and corners."""
    rng = np.random.default_rng(7)
    points = np.zeros(SIZE)
    places = tuple(rng.integers(0, n, 160) for n in SIZE)
    points[places] = rng.uniform(0.5, 1.5, 160)
    nuclei = gaussian_filter(points, (2.2, 2.2, 1.1), mode="constant")
    image = 200 + 60_000 * nuclei / nuclei.max() + rng.normal(0, 150, SIZE)
    image[60:66, 10:90, 28:32] += 20_000  # a fibre, far longer than the halo
    image[20:34, 60:74, 40:47] = 30_000  # a plateau, cut straight
    image[90:108, 20:38, 10:19] = 90_000  # saturated
    image[100:, 70:, 45:] = 200  # constant
    image[:4, :4, :3] += 25_000
    image[-3:, -3:, -2:] += 25_000
    first = np.clip(image, 0, 65_535).astype(np.uint16)
    second = rng.integers(0, 65_536, SIZE).astype(np.uint16)
    second[:40] = 65_535
    return first, second


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        name: make_layer(folder / name, array, offset=OFFSET)
        for name, array in zip(("dapi", "cfos"), two_channels(), strict=True)
    }


def the_job(sources: dict[str, str], folder: Path, chunk: Vec) -> Job:
    return make_job(
        folder,
        sources
        | {"nuclei": str(folder / "nuclei"), "cells": str(folder / "cells"), "small": str(folder / "small")},
        [
            {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 7, "minimum_volume": 40}},
            {"measure": {"labels": "nuclei", "images": ["dapi", "cfos"], "objects": "objects"}},
            {"mesh": {"labels": "nuclei", "block": [32, 32, 32]}},
            {"downsample": {"layer": "nuclei", "mips": 2}},
            {"downsample": {"layer": "dapi", "target": "small", "mips": 2}},
            {"annotate": {"objects": "objects", "annotations": "cells", "limit": 20}},
        ],
        chunk=list(chunk),
        storage=list(STORAGE),
    )


def test_however_it_is_cut(sources: dict[str, str], tmp_path: Path) -> None:
    ways = [
        Way((25, 27, 30), 2, shuffled=True),
        Way((75, 54, 15)),
        Way((50, 108, 45), shuffled=True),
        Way((150, 27, 75)),
        Way((100, 81, 60), 3, shuffled=True),
    ]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(sources, folder, chunk), WHOLE, ways)
    objects = read_table(tmp_path / "whole" / "work" / "tables" / "objects")
    labels = read_layer(tmp_path / "whole" / "nuclei")
    ids, counts = np.unique(labels[labels != 0], return_counts=True)
    assert len(ids) > 50
    assert objects["id"].to_pylist() == ids.tolist()
    assert objects["volume"].to_pylist() == counts.tolist()


def test_whoever_does_it(sources: dict[str, str], tmp_path: Path, ray_here: None) -> None:
    ways = [Way((50, 54, 30), 3, ray=True, shuffled=True, kills=3), Way((75, 81, 45), 4, ray=True)]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(sources, folder, chunk), WHOLE, ways)


def test_a_part_of_it(sources: dict[str, str], tmp_path: Path) -> None:
    job = the_job(sources, tmp_path, (50, 54, 30))
    box = Box((40, 10, 15), (100, 70, 50))
    assert run_job(job, box=box) == "complete"
    assert run_in(Way((50, 54, 30)), job) == "complete"
    from cloudvolume import CloudVolume

    part = CloudVolume(f"file://{tmp_path}/work/try/{box}/layers/nuclei", progress=False)
    found = np.asarray(part[box.slices((0, 0, 0))])[..., 0]
    np.testing.assert_array_equal(found, read_layer(tmp_path / "nuclei")[box.slices(OFFSET)])


def test_killed_half_way_and_taken_up_again(sources: dict[str, str], tmp_path: Path) -> None:
    """A run that was cut off three times ends as one that was never cut off."""
    job = the_job(sources, tmp_path / "cut", (50, 54, 30))
    for turn in range(3):
        left = 12 + 7 * turn

        def stop(event: object) -> None:
            nonlocal left
            left -= type(event).__name__ == "CellDone"
            if left == 0:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            run_job(job, listeners=[stop])
    assert run_job(job) == "complete"
    clean = the_job(sources, tmp_path / "clean", (50, 54, 30))
    assert run_job(clean) == "complete"
    assert_same(all_made(job), all_made(clean), "taken up again")
