"""The automatic threshold: where two classes of peaks stand apart, else so many times the noise.

1. A fixed sample is cut into blocks. Of each the peaks of the response are listed, and its noise is told by
   its dark side: cells are bright, so how deep the darkest twentieth of its voxels lies comes of all else.
2. Half of all noise lies in blocks of at least the typical noise. Blocks of much less lie outside of the
   tissue and are left out; the noise of the sample is the median of the others.
3. Otsu's threshold cuts the peaks into two classes whose means differ most. It is taken where these exist:
   where it explains most of how peaks differ, is clear of the noise, and leaves few peaks below it that are
   clear of the noise, too (else it has only split off some that are far brighter than the rest).
4. Where they do not, no threshold tells cells well. It is then so many times the noise (`Rule.noise`).

The constants come of light-sheet volumes of eleven brains; docs/figures.md has the score of each, also with
constants chosen on the others. All is order, differences, and sums taken one after the other: nothing that a
CPU may round in its own way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.images.peaks import find_peaks

Floats = NDArray[np.float64]
Peaks = NDArray[np.float32]
Classes = Literal["apart", "mixed", "uneven", "dense", "none"]

PEAK_RATIO = 2.0
"""An object begins at half of what its peak must reach."""
DARK_SHARE = 0.05  # of a block's voxels: its dark side
NORMAL_DARK = 1.645  # standard deviations below the mean, of a normal distribution's darkest twentieth
FEW_PEAKS = 10
FEW_OF = 1000  # or one peak of so many
STRUCTURE = 2.0  # times the noise that single voxels alone would give
BLOCK_DIAMETERS = 10.0  # for some hundred peaks of noise
STEPS_PER_OCTAVE = 4  # of the histogram


@dataclass(frozen=True)
class Rule:
    """The constants of the rule; others than these are for finding out how much they matter."""

    noise: float = 5.0
    """Times the noise: the threshold where no two classes stand apart."""
    clear: float = 10.0
    """Times the noise: from here on a peak is clear of it."""
    separability: float = 0.68
    """The least share of the variance of peaks that two classes explain."""
    most_clear: float = 3.5
    """Times as many peaks may be clear of the noise as reach Otsu's threshold."""
    tissue: float = 0.2
    """Of the typical noise: blocks of less are outside of the tissue."""


@dataclass(frozen=True)
class SampledBlock:
    """One block of the sample."""

    peaks: Peaks
    """The heights of the peaks."""
    dark: float
    """How far below 0 the response of its darkest twentieth of voxels is."""
    white: float
    """How far it would be if neighbouring voxels differed by independent noise alone."""


@dataclass(frozen=True)
class Decision:
    """A threshold for peaks, and what it rests on."""

    threshold: float
    classes: Classes
    """Whether two classes of peaks stand apart, and why they do not: they are `mixed`; some are far brighter
    than the rest (`uneven`); hardly any is clear of the noise, in an image that has structure (`dense`) or
    has not (`none`)."""
    peaks: int
    above: int
    noise: float
    separability: float
    first: int
    """The first step of the histogram: step n begins at `step_height(n)`."""
    counts: list[int]
    """How many peaks each step holds."""


def step_height(step: int) -> float:
    """Where a step of the histogram of heights begins."""
    return float(2.0 ** (step / STEPS_PER_OCTAVE - 1))


def sample_block(
    image: NDArray[np.generic],
    response: NDArray[np.float32],
    core: Sequence[tuple[int, int]],
    white_gain: float,
) -> SampledBlock:
    """Sample the part `core` (start, stop along x, y, z) of a window's response; `image` is what it was made
    of there, and `white_gain` how much of the independent noise of voxels the filter lets through."""
    part = response[tuple(slice(*span) for span in core)]
    at = int(DARK_SHARE * part.size)
    dark = float(-np.partition(part, at, axis=None)[at])
    _, peaks = find_peaks(response, core)
    return SampledBlock(peaks, max(dark, 0.0), NORMAL_DARK * white_gain * _voxel_noise(image))


