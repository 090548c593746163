"""Candidates: which are cells, which are learnt from, and where a network is asked about them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.networks.training.examples.candidates import CandidateExamples, Told
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.regions import AWAY, controls_of, judged_regions
from chunkflow.networks.training.truths import CandidatesTruth
from chunkflow.networks.training.volumes import open_volumes
from tests.support.models.training import make_tissue, recipe_of

MICROMETRES = np.array([1.0, 1.0, 2.0])


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def recipe(tissue: dict[str, str], **changes: Any) -> NetworkRecipe:
    return recipe_of(tissue, "candidates", **changes)


def distances(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Of each place to the nearest point, in micrometres."""
    apart: np.ndarray = np.linalg.norm((places[:, None] - points) * MICROMETRES, axis=2).min(axis=1)
    return apart


def test_cells_are_paired_candidates_and_points_without_one(tissue: dict[str, str]) -> None:
    volume = replace(open_volumes(recipe(tissue))[0], validation=())
    told = Told.of(volume, CandidatesTruth(tolerance=4))
    assert volume.points is not None
    assert volume.candidates is not None
    assert len(told.cells) == len(volume.points)  # each once: the two that were found twice, too
    asked = [any((cell == candidate).all() for candidate in volume.candidates) for cell in told.cells]
    assert sum(asked) == len(volume.points) - 3
    assert (distances(told.others, volume.points) > 4).all()
    assert len(told.others) == (distances(volume.candidates, volume.points) > 4).sum()


def test_nothing_of_the_validation_is_learnt_from(tissue: dict[str, str]) -> None:
    """Nor is anything as near to it as a patch reaches."""
    (volume,) = open_volumes(recipe(tissue))
    told = Told.of(volume, CandidatesTruth(tolerance=4))
    for places in (told.cells, told.others):
        assert len(places)
        assert (places[:, 0] < 54 - 8).all()


def test_nothing_is_taken_for_no_cell_where_nothing_is_learnt(tissue: dict[str, str]) -> None:
    """Also of the places at random, and of those that were given to be seen again."""
    one = recipe(tissue)
    volume = replace(open_volumes(one)[0], again=(np.array([[60.5, 20, 10]]), np.array([[62.5, 20, 10]])))
    examples, random = CandidateExamples(one, [volume]), np.random.default_rng(0)
    taken = [examples._place(random, 0, is_cell) for is_cell in (False,) * 300 + (True,) * 50]
    assert all(place[0] < 54 - 8 for place, _ in taken)
    known = {tuple(place) for place in (*examples._told[0].cells, *examples._told[0].others)}
    assert sum(tuple(place) not in known for place, _ in taken) > 30  # those at random


def test_an_example_is_a_function_of_its_step_and_number(tissue: dict[str, str]) -> None:
    first, second = (
        CandidateExamples(one, open_volumes(one)) for one in (recipe(tissue, seed=3), recipe(tissue, seed=3))
    )
    asked = [(step, number) for step in range(6) for number in range(4)]
    in_order = [first.one(*one) for one in asked]
    with ThreadPoolExecutor(4) as pool:
        backwards = list(pool.map(lambda one: second.one(*one), asked[::-1]))[::-1]
    for one, other in zip(in_order, backwards, strict=True):
        assert (one.channels == other.channels).all()
        assert one.truth == other.truth
    assert len({one.channels.tobytes() for one in in_order}) == len(asked)


def test_what_is_at_the_middle_of_a_patch_is_what_is_true_of_it(tissue: dict[str, str]) -> None:
    """Cells are bright in the middle, whichever way the patch is turned."""
    still = {"gain": 1, "offset": 0, "noise": 0}
    one = recipe(tissue, augment=still, seed=1)
    made = [CandidateExamples(one, open_volumes(one)).one(0, number) for number in range(60)]
    bright = {True: [], False: []}
    for example in made:
        assert example.channels.shape == (1, 8, 8, 7)
        assert example.truth.shape == example.known.shape == (1, 1, 1)
        bright[bool(example.truth[0, 0, 0])].append(example.channels[0, 2:6, 2:6, 2:5].max())
    assert 15 < len(bright[True]) < 45
    assert np.median(bright[True]) > np.median(bright[False]) + 0.3


def test_places_to_be_seen_again_are_drawn_more_often(tissue: dict[str, str], tmp_path: Path) -> None:
    (volume,) = open_volumes(recipe(tissue))
    told = Told.of(volume, CandidatesTruth(tolerance=4))
    again = tmp_path / "again.csv"
    rows = [(*told.cells[0], "cell"), (*told.others[0], "no cell")]
    again.write_text("x,y,z,class\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    given = recipe(tissue).volumes[0].model_copy(update={"again": str(again)})
    one = recipe(tissue).model_copy(update={"volumes": (given,)})
    examples = CandidateExamples(one, open_volumes(one))
    drawn = [examples._place(np.random.default_rng(number), 0, bool(number % 2))[0] for number in range(400)]
    for number, place in ((1, told.cells[0]), (0, told.others[0])):
        share = np.mean([np.allclose(found, place, atol=1e-3) for found in drawn[number::2]])
        assert 0.4 < share < 0.65


def test_controls_are_cells_and_places_away_from_all_of_them(tissue: dict[str, str]) -> None:
    (region,) = judged_regions(open_volumes(recipe(tissue)))
    places, is_cell = controls_of(region, seed=0)
    assert (places == controls_of(region, seed=0)[0]).all()
    assert (places[is_cell] == region.points).all()
    others = places[~is_cell]
    assert len(others) > 2 * len(region.points)
    assert region.has(others).all()
    assert region.volume.points is not None
    apart = np.linalg.norm(others[:, None] - region.volume.points, axis=2).min(axis=1)
    assert (apart >= AWAY[0]).all()
    assert (apart <= AWAY[1] + 1).all()


def test_where_every_candidate_is_a_cell_others_are_taken_elsewhere(
    tissue: dict[str, str], tmp_path: Path
) -> None:
    given = recipe(tissue).volumes[0].model_copy(update={"candidates": tissue["points"]})
    one = recipe(tissue).model_copy(update={"volumes": (given,)})
    (volume,) = open_volumes(one)
    examples = CandidateExamples(one, [volume])
    assert volume.points is not None
    drawn = [examples._place(np.random.default_rng(number), 0, False) for number in range(50)]
    assert not any(is_cell for _, is_cell in drawn)
    apart = np.linalg.norm(np.array([place for place, _ in drawn])[:, None] - volume.points, axis=2)
    assert (apart.min(axis=1) >= AWAY[0]).all()
