"""Classes by a trained model: the same however cut, and of the columns that the model was trained on."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.people.learning.model import Model, load, save
from tests.support.files.classifiers import (
    CLASSES,
    COLUMNS,
    VOXEL,
    described,
    fitted,
    mapped,
    rows_of,
    saved_model,
)
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, same_everywhere


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path)


def tissue() -> tuple[np.ndarray, np.ndarray]:
    """Balls of all sizes and brightnesses, some across the faces of chunks."""
    random = np.random.default_rng(5)
    labels = np.zeros((64, 56, 40), np.uint32, order="F")
    image = random.integers(80, 120, labels.shape).astype(np.uint16)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in labels.shape), indexing="ij"), -1)
    for number, centre in enumerate(np.ndindex(8, 7, 5), 1):
        radius = random.uniform(1.2, 3.4)
        ball = ((grid - (np.array(centre) * 8 + 4)) ** 2).sum(-1) <= radius**2
        labels[ball] = number
        image[ball] += random.integers(50, 900, dtype=np.uint16)
    return labels, np.asfortranarray(image)


def classify_job(folder: Path, model: Path, chunk: Vec, images: str = "dapi") -> Job:
    folder.mkdir(exist_ok=True)
    labels, image = tissue()
    layers = {
        "labels": make_layer(folder / "labels", labels, "segmentation", VOXEL),
        images: make_layer(folder / "dapi", image, "image", VOXEL),
    }
    measure = {"labels": "labels", "images": [images], "objects": "objects"}
    classify = {"objects": "objects", "model": str(model), "classes": "classes"}
    return make_job(folder, layers, [{"measure": measure}, {"classify": classify}], chunk=chunk)


def test_each_object_gets_the_class_that_the_model_gives_it_however_it_is_cut(
    tmp_path: Path, model: Path
) -> None:
    ways = [Way((32, 32, 32)), Way((64, 32, 32), shuffled=True)]
    same_everywhere(tmp_path, lambda folder, chunk: classify_job(folder, model, chunk), (64, 64, 64), ways)
    made = read_table(tmp_path / "whole" / "work" / "tables" / "classes")
    assert len(made) == 280
    features = np.stack([made[name].to_numpy().astype(float) for name in COLUMNS], 1)
    expected = fitted().predict_proba(features)
    for number, name in enumerate(CLASSES):
        assert np.allclose(made[f"p_{name}"].to_numpy(), expected[:, number], atol=1e-6)
    assert made["class"].to_pylist() == fitted().predict(features).tolist()
    assert np.allclose(made["probability"].to_numpy(), expected.max(axis=1), atol=1e-6)
    assert len(set(made["class"].to_pylist())) == 3
    types = {name: str(made.schema.field(name).type) for name in ("class", "probability", "p_glia")}
    assert types == {"class": "string", "probability": "float", "p_glia": "float"}


def test_the_run_says_how_many_are_of_each_class_and_which_model_it_was(tmp_path: Path, model: Path) -> None:
    job = classify_job(tmp_path / "a", model, (64, 64, 64))
    assert run_job(job) == "complete"
    state = Ledger.load(Folder(job.work)).state
    made = read_table(tmp_path / "a" / "work" / "tables" / "classes")["class"].to_pylist()
    counts = {f"of class {name}": made.count(name) for name in CLASSES}
    assert state.stages["classify"].counts == counts | {"without a class, as a feature is missing": 0}
    prepared = state.stages["classify.prepare"].prepared
    assert prepared is not None
    assert prepared["model"] == load(str(model)).fingerprint
    assert prepared["features"] == COLUMNS


def test_an_earlier_decision_gives_way(model: Path) -> None:
    """As of `judge`, whose probabilities may be among the features."""
    rows = rows_of(np.random.default_rng(0).normal(size=(20, 3)))
    judged = rows.append_column("class", pa.array(["cell"] * 20)).append_column("p_glia", rows["id"])
    made, expected = mapped(model, judged)[0], mapped(model, rows)[0]
    assert made.equals(expected)


def test_a_table_without_objects_has_the_columns(tmp_path: Path, model: Path) -> None:
    made, _ = mapped(model, rows_of(np.zeros((0, 3))))
    assert made.column_names[-5:] == ["class", "probability", "p_glia", "p_neuron", "p_other"]
    assert len(made) == 0


def test_an_object_that_lacks_a_feature_has_no_class_and_is_counted(model: Path) -> None:
    features = np.random.default_rng(0).uniform(0, 300, (6, 3))
    features[1, 0], features[3, 2] = np.nan, np.inf
    rows = rows_of(features)
    missing = pa.array([1.0, 2.0, 3.0, 4.0, None, 6.0])
    rows = rows.set_column(rows.column_names.index("dapi_mean"), "dapi_mean", missing)
    made, counts = mapped(model, rows)
    for name in ("class", "probability", "p_other"):
        assert [value is None for value in made[name].to_pylist()] == [False, True, False, True, True, False]
    assert counts.of["without a class, as a feature is missing"] == 3
    assert sum(counts.of.values()) == 6
    alone, _ = mapped(model, rows.take([0, 2, 5]))
    assert alone.equals(made.take([0, 2, 5]).combine_chunks())


@given(cuts=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_probabilities_do_not_depend_on_the_rows_beside(cuts: list[int], seed: int) -> None:
    features = np.random.default_rng(seed).uniform(0, 400, (300, 3))
    known = Model(fitted(), described(), "")
    pieces = [known.probabilities(features[a:b]) for a, b in pairwise([0, *sorted(cuts), 300])]
    assert np.array_equal(np.concatenate(pieces), known.probabilities(features))


def test_a_class_to_be_found_is_given_from_its_threshold_on(tmp_path: Path) -> None:
    path = tmp_path / "found.skops"
    save(path, fitted(), described(positive="neuron", threshold=0.3))
    made, _ = mapped(path, rows_of(np.random.default_rng(2).uniform(0, 400, (200, 3))))
    likely = made["p_neuron"].to_numpy() >= np.float32(0.3)
    assert [name == "neuron" for name in made["class"].to_pylist()] == likely.tolist()
    others = np.where(made["p_glia"].to_numpy() >= made["p_other"].to_numpy(), "glia", "other")
    assert all(a == b for a, b, one in zip(made["class"].to_pylist(), others, likely, strict=True) if not one)


def test_a_model_that_lacks_its_columns_is_refused_before_anything_runs(tmp_path: Path, model: Path) -> None:
    assert run_job(classify_job(tmp_path / "a", model, (64, 64, 64)).until("measure")) == "complete"
    save(model, fitted(features=2), described(features=["volume_um3", "cfos_mean"]))
    layers = {"objects": str(tmp_path / "a" / "work" / "tables" / "objects")}
    step = {"classify": {"objects": "objects", "model": str(model), "classes": "classes"}}
    job = make_job(tmp_path / "b", layers, [step])
    with pytest.raises(BadInput, match=r"table objects lacks: cfos_mean"):
        run_job(job)
    assert not (tmp_path / "b").exists()


def test_columns_that_the_job_itself_will_not_make_stop_the_task(tmp_path: Path, model: Path) -> None:
    job = classify_job(tmp_path / "a", model, (64, 64, 64), images="cfos")
    assert run_job(job) == "incomplete"
    failures = Ledger.load(Folder(job.work)).state.stages["classify"].failures
    assert "lacks: dapi_mean, dapi_std" in failures[0].traceback
    assert not list((tmp_path / "a" / "work" / "tables" / "classes").glob("*.parquet"))


def test_a_table_with_classes_is_classified_anew(tmp_path: Path, model: Path) -> None:
    assert run_job(classify_job(tmp_path / "a", model, (64, 64, 64))) == "complete"
    classes = tmp_path / "a" / "work" / "tables" / "classes"
    step = {"classify": {"objects": "objects", "model": str(model), "classes": "again"}}
    assert run_job(make_job(tmp_path / "b", {"objects": str(classes)}, [step])) == "complete"
    assert read_table(tmp_path / "b" / "work" / "tables" / "again").equals(read_table(classes))


def test_a_model_that_changed_in_between_is_refused(model: Path) -> None:
    with pytest.raises(BadInput, match="has changed since the task began"):
        mapped(model, rows_of(np.ones((2, 3))), fingerprint="of another file")
