"""Sums over objects: against scipy, exact under merging, and unharmed by what overflows 64 bits."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage, stats

from chunkflow.kernels.objects.moments import Columns, float_step, merge_sums, quantise, sum_objects
from chunkflow.kernels.objects.statistics import centroids, value_statistics

ALONE = ((0, 0, 0), (0, 0, 0))
Cut = tuple[slice, slice, slice]


def blobs(shape: tuple[int, int, int], dtype: Any, seed: int = 0) -> NDArray[Any]:
    """Labels of many voxels, one voxel, several components, and ids that fill their type."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 9, [size // 4 + 1 for size in shape])
    names = np.array([0, 1, 2, 5, 77, 900, 2**31 + 5, 2**32 - 1, np.iinfo(dtype).max], dtype=dtype)
    labels = np.kron(names[coarse], np.ones((4, 4, 4), dtype=dtype))[: shape[0], : shape[1], : shape[2]]
    labels[0, 0, 0] = 4242
    return np.asfortranarray(labels)


def noise(shape: tuple[int, int, int], dtype: Any = np.uint16) -> NDArray[Any]:
    return np.asfortranarray(
        np.random.default_rng(5).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    )


def around(cut: Cut, shape: tuple[int, int, int]) -> tuple[list[int], list[int], Cut]:
    below = [min(1, part.start) for part in cut]
    above = [min(1, size - part.stop) for part, size in zip(cut, shape, strict=True)]
    x, y, z = (slice(p.start - a, p.stop + b) for p, a, b in zip(cut, below, above, strict=True))
    return below, above, (x, y, z)


def joined(parts: list[Columns]) -> Columns:
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["id"], kind="stable")
    return merge_sums({name: values[order] for name, values in columns.items()})


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_agrees_with_scipy(dtype: Any, depth: Any) -> None:
    labels = blobs((21, 18, 13), dtype)
    image = noise(labels.shape, depth)
    columns = sum_objects(labels, [image], (0, 0, 0), ALONE)
    ids = np.unique(labels[labels > 0])
    assert (columns["id"] == ids).all()
    found = value_statistics(columns, 0)
    middle = centroids(columns, (100, 10, 1))
    for row, name in enumerate(ids):
        mask = labels == name
        values = image[mask].astype(np.float64)
        assert columns["volume"][row] == mask.sum()
        expected = np.array(ndimage.center_of_mass(mask)) + 0.5 + (100, 10, 1)
        assert np.allclose(middle[row], expected, rtol=1e-12)
        places = np.argwhere(mask)
        assert [columns[f"min_{axis}"][row] for axis in "xyz"] == places.min(axis=0).tolist()
        assert [columns[f"max_{axis}"][row] for axis in "xyz"] == (places.max(axis=0) + 1).tolist()
        assert found["mean"][row] == np.float32(values.mean())
        assert np.isclose(found["std"][row], values.std(), rtol=1e-6)
        assert found["min"][row] == values.min()
        assert found["max"][row] == values.max()
        if mask.sum() > 1:
            assert np.isclose(found["skew"][row], stats.skew(values), rtol=1e-5, atol=1e-6)
            assert np.isclose(found["kurtosis"][row], stats.kurtosis(values), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.sampled_from([np.uint32, np.uint64]))
def test_parts_add_up_to_the_whole(data: st.DataObject, dtype: Any) -> None:
    shape = (17, 14, 11)
    labels, image = blobs(shape, dtype, data.draw(st.integers(0, 5))), noise(shape)
    whole = sum_objects(labels, [image, image], (0, 0, 0), ALONE)
    edges = [sorted({0, size, *data.draw(st.lists(st.integers(1, size - 1), max_size=3))}) for size in shape]
    parts = []
    for x in zip(edges[0], edges[0][1:], strict=False):
        for y in zip(edges[1], edges[1][1:], strict=False):
            for z in zip(edges[2], edges[2][1:], strict=False):
                cut = (slice(*x), slice(*y), slice(*z))
                below, above, seen = around(cut, shape)
                origin = (x[0], y[0], z[0])
                parts.append(sum_objects(labels[seen], [image[cut], image[cut]], origin, (below, above)))
    parts = data.draw(st.permutations(parts))
    half = len(parts) // 2
    by_halves = joined([joined(parts[:half]), joined(parts[half:])]) if half else joined(parts)
    for name, values in whole.items():
        if name != "faces":
            assert (by_halves[name] == values).all(), name
            assert by_halves[name].dtype == values.dtype


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_faces_tell_on_which_sides_an_object_goes_on(data: st.DataObject) -> None:
    shape = (9, 8, 7)
    labels = np.asfortranarray(np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 60, shape))
    labels = labels.astype(np.uint64)
    start = data.draw(st.tuples(*[st.integers(0, size - 1) for size in shape]))
    stop = [data.draw(st.integers(a + 1, size)) for a, size in zip(start, shape, strict=True)]
    cut = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    below, above, seen = around(cut, shape)  # type: ignore[arg-type]
    columns = sum_objects(labels[seen], [], (0, 0, 0), (below, above))
    for name, faces in zip(columns["id"], columns["faces"], strict=True):
        expected = 0
        places = np.argwhere(labels == name)
        inside = ((places >= start) & (places < stop)).all(axis=1)
        for place in places[~inside]:
            if (np.abs(places[inside] - place).max(axis=1) <= 1).any():
                for axis in range(3):
                    expected |= (place[axis] < start[axis]) << 2 * axis
                    expected |= (place[axis] >= stop[axis]) << 2 * axis + 1
        assert faces == expected


