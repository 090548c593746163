"""The best of all that comes in pieces are the best of the whole, and what is random follows from the id."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.people.learning.active.undecided import Best, Undecided, random_numbers


def objects(ids: np.ndarray) -> Undecided:
    return Undecided(ids, np.arange(len(ids), dtype=float)[:, np.newaxis], np.zeros((len(ids), 0)))


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.integers(1, 20),
    st.lists(st.integers(0, 60), max_size=5),
)
@settings(max_examples=150, deadline=None)
def test_the_best_do_not_depend_on_the_pieces(scores: list[int], count: int, cuts: list[int]) -> None:
    values, ids = np.array(scores, float), np.arange(1, len(scores) + 1, dtype=np.uint64)
    whole = Best(count, seed=3)
    whole.add(objects(ids), values)
    in_pieces = Best(count, seed=3)
    for rows in np.split(np.arange(len(ids)), sorted(min(cut, len(ids)) for cut in cuts))[::-1]:
        in_pieces.add(objects(ids[rows]), values[rows])
    found, kept = in_pieces.found()
    assert found.ids.tolist() == whole.found()[0].ids.tolist()
    assert kept.tolist() == sorted(scores, reverse=True)[:count]


def test_random_numbers_are_even_and_follow_from_seed_and_id() -> None:
    ids = np.arange(1, 20_001, dtype=np.uint64) * np.uint64(7)
    first, second = random_numbers(ids, 0), random_numbers(ids, 1)
    assert np.histogram(first, 10, (0, 1))[0].min() > 1800
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert np.array_equal(random_numbers(ids[::-1], 0), first[::-1])
