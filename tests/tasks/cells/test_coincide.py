"""Coincidence: against what the voxels say, by thresholds, by segment's own rule and by models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.people.learning import model as classifier
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job
from tests.support.same import Way, same_everywhere

VOXEL = (1000.0, 1000.0, 2000.0)
SIZE = (90, 80, 40)
DIAMETER = 8.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nuclei of which every second is bright in one more channel, and every third in another."""
    folder = tmp_path_factory.mktemp("coincide")
    rng = np.random.default_rng(4)
    axes = np.meshgrid(*(np.arange(n) + 0.5 for n in SIZE), indexing="ij")
    images = {name: rng.normal(400, 25, SIZE) for name in ("dapi", "cfos", "sox")}
    centres = [(x, y, z) for x in range(9, 86, 14) for y in range(9, 76, 14) for z in range(7, 36, 9)]
    for number, (x, y, z) in enumerate(centres):
        square = (axes[0] - x) ** 2 + (axes[1] - y) ** 2 + (2 * (axes[2] - z)) ** 2
        blob = 2000 * np.exp(-square / (2 * 2.6**2))
        images["dapi"] += blob
        images["cfos"] += blob * (number % 2 == 0)
        images["sox"] += blob * (number % 3 == 0)
    for name, image in images.items():
        make_layer(folder / name, image.clip(0, 65535).astype(np.uint16), "image", VOXEL)
    return folder


def job_of(source: Path, folder: Path, chunk: Vec = (64, 64, 64), **coincide: Any) -> Job:
    layers = {name: str(source / name) for name in ("dapi", "cfos", "sox")} | {
        "nuclei": str(folder / "nuclei")
    }
    images = ["dapi", "cfos", "sox"]
    tasks = [
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": DIAMETER}},
        {"measure": {"labels": "nuclei", "images": images, "contrasts": [DIAMETER]}},
        {"coincide": {"objects": "objects"} | coincide},
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk), storage=[32, 32, 32])


def test_a_threshold_and_the_automatic_rule(source: Path, tmp_path: Path) -> None:
    channels = {"cfos": "auto", "sox": 900.0}
    job = job_of(source, tmp_path, channels=channels, images=["cfos"], diameter=DIAMETER)
    assert run_job(job) == "complete"
    tables = tmp_path / "work" / "tables"
    rows = read_table(tables / "combined").to_pylist()
    labels, sox = read_layer(tmp_path / "nuclei"), read_layer(source / "sox")
    for row in rows[:: len(rows) // 20]:
        assert row["sox_positive"] == (sox[labels == row["id"]].mean() >= 900)
    known = Ledger.load(Folder(job.work)).state
    assert sum(row["cfos_positive"] for row in rows) == known.stages["coincide"].counts["positive in cfos"]
    # every second nucleus, and every third: of both, every sixth
    share = {key: n / len(rows) for key, n in Counter(row["combination"] for row in rows).items()}
    assert share == pytest.approx({"cfos": 1 / 3, "sox": 1 / 6, "cfos + sox": 1 / 6, "none": 1 / 3}, abs=0.02)
    counted = read_table(tables / "combinations").to_pylist()
    assert {row["combination"]: row["own"] for row in counted} == Counter(row["combination"] for row in rows)
    assert (tmp_path / "work" / "reports" / "coincide" / "counts.png").exists()


def test_auto_is_what_segment_would_find(source: Path, tmp_path: Path) -> None:
    """The nuclei of a channel, found in it alone, lie on those that are positive in it, and on no other."""
    auto = job_of(source, tmp_path / "a", channels={"cfos": "auto"}, images=["cfos"], diameter=DIAMETER)
    assert run_job(auto) == "complete"
    alone = make_job(
        tmp_path / "b",
        {"cfos": str(source / "cfos"), "found": str(tmp_path / "b" / "found")},
        [{"segment": {"image": "cfos", "labels": "found", "diameter": DIAMETER}}],
        storage=[32, 32, 32],
    )
    assert run_job(alone) == "complete"
    nuclei, found = read_layer(tmp_path / "a" / "nuclei"), read_layer(tmp_path / "b" / "found")
    peaks = np.unravel_index([int(np.flatnonzero(found.ravel() == i)[0]) for i in np.unique(found)[1:]], SIZE)
    rows = read_table(tmp_path / "a" / "work" / "tables" / "combined").to_pylist()
    positive = {row["id"] for row in rows if row["cfos_positive"]}
    met = {int(i) for i in np.unique(nuclei[found > 0])} - {0}
    assert positive <= met
    assert len(positive) == len(peaks[0])


def test_a_model_and_the_columns_to_count_by(source: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(300, 1500, (200, 1))
    model = LogisticRegression().fit(values, np.where(values[:, 0] > 900, "positive", "negative"))
    description = classifier.Description(
        features=["cfos_mean"], classes=["negative", "positive"], versions=classifier.versions()
    )
    classifier.save(tmp_path / "cfos.skops", model, description)
    job = job_of(source, tmp_path, channels={"cfos": str(tmp_path / "cfos.skops")}, by=["cut"])
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "combined").to_pylist()
    assert all(
        row["cfos_positive"] == (row["cfos_mean"] > 900) for row in rows if abs(row["cfos_mean"] - 900) > 20
    )
    counted = read_table(tmp_path / "work" / "tables" / "combinations").to_pylist()
    assert sum(row["own"] for row in counted) == len(rows)
    assert {row["cut"] for row in counted} == {"false"}


def test_the_same_however_it_was_cut(source: Path, tmp_path: Path) -> None:
    def job(folder: Path, chunk: Vec) -> Job:
        return job_of(
            source, folder, chunk, channels={"sox": "auto", "cfos": 800}, images=["sox"], by=["cut"]
        )

    same_everywhere(tmp_path, job, (96, 96, 64), [Way((32, 64, 32), 2, shuffled=True)], _tables)


def _tables(job: Job) -> dict[str, Any]:
    products = open_plan(job).products
    return {name: read_table(products[name, 0].info.url) for name in ("combined", "combinations")}


WRONG = {
    "auto without an image": ({"channels": {"cfos": "auto"}}, "images must name cfos"),
    "a word": ({"channels": {"cfos": "bright"}}, "a number, auto, or a model"),
    "not a number": ({"channels": {"cfos": float("nan")}}, "must be judged by a number"),
    "no channel": ({"channels": {}}, "at least 1"),
    "no model": ({"channels": {"cfos": "nowhere.skops"}}, "no model"),
    "labels as an image": ({"channels": {"nuclei": "auto"}, "images": ["nuclei"]}, "must be an image"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_judged_is_refused(source: Path, tmp_path: Path, case: str) -> None:
    coincide, said = WRONG[case]
    with pytest.raises(BadInput, match=said):
        open_plan(job_of(source, tmp_path, **coincide))


def test_a_channel_that_was_not_measured(source: Path, tmp_path: Path) -> None:
    job = job_of(source, tmp_path, channels={"tbr": 3})
    assert run_job(job) == "incomplete"
    (failure,) = Ledger.load(Folder(job.work)).state.stages["coincide"].failures.values()
    assert "no column tbr_mean: measure it" in failure.traceback
