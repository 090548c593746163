"""Normalisation: the same bytes in every window, against plain references, and no fault at the ends."""

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import ndimage

from chunkflow.geometry import Box, Vec, vec
from chunkflow.networks.normalisation import (
    SAMPLE_BOXES,
    SAMPLE_VOXELS,
    Clahe,
    LocalContrast,
    Normalisation,
    Normaliser,
    Percentiles,
    ZScore,
    sample_boxes,
)

VOXEL = (1000.0, 1000.0, 2000.0)
START = (7, -5, 3)
KINDS: list[Normaliser] = [
    Percentiles(),
    ZScore(),
    LocalContrast(background=4),
    LocalContrast(background=0.6),
    Clahe(tile=9),
    Clahe(tile=24, limit=0.05),
]
SHAPES = [(41, 30, 23), (41, 30, 1), (1, 17, 23)]
DTYPES = [np.uint8, np.uint16, np.float32]


@cache
def image_of(shape: Vec, dtype: Any) -> np.ndarray:
    """Blobs on a slope, of which a part is 0."""
    random = np.random.default_rng(6)
    smooth = ndimage.gaussian_filter(random.normal(0, 400, shape), 2) + np.arange(shape[1])[:, None]
    values = (smooth + random.normal(30, 8, shape)).clip(0, 255)
    values[: shape[0] // 5] = 0
    return np.asfortranarray(values.astype(dtype))


def decided(one: Normaliser, image: np.ndarray) -> dict[str, float]:
    volume = Box.of_size(vec(image.shape), START)
    return one.decide([(image, volume, volume)], volume, VOXEL)


@cache
def whole_of(one: Normaliser, shape: Vec, dtype: Any) -> tuple[np.ndarray, dict[str, float]]:
    image, volume = image_of(shape, dtype), Box.of_size(shape, START)
    numbers = decided(one, image)
    return one.apply(image, volume, volume, volume, VOXEL, numbers), numbers


@st.composite
def boxes_within(draw: st.DrawFn, outer: Box) -> Box:
    starts = [draw(st.integers(a, b - 1)) for a, b in zip(outer.start, outer.stop, strict=True)]
    stops = [draw(st.integers(a + 1, b)) for a, b in zip(starts, outer.stop, strict=True)]
    return Box(vec(starts), vec(stops))


@settings(max_examples=60)
@pytest.mark.parametrize("one", KINDS, ids=str)
@given(data=st.data())
def test_a_box_has_the_bytes_of_the_whole(one: Normaliser, data: st.DataObject) -> None:
    shape, dtype = data.draw(st.sampled_from(SHAPES)), data.draw(st.sampled_from(DTYPES))
    volume = Box.of_size(shape, START)
    whole, numbers = whole_of(one, shape, dtype)
    box = data.draw(boxes_within(volume))
    more = data.draw(st.tuples(*[st.integers(0, 2)] * 3))
    window = one.window(box, volume, VOXEL).grow(more).clip(volume)
    part = np.array(image_of(shape, dtype)[window.slices(START)], order=data.draw(st.sampled_from("CF")))
    found = one.apply(part, window, box, volume, VOXEL, numbers)
    assert found.dtype == np.float32
    assert found.flags.f_contiguous
    assert found.tobytes("F") == whole[box.slices(START)].tobytes("F")


@pytest.mark.parametrize("one", KINDS, ids=str)
@given(data=st.data())
def test_a_window_is_within_the_volume_and_found_axis_by_axis(one: Normaliser, data: st.DataObject) -> None:
    volume = Box.of_size((300, 200, 90), START)
    box, other = data.draw(boxes_within(volume)), data.draw(boxes_within(volume))
    window, beside = one.window(box, volume, VOXEL), one.window(other, volume, VOXEL)
    mixed = Box((box.start[0], *other.start[1:]), (box.stop[0], *other.stop[1:]))
    found = one.window(mixed, volume, VOXEL)
    assert volume.contains(window)
    assert window.contains(box)
    assert found.start == (window.start[0], *beside.start[1:])
    assert found.stop == (window.stop[0], *beside.stop[1:])


@pytest.mark.parametrize("one", KINDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numbers_do_not_depend_on_how_the_sample_lies_in_memory(one: Normaliser, dtype: Any) -> None:
    image, volume = image_of(SHAPES[0], dtype), Box.of_size(SHAPES[0], START)
    halves = [Box(volume.start, (volume.stop[0], volume.stop[1], 11)), Box((*START[:2], 11), volume.stop)]
    ways = []
    for order, step in (("C", 1), ("F", 2)):
        samples = []
        for box in halves:
            window = one.window(box, volume, VOXEL).grow((step, step, step)).clip(volume)
            samples.append((np.array(image[window.slices(START)], order=order), window, box))
        ways.append(one.decide(samples, volume, VOXEL))
    assert ways[0] == ways[1]
    assert ways[0] == pytest.approx(decided(one, image), rel=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_percentiles_and_zscore_are_those_of_numpy(dtype: Any) -> None:
    values = image_of(SHAPES[0], dtype).astype(np.float64)
    low, high = np.percentile(values, (2, 90))
    one = Percentiles(low=2, high=90)
    found = one.apply(*whole_box(values.astype(dtype)), VOXEL, decided(one, values.astype(dtype)))
    assert np.allclose(found, (values - low) / (high - low), rtol=1e-5, atol=1e-6)
    found, _ = whole_of(ZScore(), SHAPES[0], dtype)
    assert np.allclose(found, (values - values.mean()) / values.std(), rtol=1e-5, atol=1e-6)


def whole_box(image: np.ndarray) -> tuple[np.ndarray, Box, Box, Box]:
    volume = Box.of_size(vec(image.shape), START)
    return image, volume, volume, volume


@pytest.mark.parametrize("dtype", DTYPES)
def test_local_contrast_is_the_logarithm_less_its_background_in_units_of_its_spread(dtype: Any) -> None:
    values = image_of(SHAPES[0], dtype).astype(np.float64)
    logs = np.log1p(values)
    contrast = logs - ndimage.gaussian_filter(logs, (4, 4, 2), mode="reflect", truncate=3)
    seen = contrast[values > 0]
    unit = 1.4826 * np.median(np.abs(seen - np.median(seen)))
    found, numbers = whole_of(LocalContrast(background=4), SHAPES[0], dtype)
    assert numbers == {"deviation": pytest.approx(unit, rel=1e-4)}
    assert np.allclose(found, contrast / unit, rtol=1e-4, atol=2e-5)


def test_local_contrast_of_floats_is_that_of_integers() -> None:
    one = LocalContrast(background=4)
    image = image_of(SHAPES[0], np.uint16)
    numbers = decided(one, image)
    assert decided(one, image.astype(np.float32)) == numbers
    found = one.apply(*whole_box(image.astype(np.float32)), VOXEL, numbers)
    assert (found == whole_of(one, SHAPES[0], np.uint16)[0]).all()


@pytest.mark.parametrize("one", KINDS, ids=str)
@pytest.mark.parametrize("value", [0.0, 0.1, 7.0, 1e30])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_image_without_contrast_becomes_zeros(one: Normaliser, value: float, dtype: Any) -> None:
    image = np.full((12, 11, 1), min(value, 1e30 if dtype is np.float32 else 200), dtype, order="F")
    with np.errstate(all="raise"):
        numbers = decided(one, image)
        found = one.apply(*whole_box(image), VOXEL, numbers)
    assert one.unit(numbers) == 0
    assert not found.any()


def test_voxels_outside_of_what_was_imaged_do_not_decide_the_unit_of_local_contrast() -> None:
    image = image_of((41, 30, 23), np.uint16).copy(order="F")
    image[8:] = 0  # all but a fifth of it
    image[:8] += np.random.default_rng(1).integers(50, 99, (8, 30, 23)).astype(np.uint16)
    assert decided(LocalContrast(background=4), image)["deviation"] > 0.01


@pytest.mark.parametrize("one", KINDS, ids=str)
@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_what_is_no_number_is_an_error_that_names_the_box(one: Normaliser, fault: float) -> None:
    image = image_of(SHAPES[0], np.float32).copy(order="F")
    numbers = decided(one, image)
    image[20, 10, 5] = fault
    said = r"voxels that are not numbers within 7-48_-5-25_3-26"
    with pytest.raises(ValueError, match=said):
        decided(one, image)
    with pytest.raises(ValueError, match=said):
        one.apply(*whole_box(image), VOXEL, numbers)


def test_a_window_that_is_too_small_is_refused() -> None:
    image, volume = image_of(SHAPES[0], np.uint8), Box.of_size(SHAPES[0], START)
    window = Box((20, 0, 3), (30, 9, 9))
    with pytest.raises(ValueError, match="the window 20-30_0-9_3-9 lacks some of"):
        LocalContrast().apply(image[window.slices(START)], window, window, volume, VOXEL, {"deviation": 1.0})


def test_the_kind_tells_which_normalisation_it_is() -> None:
    known = TypeAdapter(Normalisation)
    for one in KINDS:
        assert known.validate_python(one.model_dump()) == one
    for wrong in ({"kind": "none"}, {"kind": "zscore", "low": 1}, {"kind": "percentiles", "low": 99.5}):
        with pytest.raises(ValidationError):
            known.validate_python(wrong)


@settings(max_examples=500)
@example((118, 120, 1185), (0, 0, 0))  # two boxes side by side have no room
@given(st.tuples(*[st.integers(1, 3000)] * 3), st.tuples(*[st.integers(-999, 999)] * 3))
def test_the_sample_is_spread_over_the_volume(size: Vec, start: Vec) -> None:
    volume = Box.of_size(size, start)
    boxes = sample_boxes(volume)
    assert boxes == sample_boxes(volume)
    if volume.voxels <= SAMPLE_VOXELS:
        assert boxes == [volume]
        return
    assert len(boxes) <= SAMPLE_BOXES
    assert sum(box.voxels for box in boxes) <= SAMPLE_VOXELS
    assert sum(box.voxels for box in boxes) >= 0.9 * SAMPLE_VOXELS
    assert all(volume.contains(box) for box in boxes)
    for axis in range(3):
        ends = sorted({(box.start[axis], box.stop[axis]) for box in boxes})
        assert all(stop <= start for (_, stop), (start, _) in pairwise(ends))
        before, after = ends[0][0] - volume.start[axis], volume.stop[axis] - ends[-1][1]
        assert abs(before - after) <= 1
