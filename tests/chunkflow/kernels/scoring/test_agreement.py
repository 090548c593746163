"""Agreement of labels against scikit-image on the whole, and against counting voxel by voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage.metrics import adapted_rand_error, variation_of_information

from chunkflow.kernels.scoring.agreement import Overlaps, add_overlaps, count_overlaps

Labels = NDArray[np.uint8]
volumes = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.integers(0, 4))] * 2)
)


@settings(deadline=None)
@given(volumes)
def test_pairs_are_counted_voxel_by_voxel(pair: tuple[Labels, Labels]) -> None:
    found, true = pair
    counted = {(int(a), int(b)): int(n) for a, b, n in zip(*count_overlaps(found, true), strict=True)}
    for (a, b), voxels in counted.items():
        assert voxels == ((found == a) & (true == b)).sum() > 0
    assert sum(counted.values()) == found.size
    assert list(counted) == sorted(counted)


@settings(deadline=None)
@given(volumes, st.integers(0, 6))
def test_pieces_add_up(pair: tuple[Labels, Labels], cut: int) -> None:
    parts = [count_overlaps(*(one[piece] for one in pair)) for piece in (slice(cut), slice(cut, None))]
    together = add_overlaps(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    for ours, whole in zip(together, count_overlaps(*pair), strict=True):
        np.testing.assert_array_equal(ours, whole)


@settings(deadline=None, max_examples=60)
@given(volumes)
def test_entropies_and_pairs_are_those_of_scikit_image(pair: tuple[Labels, Labels]) -> None:
    found, true = pair
    overlaps = Overlaps(*count_overlaps(found, true))
    assert overlaps.variation_of_information() == pytest.approx(
        tuple(variation_of_information(true, found)), abs=1e-12
    )
    if (true > 0).sum() > 1 and not np.isnan(expected := adapted_rand_error(true, found)).any():
        # What it calls precision is the share of the true pairs, and the other way round.
        error, recall, precision = expected
        assert overlaps.adapted_rand() == pytest.approx((error, precision, recall))


@settings(deadline=None, max_examples=60)
@given(volumes, st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_matched_objects_share_enough_and_no_two_share_one(pair: tuple[Labels, Labels], least: float) -> None:
    found, true = pair
    overlaps = Overlaps(*count_overlaps(found, true))
    a, b, iou = overlaps.matches(least)
    assert len(np.unique(a)) == len(np.unique(b)) == len(a)
    for one, other, share in zip(a, b, iou, strict=True):
        both = (found == one) & (true == other)
        assert share == pytest.approx(both.sum() / ((found == one) | (true == other)).sum())
        assert share >= least
    if least > 0.5:  # then an object has one partner at most, and all of them are matched
        ids, trues = overlaps.objects()
        shares = [
            ((found == i) & (true == j)).sum() / ((found == i) | (true == j)).sum()
            for i in ids
            for j in trues
        ]
        assert len(a) == sum(share >= least for share in shares)


def test_halves_of_an_object_cannot_both_match_it() -> None:
    true = np.ones((4, 1, 1), np.uint8)
    halves = np.array([1, 1, 2, 2], np.uint8).reshape(4, 1, 1)
    overlaps = Overlaps(*count_overlaps(halves, true))
    assert len(overlaps.matches(0.5)[0]) == 1
    assert overlaps.variation_of_information() == (1.0, 0.0)
    alike = Overlaps(*count_overlaps(halves, halves)).variation_of_information()
    assert [str(bits) for bits in alike] == ["0.0", "0.0"]
    assert Overlaps(*count_overlaps(true, halves)).variation_of_information() == (0.0, 1.0)


def test_ids_beyond_what_floats_hold_are_kept() -> None:
    large = np.array([2**60, 2**60 + 1, 2**64 - 1, 0], np.uint64).reshape(4, 1, 1)
    ids, others, _ = count_overlaps(large, large)
    assert ids.tolist() == others.tolist() == [0, 2**60, 2**60 + 1, 2**64 - 1]
    assert len(Overlaps(*count_overlaps(large, large)).matches(1.0)[0]) == 3
