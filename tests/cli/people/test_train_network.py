"""Training of networks, from the command to cells in the next brain; what is told of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import yaml
from cloudvolume import CloudVolume

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.kernels.scoring.matching import match_points, matched_pairs
from chunkflow.networks.placement import FULL
from chunkflow.networks.training.regions import JudgedCandidates, learnt_regions, ranked_in
from chunkflow.networks.training.training import predict_over
from chunkflow.networks.training.volumes import open_volumes
from tests.support.commands import Command
from tests.support.jobs import make_job, read_table, run_job
from tests.support.models.training import SIZE, make_tissue, recipe_document, recipe_of


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
    assert page.count("data:image/png") == 3  # how it learnt, cells, and where it is worst
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


def test_candidates_are_judged_as_the_task_judges_them(
    tissue: dict[str, str], tmp_path: Path, command: Command
) -> None:
    recipe, model = tmp_path / "asked.yaml", tmp_path / "asked.safetensors"
    recipe.write_text(
        yaml.safe_dump(recipe_document(tissue, "candidates", steps=120, every=60, batch=16, rate=0.01))
    )
    said = command("train", "network", recipe, "--to", model)
    assert said.code == 0, said.err
    trained = cf.train_network(recipe, model, overwrite=True)  # nothing is trained anew
    assert trained.f1 > 0.8
    cells, controls = trained.scores.cells, trained.scores.controls
    assert cells is not None
    assert controls is not None
    assert cells.values["ROC AUC"] > 0.8
    assert controls.values["PR AUC"] > 0.8
    page = trained.report.read_text()
    assert f"<td>all cells</td><td>{cells.values['F1']:.3f}</td>" in page
    assert "<td>places at random</td>" in page
    cf.import_points(tissue["candidates"], tmp_path / "points", tissue["image"])
    layers = {"image": tissue["image"], "asked": str(tmp_path / "points"), "judged": str(tmp_path / "judged")}
    task = {"images": ["image"], "objects": "asked", "model": str(model), "judged": "judged"}
    job = make_job(tmp_path, layers, [{"judge": task}], chunk=[32, 32, 16], storage=[16, 16, 8])
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "judged")
    columns = [rows[name].to_pylist() for name in ("x", "y", "z", "p_cell")]
    said_of = {
        tuple(round(value, 3) for value in place): chance for *place, chance in zip(*columns, strict=True)
    }
    (judged,) = trained.training.predicted
    assert isinstance(judged, JudgedCandidates)
    assert len(judged.places)
    for place, steps in zip(judged.places, judged.steps, strict=True):
        assert said_of[tuple(round(value, 3) for value in place.tolist())] == pytest.approx(steps / FULL)


@pytest.mark.parametrize("kind", ["points", "candidates"])
def test_a_second_round_goes_on_from_the_mistakes_of_the_first(
    tissue: dict[str, str], tmp_path: Path, kind: str
) -> None:
    unseen = Path(tissue["candidates"]).read_text().splitlines()[-9:]  # marked, and nothing is there
    marked = tmp_path / "marked.csv"
    marked.write_text("\n".join([*Path(tissue["points"]).read_text().splitlines(), *unseen]) + "\n")
    recipe = recipe_of(tissue | {"points": str(marked)}, kind, steps=8, every=4, patch=[8, 8, 8])
    trained = cf.train_network(recipe, tmp_path / "m.safetensors", rounds=2, folds=2, serial=True)
    (before,) = trained.before
    assert before.cells is not None
    assert "<td>all cells, round 1</td>" in trained.report.read_text()
    assert "<td>all cells, round 2</td>" in trained.report.read_text()
    assert trained.folds is not None
    assert trained.folds.rounds == 2
    assert len(trained.folds.of_round(0)) == 2
    first = tmp_path / "m.round-1.safetensors"
    rows = list(csv.DictReader((tmp_path / "m.round-1.volume-1.csv").read_text().splitlines()))
    (learnt,) = (
        ranked_in(one, recipe.truth, cf.read_model(first).outputs[0].threshold)
        for one in predict_over(recipe, first, learnt_regions(open_volumes(recipe)))
    )
    wrong = int((learnt.taken & ~learnt.is_cell).sum())
    missed = learnt.missed + int((learnt.is_cell & ~learnt.taken).sum())
    assert sum(row["class"] == "no cell" for row in rows) == -(-wrong // 2)
    assert sum(row["class"] == "cell" for row in rows) == missed
    assert missed > 0
    with pytest.raises(BadInput, match="rounds go on from missed cells"):
        cf.train_network(recipe_of(tissue, "labels"), tmp_path / "l.safetensors", rounds=2)


def test_false_positives_that_a_reviewer_calls_cells_adjust_the_scores(
    tissue: dict[str, str], tmp_path: Path
) -> None:
    recipe = recipe_of(tissue, "candidates", steps=12, every=6, batch=4, rate=1e-9)  # it learns nothing
    model = tmp_path / "m.safetensors"
    first = cf.train_network(recipe, model)
    weights, file = model.read_bytes(), tmp_path / "m.false-positives" / "1-tissue.csv"
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert first.scores.cells is not None
    assert len(rows) == first.scores.cells.counts["false positives"] > 1
    assert {row["class"] for row in rows} == {""}
    assert all(float(row[axis]) < size for row in rows for axis, size in zip("xyz", SIZE, strict=True))
    rows[0]["class"], rows[1]["class"] = " cell ", "vessel"
    elsewhere = {"x": "1.5", "y": "2.5", "z": "3.5", "class": "cell"}  # found by an earlier network
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, rows[0])
        writer.writeheader()
        writer.writerows([*rows, elsewhere])
    again = cf.train_network(recipe, model, overwrite=True)
    assert model.read_bytes() == weights
    assert again.checks == first.checks
    assert again.scores.cells is not None
    assert again.scores.cells.called == 1
    assert again.scores.cells.adjusted["precision"] > first.scores.cells.values["precision"]
    assert "of these cells, by review" in again.report.read_text()
    kept = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["class"] for row in kept[:2]] == ["cell", "vessel"]
    assert kept[-1]["x"] == "1.5"
    assert len(kept) == len(rows) + 1


def test_a_heatmap_beside_the_features_tells_cells_however_the_volume_is_cut(
    tissue: dict[str, str], tmp_path: Path
) -> None:
    """Trained, run over a volume, measured over candidates and classified: the same cells by two cuts."""
    model = cf.train_network(recipe_of(tissue, steps=100, every=50, batch=4), tmp_path / "m.safetensors").path
    found, heats = [], []
    for number, chunk in enumerate(([32, 32, 16], [48, 16, 24])):
        folder = tmp_path / str(number)
        folder.mkdir()
        layers = {"image": tissue["image"]} | {
            name: str(folder / name) for name in ("heat", "labels", "objects", "cells")
        }
        tasks: list[dict[str, Any]] = [
            {"infer": {"images": ["image"], "model": str(model), "made": "heat"}},
            {"segment": {"image": "image", "labels": "labels", "diameter": 3, "threshold": 6}},
            {"measure": {"labels": "labels", "images": ["image", "heat"], "objects": "objects"}},
        ]
        job = make_job(folder, layers, tasks, chunk=chunk, storage=[16, 16, 8])
        assert run_job(job) == "complete"
        if not found:
            rows = read_table(folder / "objects")
            classifier = _classifier_of(rows, tissue, tmp_path)
        tasks.append({"classify": {"objects": "objects", "model": str(classifier), "classes": "cells"}})
        assert run_job(make_job(folder, layers, tasks, chunk=chunk, storage=[16, 16, 8])) == "complete"
        found.append(read_table(folder / "cells").sort_by("id"))
        heats.append(CloudVolume(f"file://{folder / 'heat'}", progress=False)[:])
    assert (heats[0] == heats[1]).all()
    assert found[0].equals(found[1])
    cells = found[0].filter(pc.equal(found[0]["class"], "cell"))
    truth = np.loadtxt(tissue["points"], delimiter=",", skiprows=1) * (1, 1, 2)
    places = np.stack([cells[f"{axis}_um"].to_numpy() for axis in "xyz"], 1)
    assert len(found[0]) > 1.3 * len(truth)
    assert match_points(places, truth, 4).f1 > 0.9


def _classifier_of(rows: Any, tissue: dict[str, str], folder: Path) -> Path:
    """Learnt from what every candidate is."""
    truth = np.loadtxt(tissue["points"], delimiter=",", skiprows=1) * (1, 1, 2)
    places = np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1)
    near = np.zeros(len(rows), bool)
    near[matched_pairs(places, truth, 4)[:, 0]] = True
    labels = folder / "labels.csv"
    names = np.where(near, "cell", "none")
    said = [f"{number},{name}" for number, name in zip(rows["id"].to_pylist(), names, strict=True)]
    labels.write_text("id,class\n" + "\n".join(said) + "\n")
    model = cf.train(folder / "0" / "objects", labels, folder / "cells.skops", positive="cell", folds=4)
    assert any(name.startswith("heat_") for name in model.description.features)
    return model.path
