"""The automatic threshold: on peaks drawn from known distributions, whatever their scale and order."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians, white_noise_gain
from chunkflow.kernels.images.threshold import (
    Rule,
    SampledBlock,
    decide_threshold,
    otsu,
    sample_block,
    step_height,
)

NOISE = 10.0  # half the peaks of noise lie below it, and so deep is the dark side


def blocks(cells: Sequence[float], count: int = 40, seed: int = 0, empty: int = 0) -> list[SampledBlock]:
    """Blocks of 100 peaks of noise each, with cells strewn in; and `empty` ones of next to none."""
    random = np.random.default_rng(seed)
    peaks = [NOISE / 2 + random.exponential(NOISE / 2 / np.log(2), 100) for _ in range(count)]
    for value in cells:
        where = int(random.integers(count))
        peaks[where] = np.append(peaks[where], value)
    sample = [SampledBlock(np.sort(one).astype(np.float32), NOISE, NOISE / 8) for one in peaks]
    for _ in range(empty):
        faint = random.exponential(NOISE / 100, 100)
        sample.append(SampledBlock(np.sort(faint).astype(np.float32), NOISE / 100, NOISE / 100))
    return sample


def scaled(sample: list[SampledBlock], factor: float) -> list[SampledBlock]:
    return [
        SampledBlock(one.peaks * np.float32(factor), one.dark * factor, one.white * factor) for one in sample
    ]


def bright(count: int = 200, value: float = 400) -> list[float]:
    return list(np.random.default_rng(1).normal(value, value / 8, count))


def test_cells_that_stand_apart_are_all_found() -> None:
    decision = decide_threshold(blocks(bright()))
    assert decision.classes == "apart"
    assert decision.above == 200
    assert NOISE * 5 < decision.threshold <= min(bright())


def test_many_cells_are_not_taken_for_noise() -> None:
    decision = decide_threshold(blocks(bright(3000)))  # against 4,000 peaks of noise
    assert (decision.classes, decision.above) == ("apart", 3000)


def test_cells_that_do_not_stand_apart_are_cut_at_so_many_times_the_noise() -> None:
    cells = list(np.random.default_rng(1).exponential(60, 800))
    decision = decide_threshold(blocks(cells))
    assert decision.classes == "mixed"
    assert decision.threshold == Rule().noise * NOISE


def test_a_few_far_brighter_spots_do_not_hide_the_others() -> None:
    cells = list(np.random.default_rng(1).normal(150, 30, 300))
    decision = decide_threshold(blocks([*cells, *[9000.0] * 12]))
    assert decision.classes == "uneven"
    assert decision.above >= 300


def test_where_hardly_a_peak_stands_out_structure_tells_dense_nuclei_from_none() -> None:
    nothing = blocks([])
    assert decide_threshold(nothing).classes == "dense"
    noise = [replace(one, white=one.dark) for one in nothing]
    assert decide_threshold(noise).classes == "none"
    assert decide_threshold(noise).above <= 12
    assert decide_threshold([]).above == 0
    assert decide_threshold([SampledBlock(np.zeros(0, np.float32), 0.0, 0.0)]).threshold > 0


@given(st.permutations(range(12)))
def test_the_order_of_blocks_does_not_matter(order: list[int]) -> None:
    sample = blocks(bright(40), count=12)
    assert decide_threshold([sample[i] for i in order]) == decide_threshold(sample)


@pytest.mark.parametrize("cells", [bright(), [150.0] * 50], ids=["apart", "not"])
def test_empty_space_does_not_matter(cells: list[float]) -> None:
    assert decide_threshold(blocks(cells, empty=200)) == decide_threshold(blocks(cells))


@given(st.integers(-20, 9))
def test_a_scaled_image_has_a_scaled_threshold(power: int) -> None:
    for sample in (blocks(bright()), blocks(list(np.random.default_rng(1).exponential(60, 800)))):
        there, here = decide_threshold(scaled(sample, 2.0**power)), decide_threshold(sample)
        assert there.threshold == here.threshold * 2.0**power
        assert there.classes == here.classes


def test_a_few_blocks_of_artefacts_do_not_matter() -> None:
    sample = blocks(bright())
    artefacts = scaled(blocks([], count=2, seed=7), 20)
    clean, dirty = decide_threshold(sample), decide_threshold(sample + artefacts)
    found = sum(int((one.peaks >= dirty.threshold).sum()) for one in sample)
    assert found >= 0.9 * clean.above


@pytest.mark.parametrize("factor", [0.71, 1.41])
@pytest.mark.parametrize("name", [field.name for field in fields(Rule)])
def test_no_constant_is_on_edge(name: str, factor: float) -> None:
    cells = list(np.random.default_rng(1).lognormal(np.log(400), 0.2, 200))
    decision = decide_threshold(blocks(cells), replace(Rule(), **{name: getattr(Rule(), name) * factor}))
    assert 190 <= decision.above <= 220


@given(st.lists(st.integers(0, 255), min_size=3, max_size=200).filter(lambda one: len(set(one)) > 1))
def test_otsu_cuts_where_scikit_image_does(values: list[int]) -> None:
    ordered = np.sort(np.array(values, dtype=np.float64))
    level, separability = otsu(ordered)
    variance = float(ordered.var())
    assert 0 < separability <= 1 + 1e-12

    def between(cut: float) -> float:
        upper = ordered >= cut
        share = upper.mean()
        return float(share * (1 - share) * (ordered[upper].mean() - ordered[~upper].mean()) ** 2 / variance)

    # theirs is the highest of the lower class; cuts that explain as much may differ
    theirs = ordered[ordered > threshold_otsu(np.array(values, np.uint8))].min()
    assert between(level) == pytest.approx(separability)
    assert separability >= between(theirs) - 1e-9


def window() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    image = np.asfortranarray(np.random.default_rng(0).normal(0, 1, (20, 18, 16)).astype(np.float32))
    return image, image - np.float32(0.1)


def test_peaks_are_the_local_maxima_of_the_part() -> None:
    image, response = window()
    core = [(3, 15), (0, 18), (5, 16)]
    inside = tuple(slice(*span) for span in core)
    highest = ndimage.maximum_filter(response, 3, mode="constant", cval=-np.inf)
    part = response[inside][(response == highest)[inside] & (response[inside] > 0)]
    sampled = sample_block(image[inside], response, core, 0.5)
    assert (np.sort(sampled.peaks) == np.sort(part)).all()
    assert sampled.dark == pytest.approx(-np.quantile(response[inside], 0.05), abs=0.02)


def test_a_plateau_is_one_peak_in_every_window() -> None:
    response = np.zeros((12, 12, 12), np.float32, order="F")
    response[4:8, 5:7, 3:9] = 2.0

    def count(*core: tuple[int, int]) -> int:
        return len(sample_block(response, response, core, 1.0).peaks)

    assert count((0, 12), (0, 12), (0, 12)) == 1
    assert sum(count((a, a + 3), (0, 12), (0, 12)) for a in (0, 3, 6, 9)) == 1


@pytest.mark.parametrize("sigma", [(2.0, 2.0, 0.6), (1.0, 1.0, 1.0)])
def test_the_noise_of_single_voxels_is_known_behind_the_filter(sigma: tuple[float, float, float]) -> None:
    image = np.random.default_rng(0).normal(1000, 30, (90, 80, 60)).astype(np.uint16)
    response = difference_of_gaussians(image, sigma)
    assert response.std() == pytest.approx(30 * white_noise_gain(sigma), rel=0.05)
    core = [(0, size) for size in image.shape]
    sampled = sample_block(image, response, core, white_noise_gain(sigma))
    assert sampled.dark == pytest.approx(sampled.white, rel=0.1)
    assert decide_threshold([sampled]).classes == "none"


def test_nuclei_that_touch_are_not_taken_for_none() -> None:
    random = np.random.default_rng(3)
    image = ndimage.gaussian_filter(random.normal(0, 1, (80, 80, 60)), 3)
    image = 1000 + 300 * image / image.std() + random.normal(0, 10, image.shape)
    sigma = blob_sigma(9.0, (1.0, 1.0, 1.0))
    response = difference_of_gaussians(image.astype(np.float32), sigma)
    core = [(0, size) for size in image.shape]
    sampled = sample_block(image.astype(np.float32), response, core, white_noise_gain(sigma))
    assert decide_threshold([sampled]).classes == "dense"


@given(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=1, max_size=50))
def test_the_histogram_counts_each_peak_at_its_height(heights: list[float]) -> None:
    decision = decide_threshold([SampledBlock(np.sort(np.array(heights, np.float32)), 1.0, 1.0)])
    edges = [step_height(decision.first + i) for i in range(len(decision.counts) + 1)]
    assert edges[0] <= min(heights) < edges[1]
    assert np.histogram(np.array(heights, np.float32), edges)[0].tolist() == decision.counts
