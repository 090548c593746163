"""Roundness against its definition, and exact however an object is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.objects.moments import merge_sums, sum_objects
from chunkflow.kernels.objects.roundness import no_products, roundness, sum_products

VOXEL = (0.5, 1.0, 2.5)
FAR = 700_000  # where coordinates' squares need more than 32 bits


def summed(labels: np.ndarray, origin: tuple[int, ...]) -> dict[str, np.ndarray]:
    sums = sum_objects(labels, [], origin, ((0, 0, 0), (0, 0, 0)))
    return sums | sum_products(labels, origin)


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 8), axis=st.integers(0, 2))
@settings(max_examples=25, deadline=None)
def test_parts_add_up_to_the_whole_wherever_it_is_cut(seed: int, cut: int, axis: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (9, 10, 11)).astype(np.uint32)
    whole = summed(labels, (FAR, 5, 2 * FAR))
    one, other = np.split(labels, [cut], axis)
    moved = [FAR, 5, 2 * FAR]
    moved[axis] += cut
    parts = [summed(one, (FAR, 5, 2 * FAR)), summed(other, tuple(moved))]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    order = np.argsort(joined["id"], kind="stable")
    merged = merge_sums({name: values[order] for name, values in joined.items()})
    for name in (name for name in whole if name != "faces"):
        assert np.array_equal(merged[name], whole[name]), name
    expected = [of_definition(labels == number) for number in whole["id"]]
    assert np.allclose(roundness(whole, VOXEL), expected, rtol=1e-5)


def of_definition(mask: np.ndarray) -> float:
    places = np.argwhere(mask) * VOXEL
    covariance = np.cov(places.T, bias=True) + np.diag(np.square(VOXEL)) / 12
    return float(27 * np.linalg.det(covariance) / np.trace(covariance) ** 3)


def test_a_ball_is_round_and_a_rod_is_not() -> None:
    x, y, z = np.indices((41, 41, 41)) - 20
    ball = (x * x + y * y + z * z <= 400).astype(np.uint8)
    rod = ((abs(x) < 2) & (abs(y) < 2)).astype(np.uint8)
    assert roundness(summed(ball, (0, 0, 0)), (1.0, 1.0, 1.0))[0] > 0.999
    assert roundness(summed(rod, (0, 0, 0)), (1.0, 1.0, 1.0))[0] < 0.01
    assert set(no_products()) == set(sum_products(ball, (0, 0, 0)))