def test_saturated_objects_do_not_overflow() -> None:
    labels = np.ones((70, 60, 50), dtype=np.uint64, order="F")
    image = np.full(labels.shape, 65535, dtype=np.uint16, order="F")
    image[0, 0, 0] = 65534
    columns = sum_objects(labels, [image], (0, 0, 0), ALONE)
    n = labels.size
    for power in (2, 3, 4):
        total = int(columns[f"0:s{power}_high"][0]) * 2**32 + int(columns[f"0:s{power}_low"][0])
        assert total == 65535**power * (n - 1) + 65534**power
    found = value_statistics(columns, 0)
    assert found["skew"][0] == pytest.approx(-np.sqrt(n), rel=1e-4)
    assert found["kurtosis"][0] == pytest.approx(n, rel=1e-4)


def test_a_constant_object_has_no_spread() -> None:
    labels = np.ones((3, 3, 3), dtype=np.uint32, order="F")
    image = np.full((3, 3, 3), 7, dtype=np.uint8, order="F")
    found = value_statistics(sum_objects(labels, [image], (0, 0, 0), ALONE), 0)
    assert [float(found[name][0]) for name in ("mean", "std", "skew", "kurtosis")] == [7, 0, 0, 0]


def test_float_images_are_measured_in_steps() -> None:
    random = np.random.default_rng(1)
    image = np.asfortranarray(random.normal(0.1, 2.0, (20, 20, 20)).astype(np.float32))
    low, high = float(image.min()), float(image.max())
    steps = quantise(image, low, high)
    columns = sum_objects(np.ones(image.shape, np.uint64, order="F"), [steps], (0, 0, 0), ALONE)
    found = value_statistics(columns, 0, low, float_step(low, high))
    assert found["mean"][0] == pytest.approx(image.mean(), abs=1e-3)
    assert found["std"][0] == pytest.approx(image.std(), rel=1e-3)
    assert found["max"][0] == pytest.approx(high)
    narrower = quantise(image, low + 1, high - 1)
    assert (narrower[image < low + 1] == 0).all()
    assert (narrower[image > high - 1] == 65535).all()
    image[3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="1 voxels"):
        quantise(image, low, high)


def test_a_box_without_objects_has_no_rows() -> None:
    columns = sum_objects(np.zeros((4, 4, 4), np.uint64), [noise((4, 4, 4))], (0, 0, 0), ALONE)
    assert all(len(values) == 0 for values in columns.values())
    assert all(len(values) == 0 for values in merge_sums(columns).values())
    assert all(len(values) == 0 for values in value_statistics(columns, 0).values())


def test_more_ids_than_the_first_table_holds() -> None:
    labels = np.arange(1, 20 * 20 * 20 + 1, dtype=np.uint64).reshape((20, 20, 20), order="F")
    columns = sum_objects(labels, [], (0, 0, 0), ALONE)
    assert (columns["id"] == np.arange(1, 8001)).all()
    assert (columns["volume"] == 1).all()


def test_a_wrong_image_is_refused() -> None:
    labels = np.ones((4, 4, 4), np.uint64)
    with pytest.raises(ValueError, match="cannot be summed"):
        sum_objects(labels, [np.zeros((4, 4, 4), np.float32)], (0, 0, 0), ALONE)
    with pytest.raises(ValueError, match="cannot be summed"):
        sum_objects(labels, [np.zeros((4, 4, 5), np.uint8)], (0, 0, 0), ALONE)
