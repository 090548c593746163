"""Model files: sound ones are loaded, and nothing is loaded that could run code."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from chunkflow.errors import BadInput
from chunkflow.people.learning.estimator import CARRYING, DEFAULT, Recipe
from chunkflow.people.learning.features import FEATURES, PLACES, choose_features
from chunkflow.people.learning.model import DOCUMENT, load, save
from chunkflow.task import Layout
from tasks.cells.classify import Classify
from tests.support.files.classifiers import described, fitted, saved_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved_model(tmp_path)


def test_a_model_of_a_chain_of_before_is_loaded(model: Path) -> None:
    """Scaling, and an estimator whose probabilities come of calibration: the default until this one."""
    random = np.random.default_rng(1)
    rows, classes = random.normal(size=(60, 3)), np.repeat(["glia", "neuron", "other"], 20)
    chain = make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), cv=2, ensemble=False))
    save(model, chain.fit(rows, classes), described())
    assert np.allclose(load(str(model)).probabilities(rows), chain.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize("estimator", [DEFAULT, CARRYING])
def test_a_default_chain_is_loaded_as_it_was_saved(model: Path, estimator: str) -> None:
    random = np.random.default_rng(2)
    rows, classes = random.normal(size=(60, 3)) * 1e4, np.repeat(["glia", "neuron", "other"], 20)
    chain = Recipe.of(estimator, {}, 0).build(20).fit(rows, classes)
    save(model, chain, described())
    assert np.allclose(load(str(model)).probabilities(rows), chain.predict_proba(rows), atol=1e-6)


def test_another_version_of_scikit_learn_is_told(tmp_path: Path) -> None:
    save(tmp_path / "old.skops", fitted(), described(versions={"scikit-learn": "0.24"}))
    task = Classify(objects="objects", model=str(tmp_path / "old.skops"), classes="classes")
    decided = task.prepare(Layout({}, (1, 1, 1), (1, 1, 1)), ())
    assert "trained with scikit-learn 0.24" in decided["warning"]


def write_dump(path: Path, thing: Any, document: str | None = None) -> None:
    """A file of skops, with any document."""
    buffer = io.BytesIO(skops.io.dumps(thing))
    with zipfile.ZipFile(buffer, "a") as file:
        if document is not None:
            file.writestr(DOCUMENT, document)
    path.write_bytes(buffer.getvalue())


def crooked_tree() -> Any:
    """A model one of whose trees leads back to its root, and would be walked for ever."""
    chain = fitted(ExtraTreesClassifier(3, random_state=0))
    chain[-1].estimators_[1].tree_.children_left[0] = 0
    return chain


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "There is no model"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "not a model .* can run any code"),
        (lambda path: path.write_bytes(b""), "not a model"),
        (lambda path: write_dump(path, fitted()), "not a model"),
        (lambda path: write_dump(path, fitted(), "{"), "is damaged: what it says of itself"),
        (lambda path: write_dump(path, fitted(), '{"features": []}'), "is damaged: what it says of itself"),
        (
            lambda path: write_dump(
                path, fitted(HistGradientBoostingClassifier(max_iter=2)), described().model_dump_json()
            ),
            "refused: it holds sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        ),
        (
            lambda path: write_dump(path, {"run": warnings.warn}, described().model_dump_json()),
            "refused: it holds",
        ),
        (lambda path: write_dump(path, crooked_tree(), described().model_dump_json()), "not what it says"),
        (lambda path: save(path, fitted(), described(classes=["a", "b", "c"])), "not what it says of itself"),
        (lambda path: save(path, fitted(), described(features=["a", "b"])), "not what it says of itself"),
        (lambda path: save(path, fitted(), described(positive="axon")), "not what it says of itself"),
        (lambda path: write_dump(path, [1, 2], described().model_dump_json()), "not what it says of itself"),
    ],
)
def test_what_is_no_sound_model_is_refused(tmp_path: Path, write: Any, said: str) -> None:
    write(tmp_path / "m.skops")
    with pytest.raises(BadInput, match=said) as refused:
        load(str(tmp_path / "m.skops"))
    assert str(tmp_path / "m.skops") in str(refused.value)


def test_a_model_that_would_fill_the_memory_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.people.learning.model.MOST_BYTES", 100)
    with pytest.raises(BadInput, match=r"holds more than .* and is refused"):
        load(str(model))


def test_a_model_damaged_anywhere_is_refused(model: Path) -> None:
    whole = model.read_bytes()
    for place in range(40, len(whole), len(whole) // 23):
        model.write_bytes(whole[:place])
        with pytest.raises(BadInput, match=r"is damaged|not a model"):
            load(str(model))
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        model.write_bytes(flipped)
        try:
            known = load(str(model))
        except BadInput:
            continue
        rows = np.random.default_rng(0).uniform(0, 400, (20, 3))  # a byte that nothing depends on
        assert np.allclose(known.estimator.predict_proba(rows), fitted().predict_proba(rows))


def test_an_estimator_that_no_file_can_hold_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be kept in a model file: it holds .*TreePredictor"):
        save(tmp_path / "m.skops", fitted(HistGradientBoostingClassifier(max_iter=2)), described())
    assert not list(tmp_path.iterdir())


def test_a_place_on_the_network_is_no_path() -> None:
    with pytest.raises(ValueError, match="must be a path on this machine"):
        Classify(objects="o", model="s3://bucket/m.skops", classes="c")


NAMES = ["id", "x", "y_um", "z_min", "cut", "volume", "volume_um3", "diameter_um", "dapi_mean", "dapi_std"]
NAMES += ["dapi_skew", "dapi_kurtosis", "dapi_min", "dapi_contrast_8um", "class", "p_glia", "region"]
SCHEMA = pa.schema([(n, pa.string() if n in ("class", "region") else pa.float32()) for n in NAMES])


def test_features_are_those_of_shape_and_intensity_unless_others_are_named() -> None:
    usual = ["volume_um3", "diameter_um", "dapi_mean", "dapi_std", "dapi_skew", "dapi_kurtosis"]
    assert choose_features(SCHEMA, FEATURES) == usual
    assert choose_features(SCHEMA, ["*"]) == ["volume", *usual, "dapi_min", "dapi_contrast_8um"]
    assert choose_features(SCHEMA, ["dapi_contrast_*", "x"]) == ["x", "dapi_contrast_8um"]
    with pytest.raises(BadInput, match="No column of numbers of the table is named cfos_"):
        choose_features(SCHEMA, ["dapi_mean", "cfos_*"])
    with pytest.raises(BadInput, match="named region"):
        choose_features(SCHEMA, ["region"])
    with pytest.raises(BadInput, match="none of the columns that a class is told by"):
        choose_features(pa.schema([("id", pa.uint64()), *((a, pa.float64()) for a in "xyz")]), FEATURES)
    assert "cut" in PLACES


def test_features_left_out_are_all_or_those_that_carry_over() -> None:
    usual = ["volume_um3", "diameter_um", "dapi_mean", "dapi_std", "dapi_skew", "dapi_kurtosis"]
    assert choose_features(SCHEMA, ()) == [*usual, "dapi_contrast_8um"]
    wider = SCHEMA.append(pa.field("dapi_cnr_8um", pa.float32()))
    carried = ["diameter_um", "dapi_skew", "dapi_kurtosis", "dapi_cnr_8um"]
    assert choose_features(wider, (), carried=True) == carried
    assert choose_features(wider, ()) == [*usual, "dapi_contrast_8um", "dapi_cnr_8um"]
    assert choose_features(SCHEMA, (), carried=True) == [*usual, "dapi_contrast_8um"]
    assert choose_features(pa.schema([("volume_um3", pa.float64())]), ()) == ["volume_um3"]
