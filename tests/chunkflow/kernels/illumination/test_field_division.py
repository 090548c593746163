"""Division by a smooth field: by plain arithmetic, rounded once, and the same in every window."""

from __future__ import annotations

import numpy as np
import pytest

from chunkflow.kernels.illumination.field_division import Places, divide, field_places, field_range

FIELD = np.random.default_rng(1).normal(0, 0.3, (6, 5, 4)).astype(np.float32)
FACTOR = (4, 2, 8)
FIRST = (-2, 1, 0)
"""Where the field begins, in its own voxels."""
SIZE = tuple(n * f for n, f in zip(FIELD.shape, FACTOR, strict=True))
START = tuple(n * f for n, f in zip(FIRST, FACTOR, strict=True))


def divided(image: np.ndarray, start: tuple[int, ...], dark: float = 0.0) -> np.ndarray:
    """As a chunk that begins at `start` would have it, with no more of the field than that reads."""
    places: list[Places] = []
    window = []
    for axis in range(3):
        along = (start[axis], start[axis] + image.shape[axis], 1.0, float(FACTOR[axis]))
        ends = (FIRST[axis], FIRST[axis] + FIELD.shape[axis])
        first, last = field_range(*along)
        read = (max(first, ends[0]), min(last, ends[1]))
        window.append(slice(read[0] - ends[0], read[1] - ends[0]))
        places.append(field_places(*along, read, ends))
    return divide(image, FIELD[tuple(window)], (places[0], places[1], places[2]), dark)


def interpolated() -> np.ndarray:
    """The exponential of the field at all voxels, by numpy, one axis after another."""
    light = np.exp(FIELD.astype(np.float64))
    for axis, (count, factor) in enumerate(zip(FIELD.shape, FACTOR, strict=True)):
        centres = (np.arange(count * factor) + 0.5) / factor - 0.5
        light = np.apply_along_axis(
            lambda line, at=centres: np.interp(at, np.arange(len(line)), line), axis, light
        )
    return light


def image_of(dtype: str) -> np.ndarray:
    top = {"uint16": 60_000, "uint8": 256}.get(dtype, 120)
    return np.random.default_rng(2).integers(0, top, SIZE).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int32", "uint64", "float32"])
@pytest.mark.parametrize("dark", [0.0, 10.0])
def test_an_image_is_divided_and_rounded_once(dtype: str, dark: float) -> None:
    image = image_of(dtype)
    exact = (image.astype(np.float64) - dark) / interpolated() + dark
    found = divided(image, START, dark)
    assert found.dtype == image.dtype
    if dtype == "float32":
        np.testing.assert_allclose(found, exact, rtol=1e-6)
        return
    ends = np.iinfo(dtype)
    wanted = np.clip(np.floor(exact + 0.5), float(ends.min), float(ends.max))
    sure = np.abs(exact + 0.5 - np.round(exact + 0.5)) > 1e-6  # else numpy's last digit decides
    assert sure.mean() > 0.9
    assert (found.astype(np.float64)[sure] == wanted[sure]).all()
    assert (exact > ends.max).any() or dtype not in ("uint8", "uint16", "int8"), (
        "some are held within the type"
    )


def test_every_window_has_the_same_bytes() -> None:
    image = image_of("float32")
    whole = divided(image, START)
    random = np.random.default_rng(3)
    for _ in range(50):
        low = [int(random.integers(0, n)) for n in SIZE]
        high = [int(random.integers(a + 1, n + 1)) for a, n in zip(low, SIZE, strict=True)]
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        start = tuple(a + s for a, s in zip(low, START, strict=True))
        assert divided(image[part], start).tobytes() == whole[part].tobytes()


def test_halves_are_rounded_up_and_the_largest_numbers_stay() -> None:
    flat = (np.zeros(4, np.int64), np.zeros(4, np.int64), np.zeros(4))
    one = (flat[0][:1], flat[1][:1], flat[2][:1])

    def over(values: np.ndarray, by: float) -> list[int]:
        field = np.full((1, 1, 1), np.log(by))
        return list(map(int, divide(values.reshape(4, 1, 1), field, (flat, one, one), 0.0).ravel()))

    assert over(np.array([1, 2, 3, 5], np.uint8), 2.0) == [1, 1, 2, 3]
    assert over(np.array([-1, -2, -3, 127], np.int8), 0.5) == [-2, -4, -6, 127]
    top = 2**64 - 1
    assert over(np.array([0, 1, 2**63, top], np.uint64), 1.0) == [0, 1, 2**63, top]


def test_channels_are_divided_alike() -> None:
    image = np.stack([image_of("uint16"), image_of("uint16") // 2], axis=3)
    found = divided(image, START)
    for channel in range(2):
        assert np.array_equal(found[..., channel], divided(image[..., channel], START))


def test_an_even_field_changes_nothing() -> None:
    image = np.random.default_rng(5).random((9, 7, 5), np.float32)
    places = tuple(field_places(0, n, 1.0, 3.0, (0, 4), (0, 4)) for n in image.shape)
    found = divide(image, np.zeros((4, 4, 4), np.float32), (places[0], places[1], places[2]), 0.0)
    assert np.array_equal(found, image)
