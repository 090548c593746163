"""Training of networks, from the command to cells in the next brain; what is told of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

import chunkflow as cf
from tests.support.commands import Command
from tests.support.jobs import make_job, read_table, run_job
from tests.support.models.training import make_tissue, recipe_document, recipe_of


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def test_a_network_finds_the_cells_of_the_next_brain(
    tissue: dict[str, str], tmp_path: Path, command: Command
) -> None:
    recipe, model = tmp_path / "cells.yaml", tmp_path / "cells.safetensors"
    recipe.write_text(yaml.safe_dump(recipe_document(tissue, steps=160, every=40, batch=4)))
    events = tmp_path / "events"
    said = command("train", "network", recipe, "--to", model, "--tensorboard", events)
    assert said.code == 0, said.err
    assert said.out.startswith("step 40: loss ")
    assert "F1: " in said.out
    assert "with 95 % certainty" in said.out
    assert list(events.glob("events.out.tfevents.*"))
    page = model.with_suffix(".html").read_text()
    assert page.count("data:image/png") == 2  # the curves, and where it is worst
    assert "kind: percentiles" in page
    rows = list(csv.reader(model.with_suffix(".csv").read_text().splitlines()))
    assert rows[0] == ["step", "rate", "loss", "F1", "threshold"]
    assert [row[0] for row in rows[1:]] == ["40", "80", "120", "160"]
    again = command("train", "network", recipe, "--to", model)
    assert again.code == 2
    assert "exists already" in again.err
    other = make_tissue(tmp_path, "other", seed=5)
    layers = {"image": other["image"], "heat": str(tmp_path / "heat"), "cells": str(tmp_path / "found")}
    tasks = [
        {"infer": {"images": ["image"], "model": str(model), "made": "heat"}},
        {"detect": {"image": "heat", "objects": "cells", "diameter": 4}},
    ]
    job = make_job(tmp_path, layers, tasks, chunk=[32, 32, 16], storage=[16, 16, 8])
    assert run_job(job) == "complete"
    scores = cf.evaluate(str(tmp_path / "found"), other["points"], tolerance_um=4)
    assert scores.f1 > 0.85


def test_a_network_of_patches_learns_by_the_same_recipe_and_judges(
    tissue: dict[str, str], tmp_path: Path
) -> None:
    numbers = {"field": [8, 8, 7], "widths": [8, 8, 8], "hidden": 16, "pooling": [1, 1, 1]}
    recipe = recipe_of(
        tissue, architecture="patches", parameters=numbers, patch=[24, 24, 12], steps=80, every=40, batch=4
    )
    trained = cf.train_network(recipe, tmp_path / "m.safetensors")
    assert trained.f1 > 0.8
    other = make_tissue(tmp_path, "other", seed=5)
    cf.import_points(other["points"], tmp_path / "points", other["image"])
    layers = {"image": other["image"], "marked": str(tmp_path / "points"), "judged": str(tmp_path / "judged")}
    task = {"images": ["image"], "objects": "marked", "model": str(trained.path), "judged": "judged"}
    job = make_job(tmp_path, layers, [{"judge": task}], chunk=[32, 32, 16], storage=[16, 16, 8])
    assert run_job(job) == "complete"
    judged = read_table(tmp_path / "judged")["p_cell"].to_numpy()
    threshold = trained.document.outputs[0].threshold
    assert threshold is not None
    assert (judged >= threshold).mean() > 0.8


@pytest.mark.parametrize(("kind", "least"), [("labels", 0.5), ("classes", 0.5)])
def test_labels_and_classes_are_learnt(
    tissue: dict[str, str], tmp_path: Path, kind: str, least: float
) -> None:
    heard: list[int] = []
    recipe = recipe_of(tissue, kind, steps=80, every=40, batch=4, loss="both")
    trained = cf.train_network(
        recipe, tmp_path / "m.safetensors", listeners=[lambda check: heard.append(check.step)]
    )
    assert heard == [40, 80]
    assert trained.f1 > least
    assert [output.kind for output in trained.document.outputs] == (
        ["probability"] if kind == "labels" else ["class", "class"]
    )
    assert (trained.document.outputs[0].threshold is None) == (kind == "classes")
    assert set(trained.scores.by_class) == ({"object"} if kind == "labels" else {"ground", "cell"})
    assert "<h1>Training of a network</h1>" in trained._repr_html_()
    assert "F1: " in repr(trained)


def test_beside_a_model_nothing_is_overwritten(tissue: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("mine")
    with pytest.raises(cf.BadInput, match=r"m\.csv exists already"):
        cf.train_network(recipe_of(tissue), tmp_path / "m.safetensors")
    assert (tmp_path / "m.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_a_recipe_that_is_no_yaml_is_refused(tmp_path: Path, command: Command) -> None:
    (tmp_path / "r.yaml").write_text("architecture: [")
    said = command("train", "network", tmp_path / "r.yaml", "--to", tmp_path / "m.safetensors")
    assert said.code == 2
    assert "is not YAML" in said.err
