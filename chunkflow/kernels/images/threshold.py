"""The automatic threshold: where peaks are more than noise, and more than parts of brighter ones.

1. In each block of a fixed sample the peaks of the response are listed. Noise differs over a volume: outside
   of the tissue there is hardly any, and artefacts lie together. So each block tells its own.
2. A block's noise is grown from its lowest peaks until nothing is left for a while above it: what lies beyond
   are cells. The quartiles of noise tell how fast its peaks halve in number, and so how many to expect above
   any response. Blocks that claim far more than is typical are taken as typical.
3. The threshold is the lowest response above which expected noise is at most NOISE_SHARE of the peaks seen.
4. Bright cells have lesser peaks on them. So it is at least PART_OF_TYPICAL of the median peak above it.
5. Where nothing stands out of the noise, it is where less than one peak of noise is expected.

All is whole numbers, differences, and halves with a straight line between them: nothing that a CPU may round
in its own way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, fsum, ldexp

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.images.peaks import find_peaks

Peaks = NDArray[np.float32]

PEAK_RATIO = 2.0
"""An object begins at half of what its peak must reach."""
NOISE_SHARE = 0.3
PART_OF_TYPICAL = 0.35
LOWEST_SHARE = 0.3  # of a block's peaks: surely noise
GAP = 8.0  # halvings above the median without which noise is over
FAR_MORE = 3.0  # times the typical
FEWEST_PEAKS = 32  # of a block that can tell its noise
BLOCK_DIAMETERS = 10.0  # for some hundred peaks of noise
STEPS_PER_OCTAVE_BITS = 6  # thresholds tried: 64 an octave, each exact in a few bits


@dataclass(frozen=True)
class Rule:
    """The constants of the rule; others than these are for finding out how much they matter."""

    noise_share: float = NOISE_SHARE
    part_of_typical: float = PART_OF_TYPICAL
    lowest_share: float = LOWEST_SHARE
    gap: float = GAP
    far_more: float = FAR_MORE
    fewest_peaks: int = FEWEST_PEAKS


@dataclass(frozen=True)
class Decision:
    """A threshold for peaks, and what it rests on."""

    threshold: float
    peaks: int
    above: int
    noise_expected: float
    stands_out: bool


@dataclass(frozen=True)
class Noise:
    """So many peaks, half of them above `middle`, and half as many again for each `halving` more."""

    peaks: int
    middle: float
    halving: float

    def above(self, response: float) -> float:
        beyond = response - self.middle
        if self.halving <= 0:
            return float(self.peaks if beyond < 0 else 0)
        halvings = min(max(beyond / self.halving, -1.0), 1e3)
        whole = floor(halvings)
        part = halvings - whole
        return self.peaks * ldexp(1.0 - part / 2, -whole - 1)


def response_peaks(response: NDArray[np.float32], core: Sequence[tuple[int, int]]) -> Peaks:
    """The heights of the peaks within `core` (start, stop along x, y, z) of a window, sorted."""
    return np.sort(find_peaks(response, core)[1])


def decide_threshold(blocks: Iterable[Peaks], rule: Rule | None = None) -> Decision:
    """The threshold that the peaks of a sample call for, block by block, in whatever order."""
    rule = rule or Rule()
    lists = [np.sort(block).astype(np.float64) for block in blocks]
    peaks = np.sort(np.concatenate(lists)) if lists else np.zeros(0)
    if len(peaks) == 0:
        return Decision(threshold=1.0, peaks=0, above=0, noise_expected=0.0, stands_out=False)
    able = [block for block in lists if len(block) >= rule.fewest_peaks]
    if 2 * sum(len(block) for block in able) < len(peaks):
        able = [peaks]
    noises = _tame([_noise_of(block, rule) for block in able], rule.far_more)
    expected, level, stands_out = 0.0, 0.0, False
    for level in _levels(min(noise.middle for noise in noises), float(peaks[-1])):
        expected = fsum(noise.above(level) for noise in noises)
        above = _count_above(peaks, level)
        stands_out = above > 0 and expected <= rule.noise_share * above
        if stands_out or (above == 0 and expected < 1):
            break
    threshold = _above_parts(peaks, level, rule.part_of_typical) if stands_out else level
    return Decision(
        threshold=threshold,
        peaks=len(peaks),
        above=_count_above(peaks, threshold),
        noise_expected=fsum(noise.above(threshold) for noise in noises),
        stands_out=stands_out,
    )


def _noise_of(peaks: NDArray[np.float64], rule: Rule) -> Noise:
    """Grown from the lowest peaks: those within `gap` halvings of its middle belong to it, too."""
    count = max(int(len(peaks) * rule.lowest_share), 1)
    while True:
        middle, upper = peaks[count // 2], peaks[count - 1 - count // 4]
        halving = upper - middle
        grown = int(np.searchsorted(peaks, middle + rule.gap * halving, side="right"))
        if grown <= count:
            return Noise(count, float(middle), float(halving))
        count = grown


def _tame(noises: list[Noise], far_more: float) -> list[Noise]:
    """The typical block is the median by weight of its noise, so that empty ones hardly count."""
    middle, halving = (
        _weighted_median([(getattr(noise, name), noise.middle) for noise in noises])
        for name in ("middle", "halving")
    )
    return [
        Noise(noise.peaks, min(noise.middle, far_more * middle), min(noise.halving, far_more * halving))
        for noise in noises
    ]


def _weighted_median(pairs: list[tuple[float, float]]) -> float:
    ordered = sorted(pairs)
    half = fsum(weight for _, weight in ordered) / 2
    for number, (value, _) in enumerate(ordered):
        if fsum(weight for _, weight in ordered[: number + 1]) >= half:
            return value
    return ordered[-1][0]


def _levels(low: float, high: float) -> Iterable[float]:
    """Responses to try from below `low`, far beyond `high`, each with few bits."""
    shift = 23 - STEPS_PER_OCTAVE_BITS
    first = int(np.float32(max(low, 1e-30)).view(np.uint32)) >> shift
    last = (int(np.float32(min(high, 1e30)).view(np.uint32)) >> shift) + (16 << STEPS_PER_OCTAVE_BITS)
    for step in range(first, last):
        yield float(np.uint32(step << shift).view(np.float32))


def _count_above(peaks: NDArray[np.float64], level: float) -> int:
    """How many peaks reach a level."""
    return len(peaks) - int(np.searchsorted(peaks, level, side="left"))


def _above_parts(peaks: NDArray[np.float64], level: float, part: float) -> float:
    """`level`, or `part` of the median peak that reaches it; found twice, as noise is among those at first.

    Again and again it would climb a long tail.
    """
    for _ in range(2):
        reaching = peaks[len(peaks) - _count_above(peaks, level) :]
        level = max(level, float(np.float32(part * reaching[len(reaching) // 2])))
    return level
