"""Turns: voxels change places and nothing else, image and truth alike."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.kernels.augmentation.turning import Turn, draw_turn

VOXELS = [(1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (1.0, 2.0, 3.0)]
Seeds = st.integers(0, 10**6)


@given(
    Seeds,
    st.sampled_from(VOXELS),
    st.tuples(*[st.integers(1, 6)] * 3),
    st.sampled_from(["f4", "u1", "u4", "i8"]),
)
def test_every_voxel_stays_and_image_and_truth_turn_alike(
    seed: int, voxel: tuple[float, float, float], size: tuple[int, int, int], kind: str
) -> None:
    turn = draw_turn(np.random.default_rng(seed), voxel, True, True)
    before = turn.size_before(size)
    numbers = np.arange(np.prod(before)).reshape(1, *before)
    turned = turn.apply(numbers)
    assert turned.shape == (1, *size)
    assert sorted(turned.ravel()) == sorted(numbers.ravel())
    other = (numbers % 120).astype(kind)
    assert turn.apply(other).dtype == other.dtype
    np.testing.assert_array_equal(turn.apply(other), (turned % 120).astype(kind))


@given(Seeds)
def test_axes_of_other_voxels_stay(seed: int) -> None:
    turn = draw_turn(np.random.default_rng(seed), (1.0, 1.0, 3.0), True, True)
    assert turn.order[2] == 2
    assert draw_turn(np.random.default_rng(seed), (1.0, 2.0, 3.0), True, True).order == (0, 1, 2)


def test_all_turns_of_a_cube_are_drawn() -> None:
    random = np.random.default_rng(0)
    cube = np.arange(27).reshape(3, 3, 3)
    seen = {draw_turn(random, (1.0, 1.0, 1.0), True, True).apply(cube).tobytes() for _ in range(2000)}
    assert len(seen) == 48


def test_nothing_is_turned_where_nothing_is_asked_for() -> None:
    for seed in range(50):
        assert draw_turn(np.random.default_rng(seed), (1.0, 1.0, 1.0), False, False) == Turn()