def decide_threshold(blocks: Iterable[SampledBlock], rule: Rule | None = None) -> Decision:
    """The threshold that the blocks of a sample call for, in whatever order."""
    rule = rule or Rule()
    tissue = _in_tissue(list(blocks), rule.tissue)
    peaks = np.sort(np.concatenate([block.peaks for block in tissue] or [np.zeros(0, np.float32)])).astype(
        np.float64
    )
    noise = _middle([block.dark for block in tissue])
    if len(peaks) < 2:
        level = float(peaks[0]) if len(peaks) else max(rule.noise * noise, 1.0)
        return Decision(level, "none", len(peaks), len(peaks), noise, 0.0, *_histogram(peaks))
    level, separability = otsu(peaks)
    classes = _classes(tissue, peaks, level, separability, rule)
    if classes != "apart":
        level = max(float(np.float32(rule.noise * noise)), float(peaks[0]))
    above = _count_above(peaks, level)
    return Decision(level, classes, len(peaks), above, noise, separability, *_histogram(peaks))


def _classes(
    tissue: list[SampledBlock], peaks: Floats, level: float, separability: float, rule: Rule
) -> Classes:
    """Whether Otsu's `level` cuts the peaks into two classes that exist, and why not."""
    noise, bright = _middle([block.dark for block in tissue]), _count_above(peaks, level)
    # where nuclei are dense their surroundings are dark, too: then the lower class tells what is faint
    faint = min(noise, float(peaks[(len(peaks) - bright) // 2]))
    clear = _count_above(peaks, rule.clear * noise)
    stands_out, only_some = level >= rule.clear * faint, clear > rule.most_clear * bright
    if stands_out and separability >= rule.separability and not only_some:
        return "apart"
    if clear < max(FEW_PEAKS, len(peaks) / FEW_OF):
        return "dense" if noise >= STRUCTURE * _middle([block.white for block in tissue]) else "none"
    return "uneven" if stands_out and only_some else "mixed"


def otsu(values: Floats) -> tuple[float, float]:
    """The middle between the two classes of sorted values whose means differ most, by their sizes, and the
    share of the variance that is between them."""
    count = len(values)
    sums = np.cumsum(values)
    lower = np.arange(1, count, dtype=np.float64)
    apart = sums[:-1] / lower - (sums[-1] - sums[:-1]) / (count - lower)
    between = lower * (count - lower) * apart * apart
    at = int(between.argmax())
    spread = values - sums[-1] / count
    variance = float(np.cumsum(spread * spread)[-1])
    return float(values[at] + values[at + 1]) / 2, float(between[at]) / (
        count * variance
    ) if variance else 0.0


def _histogram(peaks: Floats) -> tuple[int, list[int]]:
    """The first step, and how many peaks each holds."""
    if not len(peaks):
        return 0, []
    mantissa, exponent = np.frexp(peaks)
    within = [step_height(step) for step in range(1, STEPS_PER_OCTAVE)]
    steps = STEPS_PER_OCTAVE * exponent + np.searchsorted(within, mantissa, side="right")
    first = int(steps.min())
    return first, np.bincount(steps - first).tolist()


def _in_tissue(blocks: list[SampledBlock], share: float) -> list[SampledBlock]:
    """The blocks whose noise is at least this share of the typical: the median by weight of the noise, so
    that empty blocks hardly count."""
    ordered = sorted(block.dark for block in blocks)
    sums = np.cumsum(ordered)
    typical = ordered[int(np.searchsorted(sums, sums[-1] / 2))] if ordered else 0.0
    return [block for block in blocks if block.dark >= share * typical]


def _voxel_noise(image: NDArray[np.generic]) -> float:
    """The standard deviation of independent noise of voxels, from how neighbours along x differ; every fourth
    plane tells enough."""
    if image.shape[0] < 2:
        return 0.0
    steps = np.abs(np.diff(image[:, :, ::4].astype(np.float64), axis=0))
    return float(np.median(steps)) / (0.6745 * 2**0.5)


def _middle(values: list[float]) -> float:
    """The lower median, one of the values."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0.0


def _count_above(peaks: Floats, level: float) -> int:
    """How many peaks reach a level."""
    return len(peaks) - int(np.searchsorted(peaks, level, side="left"))
