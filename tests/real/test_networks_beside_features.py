"""How the bench of networks judges brains; made up, as real ones take an hour."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from chunkflow.networks.training.folds import folds_of
from chunkflow.networks.training.recipe import LearntVolume
from testbed.classification import Candidates
from testbed.detection import Tissue
from testbed.networks import trained
from testbed.networks.by_brain import COMBINED, DETECTOR, JUDGE, Brains, mean_f1
from testbed.networks.trained import NETWORKS, Prepared, judged_candidates, recipe_of, without

FOLDS = 3
MEASURED = ("diameter_um", "roundness", "image_skew", "image_kurtosis", "image_cnr_8")


def brain(number: int) -> Prepared:
    """Every second candidate lies at a cell, and one cell has no candidate."""
    random = np.random.default_rng(number)
    places = 30.0 * np.stack(np.unravel_index(np.arange(60), (4, 4, 4)), 1)
    is_cell = np.arange(60) % 2
    columns = {axis: places[:, n] for n, axis in enumerate("xyz")}
    measured = {name: is_cell + random.normal(scale=0.7, size=60) for name in MEASURED}
    rows = pa.table(columns | measured)
    truth = np.concatenate([places[is_cell == 1], [[500.0, 500.0, 500.0]]])
    files = {"images": (f"/brains/{number}",), "truth": f"/{number}.csv", "candidates": f"/{number}.c.csv"}
    found = Candidates(rows, places, is_cell, np.zeros(60, np.int64), truth)
    return Prepared(str(number), Tissue(str(number), "", 12.0), found, LearntVolume.model_validate(files))


@pytest.fixture(scope="module")
def brains() -> Brains:
    return Brains([brain(number) for number in range(6)], FOLDS)


def asked(brains: Brains, out: tuple[int, ...]) -> trained.Tested:
    """A network that is quite sure, and was asked about the brains of these folds alone."""
    own = {one.name: one for number in out for one in brains.brains[number :: brains.folds]}
    chances = {name: 0.2 + 0.6 * one.found.is_cell for name, one in own.items()}
    cells = {
        name: judged_candidates(one.found, chances[name], chances[name] > 0.5) for name, one in own.items()
    }
    return trained.Tested(chances, cells, {}, 0.5, 0.0)


def test_no_network_is_asked_about_a_brain_that_it_learnt_from(brains: Brains) -> None:
    outs = [out for n in (1, 2) for out in itertools.combinations(range(FOLDS), n)]
    networks = {(kind, 7, out): asked(brains, out) for kind in NETWORKS for out in outs}
    judged = brains.judged(networks, 7)
    assert set(judged) == {DETECTOR, JUDGE, *COMBINED}
    for scored in judged.values():
        assert sorted(scored) == [one.name for one in brains.brains]
    sure = 60 / 61  # of 31 cells one has no candidate
    assert mean_f1(judged["patches as they come"]) == pytest.approx(sure)
    assert mean_f1(judged["features, heatmap"]) > mean_f1(judged["features"])


@pytest.mark.parametrize("out", [(0,), (0, 2)])
def test_a_training_leaves_whole_folds_out(brains: Brains, out: tuple[int, ...]) -> None:
    fold = without(folds_of(recipe_of("patches", brains.brains, 0), FOLDS), out)
    left_out = [f"/brains/{n}" for number in out for n in range(number, 6, FOLDS)]
    assert [volume.images[0] for volume in fold.tests] == left_out
    assert not {volume.images[0] for volume in fold.recipe.volumes} & set(left_out)
    assert len(fold.recipe.volumes) == 6 - len(left_out)


def test_a_candidate_that_is_taken_has_its_cell_before_a_likelier_one_that_is_not() -> None:
    found = brain(0).found
    twice = replace(found, places=found.places[[1, 1]])
    judged = judged_candidates(twice, np.array([0.9, 0.8]), np.array([False, True]))
    assert judged.counts == {
        "true positives": 1,
        "false positives": 0,
        "false negatives": 30,
        "true negatives": 1,
    }
