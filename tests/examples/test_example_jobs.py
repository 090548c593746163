"""The job files of examples/ run as they are; here on smaller volumes, so as to be quick."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.ndimage import median_filter

import chunkflow as cf
from chunkflow.engine.planning.job import Job
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.networks.loading import read_model
from tests.support.jobs import make_layer, read_layer, read_table, run_job

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, as the jobs write beside themselves."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return tmp_path / "examples"


def run(job_file: Path, settings: Sequence[str] = ()) -> None:
    assert run_job(Job.from_file(job_file, settings)) == "complete"


def test_a_task_of_ones_own(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(examples / "own_task"))
    run(examples / "own_task" / "smooth.yaml", ["tasks.synthesize.size=[70,65,40]"])
    image, smooth = (read_layer(examples / "data" / "smooth" / name) for name in ("dapi", "smooth"))
    np.testing.assert_array_equal(smooth, median_filter(image, (5, 5, 3)))


def test_workers_elsewhere_get_the_task_that_lies_beside_the_job_file(examples: Path, tmp_path: Path) -> None:
    """By the command line, from another folder, with a worker of its own process."""
    arguments = [str(examples / "own_task" / "smooth.yaml"), "--workers", "1"]
    arguments += ["--set", "tasks.synthesize.size=[70,65,40]"]
    command = [sys.executable, "-c", "from cli.main import main; main()", "run", *arguments]
    place = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    ran = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    image, smooth = (read_layer(examples / "data" / "smooth" / name) for name in ("dapi", "smooth"))
    np.testing.assert_array_equal(smooth, median_filter(image, (5, 5, 3)))


def test_nuclei_are_found_measured_meshed_and_shown(examples: Path) -> None:
    run(examples / "synthetic.yaml", ["tasks.synthesize.size=[128,128,96]", "chunk=[64,128,64]"])
    run(examples / "nuclei.yaml", ["chunk=[128,64,64]"])
    data = examples / "data"
    truth = centres(read_table(data / "synthetic" / "tables" / "truth"))
    objects = read_table(data / "work" / "tables" / "objects")
    assert len(truth) > 80
    score = match_points(centres(objects), truth, 4.0)
    assert score.f1 > 0.95, score
    assert set(np.unique(read_layer(data / "nuclei"))) == {0, *objects["id"].to_pylist()}
    assert (data / "nuclei" / "mesh" / "info").exists()
    assert (data / "cells" / "info").exists()


def test_a_network_learns_from_marked_cells_and_finds_those_of_the_next_block(examples: Path) -> None:
    data = examples / "data" / "train"
    run(examples / "train" / "tissue.yaml")
    cf.export(cf.open(data / "tissue").table("truth"), data / "marked.csv", columns=["x", "y", "z"])
    recipe = cf.read_recipe(examples / "train" / "cells.yaml").model_copy(update={"steps": 80, "every": 40})
    trained = cf.train_network(recipe, data / "cells.safetensors")
    assert trained.f1 > 0.9
    run(examples / "train" / "find.yaml")
    found, truth = (centres(read_table(data / "next" / "tables" / name)) for name in ("cells", "truth"))
    score = match_points(found, truth, 5.0)
    assert score.f1 > 0.9, score


def test_labels_that_exist_are_meshed_beside_themselves(examples: Path, tmp_path: Path) -> None:
    labels = np.zeros((40, 40, 20), np.uint32)
    labels[5:20, 5:30, 3:15] = 7
    labels[20:35, 5:30, 3:15] = 9
    make_layer(tmp_path / "labels", labels, "segmentation", (16, 16, 40))
    before = snapshot(tmp_path / "labels")
    run(examples / "em-meshes.yaml", [f"layers.labels={tmp_path / 'labels'}"])
    meshes = {path.name for path in (examples / "data" / "meshes").iterdir()}
    assert meshes == {"info", "0.shard"}
    assert snapshot(tmp_path / "labels") == before


def centres(rows: pa.Table) -> np.ndarray:
    return np.stack([rows[name].to_numpy() for name in ("x_um", "y_um", "z_um")], axis=1)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_network_finds_the_cells(examples: Path) -> None:
    run(examples / "infer" / "infer.yaml", ["tasks.synthesize.size=[96,96,48]"])
    data = examples / "data" / "infer"
    truth = read_table(data / "work" / "tables" / "truth")
    labels = read_layer(data / "cells")
    places = np.stack([truth[axis].to_numpy() for axis in "xyz"], 1).astype(int)
    inside = places[((places >= 4) & (places < np.array(labels.shape) - 4)).all(1)]
    assert len(inside) >= 10
    assert (labels[tuple(inside.T)] > 0).mean() >= 0.9


def test_the_network_of_the_example_is_made_by_its_script(examples: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(examples / "infer" / "train.py"), "3"]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent)}
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=environment)
    made, kept = (read_model(place / "infer" / "cells.safetensors") for place in (examples, EXAMPLES))
    assert made == kept
