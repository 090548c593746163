"""Models that come along: each opens, proves itself, is small, and has a card; a job finds cells by one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from chunkflow.kernels.scoring.matching import match_points
from chunkflow.networks.judging import PATCHES
from chunkflow.networks.loading import load_judge, load_predictor, read_model
from chunkflow.networks.models.listing import list_models
from chunkflow.networks.models.named import FOLDER, model_card, model_names, model_path
from chunkflow.networks.setting import InferenceSetting
from chunkflow.networks.training.recipe import read_recipe
from cluster.probe import KINDS
from tests.support.jobs import make_job, make_layer, read_table, run_job

ROOT = Path(__file__).parents[4]
NAMES = model_names()
MOST_BYTES = 5_000_000
SIZE = (48, 48, 32)
VOXEL_SIZE = (1620.0, 1620.0, 6000.0)
SECTIONS = ("## Data", "## Training", "## Scores", "## When not to use it")


@pytest.mark.parametrize("name", NAMES)
def test_a_model_opens_and_proves_itself(name: str) -> None:
    document = read_model(name)
    load = load_judge if document.architecture == PATCHES else load_predictor
    assert load(name, InferenceSetting()).document == document
    assert document.made.scores["F1"] > 0.5
    assert all(output.threshold is not None for output in document.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small(name: str) -> None:
    assert 0 < model_path(name).stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_what_a_model_is(name: str) -> None:
    card = model_card(name)
    assert card.startswith(f"# {name}\n")
    assert "MIT" in card
    assert [section for section in SECTIONS if section not in card] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_what_its_recipe_says(name: str) -> None:
    recipe = read_recipe(ROOT / "examples" / "models" / f"{name}.yaml").document
    document = read_model(name)
    for what in ("architecture", "parameters", "input", "patch", "overlap"):
        assert getattr(document, what) == getattr(recipe, what)
    assert [output.name for output in document.outputs] == [output.name for output in recipe.outputs]


def test_models_are_listed_in_a_line_each_without_torch() -> None:
    lines = [str(summary) for summary in list_models()]
    assert [line.partition(":")[0] for line in lines] == NAMES
    assert (
        "cells-heatmap: cell (probability), unet, voxels of 1.62 x 1.62 x 6 um, F1 on its validation 0."
        in "\n".join(lines)
    )
    script = (
        "import sys; from chunkflow.networks.models.listing import list_models; "
        "print(*list_models(), sep='\\n'); sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.splitlines() == lines


def test_all_of_the_folder_is_installed_and_goes_to_clusters() -> None:
    setting = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [*setting["package-data"]["*"], "*.py"]
    files = [file.name for file in FOLDER.iterdir() if file.is_file()]
    assert len(files) >= 3 + 2 * len(NAMES)
    assert [file for file in files if not any(fnmatch(file, pattern) for pattern in patterns)] == []
    assert [file for file in files if Path(file).suffix not in KINDS] == []


def test_a_job_finds_cells_with_a_model_by_its_name(tmp_path: Path) -> None:
    places = np.array([(x, y, z) for x in (12, 36) for y in (12, 36) for z in (7, 16, 25)])
    cells = np.zeros(SIZE)
    cells[tuple(places.T)] = 1
    smooth = ndimage.gaussian_filter(cells, (2.0, 2.0, 0.8))
    noise = np.random.default_rng(0).normal(0, 20, SIZE)
    image = (300 + 1000 * smooth / smooth.max() + noise).clip(0).astype(np.uint16)
    layers = {"cfos": make_layer(tmp_path / "cfos", image, voxel_size=VOXEL_SIZE)}
    tasks = [
        {"infer": {"images": ["cfos"], "model": "cells-heatmap", "made": "heat"}},
        {"detect": {"image": "heat", "objects": "cells", "diameter": 10}},
    ]
    job = make_job(tmp_path, layers | {"heat": str(tmp_path / "heat")}, tasks, chunk=(64, 64, 64))
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "cells")
    found = np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1)
    assert match_points(found, (places + 0.5) * np.array(VOXEL_SIZE) / 1000, 5.0).f1 > 0.9
