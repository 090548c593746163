"""Folds: every part is tested once, by a network that has seen nothing of it; the same on Ray."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.networks.training.examples.voxels import TrainingExamples
from chunkflow.networks.training.folds import folds_of
from chunkflow.networks.training.regions import judged_regions
from chunkflow.networks.training.training import fit_network, predict_over
from chunkflow.networks.training.volumes import open_volumes
from tests.support.models.training import SIZE, make_tissue, recipe_document, recipe_of


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("brains")
    return [make_tissue(folder, f"brain-{number}", seed=number) for number in range(3)]


def volumes(brains: list[dict[str, str]]) -> list[dict[str, str]]:
    return [recipe_document(brain)["volumes"][0] | {"truth": brain["points"]} for brain in brains]


@pytest.mark.parametrize("count", [2, 3])
def test_by_volume_each_brain_is_tested_once_and_learnt_by_the_others(
    brains: list[dict[str, str]], count: int
) -> None:
    recipe = recipe_of(brains[0], volumes=volumes(brains))
    tested = []
    for fold in folds_of(recipe, count):
        learnt = {volume.images for volume in fold.recipe.volumes}
        tests = {volume.images for volume in fold.tests}
        assert not learnt & tests
        assert len(learnt | tests) == 3
        tested += tests
    assert sorted(tested) == sorted((brain["image"],) for brain in brains)


def test_entries_of_the_same_images_are_tested_together(brains: list[dict[str, str]]) -> None:
    one, other, third = volumes(brains)
    parts = [one | {"boxes": ["0-36,0-56,0-24"]}, other, one | {"boxes": ["36-72,0-56,0-24"]}, third]
    tested = [len(fold.tests) for fold in folds_of(recipe_of(brains[0], volumes=parts), 3)]
    assert tested == [2, 1, 1]


def test_nothing_is_learnt_where_another_entry_of_the_same_images_is_judged(
    brains: list[dict[str, str]],
) -> None:
    one, whole = volumes(brains)[0], Box.of_size(SIZE)
    judged = one | {"validation": ["0-20,0-56,0-24"]}
    for other in (one | {"validation": ["50-72,0-56,0-24"]}, one | {"boxes": ["10-64,0-56,0-24"]}):
        opened = open_volumes(recipe_of(brains[0], patch=[8, 8, 8], volumes=[judged, other]))
        seen = np.any([volume.learnt(whole) for volume in opened], axis=0)
        assert seen.any()
        assert not seen[opened[0].judged(whole)].any()
    (fold, *_) = folds_of(recipe_of(brains[0], patch=[8, 8, 8], volumes=[one, one]), 3)
    tests, learning = fold.opened_tests(), open_volumes(fold.recipe)
    assert not any((v.learnt(whole) | v.judged(whole))[tests[0].judged(whole)].any() for v in learning)


def test_by_space_nothing_of_a_slab_is_seen_by_its_network(brains: list[dict[str, str]]) -> None:
    recipe = recipe_of(brains[0], patch=[8, 8, 8])
    whole, tested = Box.of_size(SIZE), np.zeros(SIZE, int)
    for fold in folds_of(recipe, 3):
        (test,) = fold.opened_tests()
        judged = test.judged(whole)
        tested += judged
        (volume,) = open_volumes(fold.recipe)
        assert not (volume.learnt(whole) & judged).any()
        assert not (volume.judged(whole) & judged).any()
        assert volume.judged(whole).any()
        assert TrainingExamples(fold.recipe, [volume]).one(0, 0).channels.shape == (1, 8, 8, 8)
    assert (tested == 1).all()


def test_folds_on_ray_have_the_scores_of_those_in_this_process(
    brains: list[dict[str, str]], tmp_path: Path, ray_here: None
) -> None:
    recipe = recipe_of(brains[0], volumes=volumes(brains), steps=30, every=15)
    made = {}
    for name, serial in (("serial", True), ("ray", False)):
        to = tmp_path / f"{name}.safetensors"
        made[name] = cf.train_network(recipe, to, folds=2, serial=serial)
        page = to.with_suffix(".html").read_text()
        assert "<h2>Folds</h2>" in page
        assert "brain-2" in page
    one, other = (made[name].folds for name in ("serial", "ray"))
    assert one is not None
    assert other is not None
    assert one.pooled.values == other.pooled.values
    assert [fold.values for fold in one.by_fold] == [fold.values for fold in other.by_fold]
    assert one.names == ("brain-0, brain-2", "brain-1")
    assert 0 <= one.pooled.values["F1"] <= 1
    assert "In 2 folds, F1" in repr(made["ray"])
    models = [tmp_path / f"{name}.fold-2.safetensors" for name in ("serial", "ray")]
    assert models[0].read_bytes() == models[1].read_bytes()


def test_a_part_without_cells_is_tested_too(brains: list[dict[str, str]], tmp_path: Path) -> None:
    """What is found there is wrong, and nothing is missed."""
    recipe = recipe_of(brains[0])
    made = fit_network(recipe, tmp_path / "m.safetensors")
    empty = recipe.volumes[0].model_copy(update={"validation": ("0-2,0-2,0-2",)})
    (volume,) = open_volumes(recipe.model_copy(update={"volumes": (empty,)}))
    (predicted,) = predict_over(recipe, made.path, judged_regions([volume]))
    assert not len(predicted.region.points)
    assert predicted.steps.shape == (2, 2, 2, 1)


def test_what_cannot_be_folded_is_refused(brains: list[dict[str, str]], tmp_path: Path) -> None:
    for folds, said in ((1, "folds are at least 2"), (9, "is too small for 9 folds")):
        with pytest.raises(BadInput, match=said):
            cf.train_network(recipe_of(brains[0]), tmp_path / "m.safetensors", folds=folds)
    (tmp_path / "m.fold-1.safetensors").write_bytes(b"mine")
    with pytest.raises(BadInput):
        cf.train_network(
            recipe_of(brains[0], patch=[8, 8, 8]), tmp_path / "m.safetensors", folds=2, serial=True
        )
    assert (tmp_path / "m.fold-1.safetensors").read_bytes() == b"mine"
