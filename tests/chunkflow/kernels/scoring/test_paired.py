"""The paired comparison of two settings: against scoring one by one, and what it takes to be sure."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.scoring.paired import Outcome, paired_gain

NEAR = 5.0


def outcome(found: list[bool] | np.ndarray, wrong: np.ndarray) -> Outcome:
    return Outcome(np.array(found, bool), np.asarray(wrong, np.float64).reshape(-1, 3))


def apart(count: int, first: int = 0) -> np.ndarray:
    """Places far from each other."""
    return np.arange(first, first + count)[:, None] * 100.0 + np.zeros(3)


def f1(one: Outcome) -> float:
    return 2 * one.found.sum() / (one.found.sum() + len(one.wrong) + len(one.found))


def drawn(seed: int, cells: int) -> Outcome:
    random = np.random.default_rng(seed)
    return outcome(
        random.random(cells) < random.random(), apart(random.integers(0, 9), random.integers(0, 9))
    )


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**20), st.integers(0, 2**20), st.integers(1, 30))
def test_the_difference_is_that_of_both_scores_and_a_swap_turns_its_sign(a: int, b: int, cells: int) -> None:
    one, other = drawn(a, cells), drawn(b, cells)
    gain, back = paired_gain(one, other, NEAR, 1), paired_gain(other, one, NEAR, 1)
    assert np.isclose(gain.difference, f1(one) - f1(other))
    assert np.isclose(gain.difference, -back.difference)
    assert gain.interval.low <= gain.interval.high
    assert 0 <= gain.share <= 1
    assert not (gain.shown and back.shown)
    # By its own bound what is proposed is never worse.
    assert not gain.shown or (gain.interval.low > -1e-6 and f1(one) > f1(other))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**20), st.integers(1, 30))
def test_the_same_twice_is_no_gain(seed: int, cells: int) -> None:
    one = drawn(seed, cells)
    gain = paired_gain(one, one, NEAR, 1)
    assert (gain.difference, gain.interval.low, gain.interval.high, gain.share) == (0, 0, 0, 0.5)
    assert not gain.shown


def test_the_same_gain_is_shown_by_more_cells() -> None:
    """Of each ten cells one setting finds nine, the other eight, and not all of these."""
    one, other = [True] * 9 + [False], [False] * 2 + [True] * 8
    few, many = (
        paired_gain(outcome(one * times, apart(0)), outcome(other * times, apart(0)), NEAR, 1)
        for times in (2, 40)
    )
    assert np.isclose(many.difference, few.difference)
    assert many.share > few.share
    assert (few.shown, many.shown) == (False, True)


def test_being_wrong_at_the_same_places_says_nothing_for_either() -> None:
    """What both share does not make the difference less sure."""
    found = [True] * 15 + [False] * 5
    less, more = outcome(found, apart(8)), outcome(found, apart(12))
    same = paired_gain(less, more, NEAR, 1)
    elsewhere = paired_gain(less, outcome(found, apart(12, 50)), NEAR, 1)
    assert np.isclose(same.difference, elsewhere.difference)
    assert same.interval.high - same.interval.low < elsewhere.interval.high - elsewhere.interval.low
    assert same.shown
    assert not elsewhere.shown
