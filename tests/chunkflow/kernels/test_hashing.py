"""Hashing: splitmix64 as published, and draws that are even."""

import numpy as np
import pytest

from chunkflow.kernels.hashing import draw, hash_of, hash_of_place


def test_it_is_splitmix64() -> None:
    """The first numbers of its author's program for the seeds 0 and 1234567."""
    assert [int(hash_of(np.uint64(0), n)) for n in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [int(hash_of(np.uint64(1234567), n)) for n in (1, 2)] == [6457827717110365317, 3203168211198807973]


@pytest.mark.parametrize(("low", "high"), [(0, 10), (-500, 501), (7, 8)])
def test_draws_are_even_within_their_range(low: int, high: int) -> None:
    numbers = np.array([draw(np.uint64(9), n, low, high) for n in range(20_000)])
    assert numbers.min() == low
    assert numbers.max() == high - 1
    assert abs(numbers.mean() - (low + high - 1) / 2) < 0.01 * (high - low)


def test_places_do_not_share_numbers() -> None:
    made = {
        int(hash_of_place(np.uint64(3), x, y, z))
        for x in range(-6, 6)
        for y in range(-6, 6)
        for z in range(-6, 6)
    }
    assert len(made) == 12**3
