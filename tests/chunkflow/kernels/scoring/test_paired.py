"""The paired comparison of two settings: against scoring one by one, and what it takes to be sure."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.scoring.paired import Gain, Outcome, paired_gain

NEAR = 5.0


def outcome(found: list[bool] | np.ndarray, wrong: np.ndarray) -> Outcome:
    return Outcome(np.array(found, bool), np.asarray(wrong, np.float64).reshape(-1, 3))


def apart(count: int, first: int = 0) -> np.ndarray:
    """Places far from each other."""
    return np.arange(first, first + count)[:, None] * 100.0 + np.zeros(3)


def gain_of(one: Outcome, other: Outcome) -> Gain:
    return paired_gain([(one, other)], NEAR, 1)


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
    gain, back = gain_of(one, other), gain_of(other, one)
    assert np.isclose(gain.difference, f1(one) - f1(other))
    assert np.isclose(gain.difference, -back.difference)
    assert gain.least <= -back.least + 0.05  # their draws differ
    assert 0 <= gain.share <= 1
    assert not (gain.shown and back.shown)
    # By its own bound what is proposed is never worse.
    assert not gain.shown or (gain.least > -1e-6 and f1(one) > f1(other))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**20), st.integers(1, 30))
def test_the_same_twice_is_no_gain(seed: int, cells: int) -> None:
    one = drawn(seed, cells)
    gain = gain_of(one, one)
    assert (gain.difference, gain.least, gain.share) == (0, 0, 0.5)
    assert not gain.shown


def test_the_same_gain_is_shown_by_more_cells() -> None:
    """Of each ten cells one setting finds nine, the other eight, and not all of these."""
    one, other = [True] * 9 + [False], [False] * 2 + [True] * 8
    few, many = (
        gain_of(outcome(one * times, apart(0)), outcome(other * times, apart(0))) for times in (2, 40)
    )
    assert np.isclose(many.difference, few.difference)
    assert many.share > few.share
    assert (few.shown, many.shown) == (False, True)


def test_being_wrong_at_the_same_places_says_nothing_for_either() -> None:
    """What both share does not make the difference less sure."""
    found = [True] * 15 + [False] * 5
    less, more = outcome(found, apart(8)), outcome(found, apart(12))
    same = gain_of(less, more)
    elsewhere = gain_of(less, outcome(found, apart(12, 50)))
    assert np.isclose(same.difference, elsewhere.difference)
    assert same.least > elsewhere.least
    assert same.shown
    assert not elsewhere.shown


def test_what_holds_only_in_the_pair_observed_is_not_shown() -> None:
    """Elsewhere, where cells are brighter or dimmer, the two settings may change places."""
    better, worse = (
        outcome([True] * 18 + [False] * 2, apart(0)),
        outcome([True] * 10 + [False] * 10, apart(0)),
    )
    sure = paired_gain([(better, worse)] * 3, NEAR, 1)
    unsure = paired_gain([(better, worse), (worse, better), (better, worse)], NEAR, 1)
    assert sure.difference == unsure.difference > 0
    assert (sure.shown, unsure.shown) == (True, False)
    assert np.isclose(unsure.share, 2 / 3, atol=0.02)
