"""Few labels: parts that grow, judged by the same voxels; networks from scratch and fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

import chunkflow as cf
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.training import fit_network
from chunkflow.networks.training.volumes import OpenedVolume, open_volumes
from chunkflow.people.learning.networks.few_labels import parts_of, score_few_labels
from tests.support.commands import Command
from tests.support.models.training import make_tissue, recipe_document, recipe_of

LITTLE: dict[str, Any] = {"overlap": [4, 4, 2], "steps": 4, "every": 4}


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("brains")
    return [make_tissue(folder, f"brain-{number}", seed=number) for number in range(2)]


@pytest.fixture(scope="module")
def start(brains: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network that knows the cells of another brain."""
    model = tmp_path_factory.mktemp("start") / "start.safetensors"
    fit_network(recipe_of(brains[1], **LITTLE | {"steps": 60, "every": 30}), model)
    return str(model)


def masks(volumes: list[OpenedVolume], what: str) -> dict[str, np.ndarray]:
    found = {volume.name: getattr(volume, what)(volume.space.volume) for volume in volumes}
    return {name: mask for name, mask in found.items() if mask.any()}


@pytest.mark.parametrize(
    ("number", "own", "changes"),
    [
        (1, {}, {}),
        (1, {"validation": ()}, {}),  # the last fifth
        (1, {"boxes": ["0-40,8-56,0-24", "30-72,0-40,0-20"], "held_out": "0-6,0-56,0-24"}, {}),
        (2, {"boxes": ["0-72,0-50,0-24"]}, {}),
        (2, {"validation": "all"}, {}),
        (1, {}, {"resample": True, "voxel_size": [1300, 1700, 2000]}),
        (1, {"validation": ()}, {"resample": True, "voxel_size": [2100, 1000, 2000]}),
    ],
    ids=["box", "fifth", "boxes", "two", "two-all", "resampled", "resampled-fifth"],
)
def test_parts_hold_so_many_points_and_each_the_one_before(
    brains: list[dict[str, str]], number: int, own: dict[str, Any], changes: dict[str, Any]
) -> None:
    given = [recipe_document(brain)["volumes"][0] | {"truth": brain["points"]} for brain in brains[:number]]
    given[-1] |= own
    document = recipe_document(brains[0], volumes=given, patch=[8, 8, 8])
    document["input"]["voxel_size"] = changes.pop("voxel_size", document["input"]["voxel_size"])
    recipe = NetworkRecipe.of(document | changes, Path("/"))
    volumes = open_volumes(recipe)
    parts, points = parts_of(recipe, volumes, (5, 12, points_in(volumes), 500))
    assert points == points_in(volumes) == parts[-1].labels
    whole, judged = masks(volumes, "learnt"), masks(volumes, "judged")
    before: dict[str, np.ndarray] = {}
    for part, asked in zip(parts, (5, 12, points), strict=True):
        opened = open_volumes(part.recipe)
        assert asked <= part.labels == points_in(opened) <= asked + 2  # of one section
        learnt, again = masks(opened, "learnt"), masks(opened, "judged")
        assert before.keys() <= learnt.keys() <= whole.keys()
        assert all((mask <= learnt[name]).all() for name, mask in before.items())
        assert all((mask <= whole[name]).all() for name, mask in learnt.items())
        assert again.keys() == judged.keys()
        assert all((again[name] == mask).all() for name, mask in judged.items())
        before = learnt


def points_in(volumes: list[OpenedVolume]) -> int:
    return sum(len(volume.points_where("learnt")) for volume in volumes)


def test_from_scratch_and_fine_tuned_with_few_labels(
    brains: list[dict[str, str]], start: str, tmp_path: Path, command: Command, ray_here: None
) -> None:
    """At a rate of next to nothing what was begun with stays, and nothing is learnt from scratch."""
    recipe, model = tmp_path / "cells.yaml", tmp_path / "cells.safetensors"
    little = LITTLE | {"rate": 1e-6, "start": start, "freeze": ["down."]}
    recipe.write_text(yaml.safe_dump(recipe_document(brains[0], **little)))
    asked = ["--labels", "5", "--labels", "10", "--serial"]
    said = command("train", "network", recipe, "--to", model, *asked)
    assert said.code == 0, said.err
    assert "Without labels, F1: " in said.out
    made = {path.name: path.read_bytes() for path in tmp_path.glob("cells.*-labels-*")}
    read = cf.read_recipe(recipe)
    again = score_few_labels(read, model, (5, 10), "", serial=True, overwrite=False)
    none, five, ten = again.rows
    on_ray = score_few_labels(read, model, (10,), "", serial=False, overwrite=False).rows[1]
    assert ten.from_scratch is not None
    assert on_ray.from_scratch is not None
    assert on_ray.from_scratch.values == ten.from_scratch.values
    assert on_ray.fine_tuned.values == ten.fine_tuned.values
    assert (none.labels, none.from_scratch) == (0, None)
    assert 5 <= five.labels < 10 <= ten.labels
    assert set(made) == {
        f"cells.{row.labels}-labels-{name}.safetensors"
        for row in (five, ten)
        for name in ("from-scratch", "fine-tuned")
    }
    assert made == {path.name: path.read_bytes() for path in tmp_path.glob("cells.*-labels-*")}
    for row in (five, ten):
        assert row.from_scratch is not None
        tuned = row.fine_tuned.values["F1"]
        assert tuned >= none.fine_tuned.values["F1"] > 0.8 > row.from_scratch.values["F1"]
        files = [
            tmp_path / f"cells.{row.labels}-labels-{n}.safetensors" for n in ("fine-tuned", "from-scratch")
        ]
        weights = [load_file(file)["down.0.0.weight"] for file in (*files, Path(start))]
        assert (weights[0] == weights[2]).all()  # frozen
        assert not (weights[1] == weights[2]).all()
        assert f"With {row.labels} labels, F1: {row.from_scratch.values['F1']:.3f}" in said.out
    page = model.with_suffix(".html").read_text()
    assert "<h2>Few labels</h2>" in page
    assert f"<td>{again.points}</td><td></td><td></td>" in page
    assert page.count("data:image/png") == 4


@pytest.mark.parametrize(
    ("kind", "labels", "begun", "said"),
    [
        ("points", (5, 0), True, "`labels` are at least 1, not 0"),
        ("points", (200, 500), True, "points are learnt from, and at least 200 labels are asked for"),
        ("points", (5,), False, "say in the recipe with which model to begin"),
        ("labels", (5,), True, "`labels` counts points, and the truth of the recipe is labels"),
        ("classes", (5,), True, "`labels` counts points, and the truth of the recipe is classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    brains: list[dict[str, str]],
    start: str,
    tmp_path: Path,
    kind: str,
    labels: tuple[int, ...],
    begun: bool,
    said: str,
) -> None:
    recipe = recipe_of(brains[0], kind, **LITTLE | ({"start": start} if begun else {}))
    with pytest.raises(cf.BadInput, match=said):
        cf.train_network(recipe, tmp_path / "m.safetensors", labels=labels, serial=True)
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_kind_is_refused_before_anything_is_trained(
    brains: list[dict[str, str]], start: str, tmp_path: Path
) -> None:
    recipe = recipe_of(brains[0], **LITTLE | {"start": start, "parameters": {"widths": [4], "pooling": []}})
    with pytest.raises(cf.BadInput, match="another `parameters`"):
        cf.train_network(recipe, tmp_path / "m.safetensors", labels=(5,), serial=True)
    assert not list(tmp_path.iterdir())
