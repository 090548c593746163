"""What lies beside a model: a training that was stopped late is gone on with, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.networks.training import fit
from chunkflow.people.learning.networks import train
from tests.support.models.training import make_tissue, recipe_document, recipe_of


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_training_that_is_stopped_while_it_is_scored_is_gone_on_with(
    tissue: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, model = recipe_of(tissue), tmp_path / "m.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(train, "score_in_other_light", stop)
        with pytest.raises(KeyboardInterrupt):
            cf.train_network(recipe, model)
    made = model.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(fit.TrainingLoop, "_step", stop)
        assert cf.train_network(recipe, model).report.exists()
    assert model.read_bytes() == made
    with pytest.raises(BadInput, match="exists already"):
        cf.train_network(recipe, model)


def test_what_the_recipe_reads_is_not_overwritten(tissue: dict[str, str], tmp_path: Path) -> None:
    [volume] = recipe_document(tissue)["volumes"]
    truth = tmp_path / "mine.csv"
    truth.write_bytes(Path(volume["truth"]).read_bytes())
    recipe = recipe_of(tissue, volumes=[volume | {"truth": str(truth)}])
    with pytest.raises(BadInput, match=r"mine\.csv is read by the recipe, and would be overwritten"):
        cf.train_network(recipe, tmp_path / "mine.safetensors", overwrite=True)
    assert truth.read_bytes() == Path(volume["truth"]).read_bytes()


def test_what_cannot_be_trained_is_refused_before_the_folds_are(
    tissue: dict[str, str], tmp_path: Path
) -> None:
    for words, said in (({"labels": (5,)}, "`labels` compares"), ({"rounds": 0}, "rounds are at least 1")):
        with pytest.raises(BadInput, match=said):
            cf.train_network(recipe_of(tissue), tmp_path / "m.safetensors", folds=2, serial=True, **words)
    assert not list(tmp_path.iterdir())
