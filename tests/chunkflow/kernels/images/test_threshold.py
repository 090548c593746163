"""The automatic threshold: on peaks drawn from known distributions, whatever their scale and order."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from chunkflow.kernels.images.threshold import Noise, Rule, decide_threshold, response_peaks

NOISE = 10.0  # half the peaks of noise lie below it


def blocks(
    cells: Sequence[float], count: int = 40, seed: int = 0, empty: int = 0
) -> list[NDArray[np.float32]]:
    """Blocks of 100 peaks of noise each, with cells strewn in; and `empty` ones of next to none."""
    random = np.random.default_rng(seed)
    noise = [NOISE / 2 + random.exponential(NOISE / 2 / np.log(2), 100) for _ in range(count)]
    noise += [random.exponential(NOISE / 100, 100) for _ in range(empty)]
    for value in cells:
        where = int(random.integers(count))
        noise[where] = np.append(noise[where], value)
    return [block.astype(np.float32) for block in noise]


def found(peaks: list[NDArray[np.float32]], threshold: float) -> int:
    return int((np.concatenate(peaks) >= threshold).sum())


def test_cells_that_stand_out_are_all_found() -> None:
    cells = np.random.default_rng(1).normal(400, 60, 200)
    decision = decide_threshold(blocks(list(cells)))
    assert decision.stands_out
    assert decision.above == 200
    assert NOISE * 5 < decision.threshold < cells.min()


def test_the_order_of_blocks_does_not_matter() -> None:
    sample = blocks([200.0] * 50)
    assert decide_threshold(sample) == decide_threshold(sample[::-1])


def test_empty_space_does_not_matter() -> None:
    cells = list(np.random.default_rng(1).normal(100, 20, 100))
    here = decide_threshold(blocks(cells))
    with_space = decide_threshold(blocks(cells, empty=200))
    assert with_space.threshold == pytest.approx(here.threshold, rel=0.1)


def test_a_scaled_image_has_a_scaled_threshold() -> None:
    sample = blocks(list(np.random.default_rng(1).normal(100, 20, 100)))
    for power in (2.0**-20, 2.0**9):
        scaled = decide_threshold([block * np.float32(power) for block in sample])
        assert scaled.threshold == decide_threshold(sample).threshold * power


def test_a_few_blocks_of_artefacts_do_not_matter() -> None:
    cells = list(np.random.default_rng(1).normal(300, 40, 150))
    sample = blocks(cells)
    artefacts = [block * np.float32(20) for block in blocks([], count=2, seed=7)]
    clean, dirty = decide_threshold(sample), decide_threshold(sample + artefacts)
    assert dirty.threshold < 250
    assert found(sample, dirty.threshold) >= 0.9 * found(sample, clean.threshold)


def test_many_cells_are_not_taken_for_noise() -> None:
    cells = list(np.random.default_rng(1).normal(400, 60, 3000))  # against 4,000 of noise
    decision = decide_threshold(blocks(cells))
    assert decision.above == 3000


def test_lesser_peaks_on_bright_cells_are_left_out() -> None:
    random = np.random.default_rng(1)
    cells, parts = random.normal(4000, 300, 150), random.normal(500, 100, 60)
    decision = decide_threshold(blocks([*cells, *parts]))
    assert decision.above == 150


def test_noise_alone_has_hardly_a_peak_above() -> None:
    decision = decide_threshold(blocks([]))
    assert decision.above <= 8
    assert decide_threshold([]).above == 0
    assert decide_threshold([np.zeros(0, np.float32)]).threshold > 0


@pytest.mark.parametrize("factor", [0.71, 1.41])
@pytest.mark.parametrize("name", [field.name for field in fields(Rule)])
def test_no_constant_is_on_edge(name: str, factor: float) -> None:
    cells = list(np.random.default_rng(1).lognormal(np.log(300), 0.3, 200))
    value = getattr(Rule(), name)
    rule = replace(Rule(), **{name: type(value)(value * factor)})
    decision = decide_threshold(blocks(cells), rule)
    assert 190 <= decision.above <= 210


def test_expected_noise_halves() -> None:
    noise = Noise(peaks=400, middle=10.0, halving=2.0)
    assert [noise.above(level) for level in (8.0, 10.0, 11.0, 12.0, 14.0)] == [400, 200, 150, 100, 50]
    assert Noise(peaks=400, middle=10.0, halving=0.0).above(11.0) == 0


def test_peaks_are_the_local_maxima() -> None:
    response = np.asfortranarray(np.random.default_rng(0).normal(0, 1, (20, 18, 16)).astype(np.float32))
    core = [(3, 15), (0, 18), (5, 16)]
    highest: Any = ndimage.maximum_filter(response, 3, mode="constant", cval=-np.inf)
    expected = response[(response == highest) & (response > 0)]
    assert (response_peaks(response, [(0, size) for size in response.shape]) == np.sort(expected)).all()
    inside = tuple(slice(*span) for span in core)
    part = response[inside][(response == highest)[inside] & (response[inside] > 0)]
    assert (response_peaks(response, core) == np.sort(part)).all()


def test_a_plateau_is_one_peak_in_every_window() -> None:
    response = np.zeros((12, 12, 12), np.float32, order="F")
    response[4:8, 5:7, 3:9] = 2.0
    assert len(response_peaks(response, [(0, 12)] * 3)) == 1
    assert sum(len(response_peaks(response, [(a, a + 3), (0, 12), (0, 12)])) for a in (0, 3, 6, 9)) == 1
