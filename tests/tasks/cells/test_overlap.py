"""The table of overlaps, however the volume is cut; also of labels that are known to be connected."""

from pathlib import Path

import numpy as np

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from chunkflow.kernels.scoring.agreement import count_overlaps
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job
from tests.support.same import Way, same_everywhere

VOXEL = (500.0, 500.0, 2000.0)
START = (11, -6, 4)


def two_labellings() -> tuple[np.ndarray, np.ndarray]:
    """Labels that span many chunks or have several pieces, and the same moved by a few voxels."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 12, (8, 7, 5)).astype(np.uint32)
    labels = np.kron(coarse, np.ones((7, 7, 7), np.uint32))[:53, :45, :32]
    other = np.roll(labels, (2, 1, 0), (0, 1, 2)).astype(np.uint64) * 2**40
    return np.asfortranarray(labels), np.asfortranarray(other)


def test_the_same_table_however_it_is_cut(tmp_path: Path) -> None:
    labels, other = two_labellings()

    def job_of(folder: Path, chunk: Vec) -> Job:
        folder.mkdir(parents=True)
        layers = {
            "found": make_layer(folder / "found", labels, "segmentation", VOXEL, START),
            "true": make_layer(folder / "true", other, "segmentation", VOXEL, START),
        }
        step = {"overlap": {"labels": "found", "other": "true"}}
        return make_job(folder, layers, [step], chunk=list(chunk))

    ways = [Way((16, 16, 16), shuffled=True), Way((13, 50, 7))]
    same_everywhere(tmp_path, job_of, (64, 64, 64), ways)
    table = read_table(tmp_path / "whole" / "work" / "tables" / "overlaps")
    assert table.column_names == ["id", "other", "voxels"]
    pairs = sorted(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    assert pairs == [tuple(map(int, row)) for row in zip(*count_overlaps(labels, other), strict=True)]


def test_labels_that_the_same_job_makes(tmp_path: Path) -> None:
    """They are known to be connected, and ids name voxels; what is no object is counted all the same."""
    random = np.random.default_rng(2)
    image = random.integers(90, 110, (64, 60, 40)).astype(np.uint16)
    for x, y, z in random.integers(5, 35, (25, 3)):
        image[x - 2 : x + 3, y - 2 : y + 3, z - 2 : z + 3] += 900
    true = (image > 500).astype(np.uint8)
    tables = []
    for chunk in ([64, 64, 64], [16, 16, 16]):
        folder = tmp_path / str(chunk[0])
        folder.mkdir()
        layers = {
            "dapi": make_layer(folder / "dapi", image, "image", VOXEL, START),
            "true": make_layer(folder / "true", true, "segmentation", VOXEL, START),
            "nuclei": str(folder / "nuclei"),
        }
        steps = [
            {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 2.5, "threshold": 60.0}},
            {"overlap": {"labels": "nuclei", "other": "true"}},
        ]
        assert run_job(make_job(folder, layers, steps, chunk=chunk, storage=[16, 16, 16])) == "complete"
        table = read_table(folder / "work" / "tables" / "overlaps")
        tables.append(sorted(map(tuple, (row.values() for row in table.to_pylist()))))
    labels = read_layer(tmp_path / "64" / "nuclei")
    assert len(np.unique(labels)) > 5
    expected = [tuple(map(int, row)) for row in zip(*count_overlaps(labels, true), strict=True)]
    assert tables[0] == expected
    assert tables[1] == expected
