"""The same answer over chunk sizes, workers, executors, orders and killed workers."""

from pathlib import Path

import numpy as np
import pytest

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from tests.support.jobs import make_job, make_layer
from tests.support.same import Way, same_everywhere

OWN = "tests.support.own_tasks:"
SIZE = (83, 60, 47)
STORAGE = (25, 27, 15)
WHOLE = (100, 81, 60)


def an_image(size: Vec = SIZE, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 1000, size).astype(np.uint16)
    image[20:40, 5:30, 10:30] = 700  # a plateau
    image[:, 40:50, :] = 0
    return image


def the_job(source: str, folder: Path, chunk: Vec) -> Job:
    layers = {name: str(folder / name) for name in ("smooth", "smoother", "whole", "level")} | {
        "image": source
    }
    tasks = [
        {OWN + "Smooth": {"image": "image", "smooth": "smooth", "asks": True}},
        {OWN + "Smooth": {"image": "smooth", "smooth": "smoother", "asks": True, "radius": 4}},
        {OWN + "WholeTiles": {"image": "smooth", "labels": "whole", "size": [9, 13, 40]}},
        {OWN + "Tiles": {"image": "smooth", "labels": "level"}},
        {OWN + "Count": {"labels": "whole", "image": "smooth", "objects": "of_whole"}},
        {OWN + "Count": {"labels": "level", "image": "image", "objects": "of_level"}},
        {OWN + "Blocks": {"labels": "whole", "meshes": "whole/mesh"}},
        {OWN + "Rows": {"objects": "of_whole", "doubled": "doubled"}},
        {OWN + "Even": {"objects": "of_whole", "even": "even"}},
        {OWN + "Even": {"objects": "of_level", "even": "even_level"}},
        {OWN + "Tell": {"objects": "even"}},
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk), storage=list(STORAGE))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_layer(tmp_path_factory.mktemp("in") / "image", an_image(), offset=(10, -7, 3))


def test_chunk_sizes_and_orders_change_nothing(source: str, tmp_path: Path) -> None:
    ways = [
        Way((25, 27, 15), 2, shuffled=True),
        Way((50, 27, 15)),
        Way((25, 54, 30), 4, shuffled=True),
        Way((75, 54, 45), 3),
        Way((50, 81, 45), shuffled=True),
    ]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(source, folder, chunk), WHOLE, ways)


def test_ray_workers_and_kills_change_nothing(source: str, tmp_path: Path, ray_here: None) -> None:
    ways = [
        Way((25, 54, 15), 4, ray=True, shuffled=True, kills=4),
        Way((50, 54, 30), 1, ray=True),
        Way((50, 27, 45), 3, ray=True),
    ]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(source, folder, chunk), WHOLE, ways)
