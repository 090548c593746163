"""Places from links, and images from places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.images.blending import add_weighted, divided
from chunkflow.kernels.images.placement import place


def links_of(columns: int, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True places (the box begins at 0), the pairs of neighbours, and their shifts."""
    row, column = np.divmod(np.arange(columns * rows), columns)
    true = np.stack([column * 100, row * 80, 0 * row], 1) + rng.uniform(-9, 9, (columns * rows, 3))
    tiles = np.arange(columns * rows)
    pairs = np.concatenate(
        [
            np.stack([tiles, tiles + 1], 1)[column + 1 < columns],
            np.stack([tiles, tiles + columns], 1)[row + 1 < rows],
        ]
    )
    return true - true.min(axis=0), pairs, true[pairs[:, 1]] - true[pairs[:, 0]]


@settings(max_examples=40, deadline=None)
@given(columns=st.integers(1, 6), rows=st.integers(2, 5), seed=st.integers(0, 999))
def test_exact_links_give_exact_places_in_any_order(columns: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, pairs, shifts = links_of(columns, rows, rng)
    order = rng.permutation(len(pairs))
    weights = rng.uniform(0.1, 9, len(pairs))
    found = place(pairs[order], shifts[order], weights[order], np.zeros_like(true))
    assert np.abs(found.places - true).max() < 1e-6
    assert found.kept.all()
    assert not found.pieces.any()
    assert found.residuals.max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), wrong=st.integers(1, 3), size=st.floats(6, 300))
def test_links_that_do_not_fit_are_left_out(seed: int, wrong: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    true, pairs, shifts = links_of(5, 5, rng)
    shifts += rng.normal(0, 0.05, shifts.shape)
    # Inner links, far from one another: each is told by the loops around it.
    chosen = np.array([i for i, pair in enumerate(pairs) if tuple(pair) in ((6, 7), (18, 23), (13, 14))])
    chosen = rng.permutation(chosen)[:wrong]
    shifts[chosen, rng.integers(0, 3, wrong)] += size * rng.choice([-1, 1], wrong)
    found = place(pairs, shifts, np.ones(len(pairs)), np.zeros_like(true))
    assert set(np.flatnonzero(~found.kept)) == set(chosen)
    assert np.abs(found.places - true - np.median(found.places - true, axis=0)).max() < 0.5
    assert found.residuals[chosen].min() > size - 1


def test_links_without_weight_tear_the_grid_into_pieces() -> None:
    true, pairs, shifts = links_of(4, 3, np.random.default_rng(1))
    weights = np.ones(len(pairs))
    weights[(pairs[:, 0] % 4 == 1) & (pairs[:, 1] % 4 == 2)] = 0
    found = place(pairs, shifts, weights, true)
    assert found.pieces.reshape(3, 4).tolist() == [[0, 0, 1, 1]] * 3
    assert np.isnan(found.residuals[weights == 0]).all()
    for piece in (0, 1):
        mine = found.pieces == piece
        assert np.abs(found.places[mine] - true[mine] + true[mine].min(axis=0)).max() < 1e-6


def test_without_any_link_every_tile_is_a_piece() -> None:
    true, pairs, shifts = links_of(3, 2, np.random.default_rng(1))
    found = place(pairs, shifts, np.zeros(len(pairs)), true)
    assert found.pieces.tolist() == [0, 1, 2, 3, 4, 5]
    assert not found.kept.any()


@given(value=st.integers(0, 65535), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_alike_voxels_stay_what_they_are(value: int, seed: int) -> None:
    total, weight = np.zeros((5, 4, 2)), np.zeros((5, 4, 2))
    rng = np.random.default_rng(seed)
    for n in (5, 3, 2):
        along = rng.integers(1, 200, n).astype(float), rng.integers(1, 200, 4).astype(float)
        add_weighted(total[:n], weight[:n], np.full((n, 4, 2), value, np.uint16), *along)
    assert (divided(total, weight, "uint16") == value).all()


def test_means_are_weighted_rounded_and_held_within_their_type() -> None:
    total, weight = np.zeros((2, 1, 1)), np.zeros((2, 1, 1))
    add_weighted(
        total, weight, np.array([100, 0], np.float32).reshape(2, 1, 1), np.array([3.0, 1]), np.ones(1)
    )
    add_weighted(total[:1], weight[:1], np.full((1, 1, 1), 203, np.uint8), np.ones(1), np.ones(1))
    assert divided(total, weight, "uint8").ravel().tolist() == [126, 0]
    assert divided(total, weight, "float32").ravel().tolist() == [pytest.approx(125.75), 0]
    assert divided(np.full((1, 1, 1), -4.0), np.ones((1, 1, 1)), "uint8").item() == 0
    assert divided(np.full((1, 1, 1), 300.0), np.ones((1, 1, 1)), "uint8").item() == 255
    assert divided(np.full((1, 1, 1), 9.0), np.zeros((1, 1, 1)), "uint16").item() == 0
