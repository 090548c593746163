"""The recipes of the models that come along learn from volumes as they are published."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chunkflow.networks.models.named import model_names
from chunkflow.networks.training.recipe import read_recipe
from chunkflow.networks.training.training import fit_network
from tests.support.jobs import read_layer

MODELS = Path(__file__).parents[2] / "examples" / "models"
SIZE = (64, 56, 40)


@pytest.fixture
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare", MODELS / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def publish(folder: Path, name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A volume as it is published, with cells of 3 x 3 x 1 voxels; and where their middles are."""
    random = np.random.default_rng(seed)
    middles = np.array([(x, y, z) for x in (8, 30, 52) for y in (8, 40) for z in (5, 20, 36)])
    truth = np.zeros(SIZE, np.uint8)
    for x, y, z in middles:
        truth[x - 1 : x + 2, y - 1 : y + 2, z] = 255
    image = (np.where(truth, 2800, 300) + random.normal(0, 20, SIZE)).astype(np.uint16)
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"light_sheet_{name}.npz", image=image, truth=truth)
    return image, middles + 0.5


@pytest.mark.parametrize("name", model_names())
def test_a_model_learns_from_published_volumes(tmp_path: Path, prepare: ModuleType, name: str) -> None:
    recipe = tmp_path / "examples" / "models" / f"{name}.yaml"
    recipe.parent.mkdir(parents=True)
    shutil.copy(MODELS / recipe.name, recipe)
    known = [Path(volume.images[0]).name for volume in read_recipe(recipe).volumes]
    image, middles = publish(tmp_path / "published", known[0], 0)
    publish(tmp_path / "published", known[1], 1)
    np.savez(tmp_path / "published" / "others.npz", image=image)
    data = tmp_path / "examples" / "data" / "models"
    assert prepare.prepare(tmp_path / "published", data) == sorted(known[:2])
    np.testing.assert_array_equal(read_layer(data / known[0]), image)
    written = np.loadtxt(data / f"{known[0]}.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(written, middles)
    volumes = read_recipe(recipe).volumes[:2]
    short = read_recipe(recipe).model_copy(update={"volumes": volumes, "steps": 1, "every": 1, "batch": 2})
    assert fit_network(short, tmp_path / "m.safetensors").document.made.steps == 1
