"""Where one tile lies against its neighbour: the shift at which what both show is most alike.

Phase correlation (the default):

1. The cross-power spectrum of the two strips is whitened, softened by a Gaussian of `SOFT` voxels (beyond
   that shot noise has all the power), and transformed back. Slabs of a deep stack are added up.
2. The highest local peaks are candidates. A discrete transform wraps around, so a peak stands for
   up to eight shifts; those within the window stay.
3. Each is judged by the normalised cross-correlation r over the voxels that both strips have there. A few
   voxels may be alike by chance, so what decides is r² / (1 - r²) times the root of their number (not their
   number: neighbouring voxels say much the same). Of many voxels only every so many rows are looked at.
4. From the best few, steps of one voxel are taken as long as that rises: where little overlaps the peak is
   often beside its place. A parabola through the correlations beside the best gives the fraction of a voxel.

Overlap search (Michaleas et al., HPEC 2020): the overlap along the one axis goes from one voxel to the
largest that is allowed; the loss is the sum of absolute differences between the two overlapping strips,
divided by their number of voxels; the overlap with the least loss is taken. There is no shift across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import fft

from chunkflow.geometry import Box, Vec, vec
from chunkflow.kernels.compiled import compiled

VoxelValues = npt.NDArray[np.generic]
Slabs = Sequence[tuple[VoxelValues, VoxelValues]]
"""The same slabs of depth of the two strips, x, y, z."""

SOFT = 0.5
PEAKS = 24
CLIMBED = 4
STEPS = [vec(step) for step in product((-1, 0, 1), repeat=3) if any(step)]
MOST_STEPS = 8
ENOUGH = 1 << 20
"""Voxels of the strips that are looked at to judge a candidate, about."""


@dataclass(frozen=True)
class Match:
    """The second strip's first voxel in voxels of the first, and how alike they are there (-1 to 1)."""

    shift: tuple[float, float, float]
    correlation: float
    voxels: int


NOTHING = Match((0.0, 0.0, 0.0), 0.0, 0)
"""Strips without any texture, or without one shift at which both have it."""


def match_by_phase(slabs: Slabs, window: Box) -> Match:
    """The best shift within `window`."""
    surface = np.sum([_phase(one, two) for one, two in slabs], axis=0)
    every = max(1, sum(one.size for one, _ in slabs) // ENOUGH)
    known: dict[Vec, float] = {}

    def likely(shift: Vec) -> float:
        if shift not in known:
            match = correlation(slabs, shift, every)
            known[shift] = math.sqrt(match.voxels) * evidence(match.correlation)
        return known[shift]

    begins = sorted(_candidates(surface, window), key=likely, reverse=True)[:CLIMBED]
    tops = [_climbed(begin, likely, window) for begin in begins]
    if not tops or likely(max(tops, key=likely)) <= 0:
        return NOTHING
    best = max(tops, key=likely)
    found = correlation(slabs, best)
    parts = []
    for axis in range(3):
        sides = [correlation(slabs, vec(n + s * (a == axis) for a, n in enumerate(best))) for s in (-1, 1)]
        parts.append(best[axis] + _fraction(sides[0], found, sides[1]))
    return Match((parts[0], parts[1], parts[2]), found.correlation, found.voxels)


def match_by_overlap(slabs: Slabs, axis: int, most: int) -> Match:
    """The overlap of at most `most` voxels along `axis` at which the strips differ least."""
    losses = []
    for overlap in range(1, most + 1):
        total, count = 0.0, 0
        for one, two in slabs:
            end, begin = _edges(one, two, axis, overlap)
            total += _difference(end, begin)
            count += end.size
        losses.append(total / count)
    best = 1 + int(np.argmin(losses))
    shift = [0, 0, 0]
    shift[axis] = slabs[0][0].shape[axis] - best
    return correlation(slabs, vec(shift))


def correlation(slabs: Slabs, shift: Vec, every: int = 1) -> Match:
    """How alike the strips are at a shift, in every so many rows; each slab has a mean of its own."""
    count, ab, aa, bb = 0, 0.0, 0.0, 0.0
    for one, two in slabs:
        inside = Box.of_size(vec(two.shape), shift).clip(Box.of_size(vec(one.shape)))
        if inside.empty:
            continue
        sums = _products(one[inside.slices((0, 0, 0))], two[inside.slices(shift)], every)
        count += inside.voxels
        ab, aa, bb = ab + sums[0], aa + sums[1], bb + sums[2]
    place = (float(shift[0]), float(shift[1]), float(shift[2]))
    # Constant voxels leave a few roundings of their mean, which are no texture.
    if count < 3 or min(aa, bb) <= 1e-9 * count or not math.isfinite(aa + bb):
        return Match(place, 0.0, count)
    return Match(place, min(max(ab / math.sqrt(aa * bb), -1.0), 1.0), count)


def evidence(correlation: float) -> float:
    """What one voxel says at this correlation: signal over noise, nothing where it is not positive."""
    squared = min(max(correlation, 0.0), 0.999) ** 2
    return squared / (1 - squared)


def _climbed(shift: Vec, likely: Callable[[Vec], float], window: Box) -> Vec:
    """The next top of what is likely, within the window."""
    for _ in range(MOST_STEPS):
        near = [vec(a + s for a, s in zip(shift, step, strict=True)) for step in STEPS]
        inside = [one for one in near if window.contains(Box.of_size((1, 1, 1), one))]
        higher = max([shift, *inside], key=likely)
        if higher == shift:
            break
        shift = higher
    return shift


def _phase(one: VoxelValues, two: VoxelValues) -> npt.NDArray[np.float32]:
    """Where the second lies in the first, as a surface of likeness over shifts, modulo its shape."""
    shape = [fft.next_fast_len(n, real=True) for n in one.shape]
    spectra = []
    for strip in (one, two):
        values = strip.astype(np.float32)
        values -= values.mean(dtype=np.float64)
        spectra.append(fft.rfftn(values, shape, overwrite_x=True))
    cross = spectra[0]
    cross *= spectra[1].conj()
    size = np.abs(cross)
    cross /= np.maximum(size, max(float(size.max()) * 1e-12, 1e-30))
    for axis, length in enumerate(shape):
        last = axis == 2
        frequency = fft.rfftfreq(length) if last else fft.fftfreq(length)
        soft = np.exp(-2 * (np.pi * SOFT * frequency) ** 2).astype(np.float32)
        cross *= soft.reshape([-1 if n == axis else 1 for n in range(3)])
    return np.asarray(fft.irfftn(cross, shape, overwrite_x=True), np.float32)


def _candidates(surface: npt.NDArray[np.float32], window: Box) -> Iterator[Vec]:
    """The highest local peaks within the window, highest first; equal ones in the order of shifts."""
    places = [np.arange(a, b) for a, b in zip(window.start, window.stop, strict=True)]
    seen = surface[np.ix_(*(place % n for place, n in zip(places, surface.shape, strict=True)))]
    padded = np.pad(seen, 1, constant_values=-np.inf)
    peak = seen > 0
    for step in STEPS:
        peak &= seen >= padded[tuple(slice(1 + s, 1 + s + n) for s, n in zip(step, seen.shape, strict=True))]
    found = np.argwhere(peak)
    order = np.argsort(-seen[peak], kind="stable")[:PEAKS]
    for index in found[order]:
        yield vec(place[i] for place, i in zip(places, index, strict=True))


def _fraction(before: Match, here: Match, after: Match) -> float:
    """The top of a parabola through three correlations, at most half a voxel off."""
    bend = before.correlation - 2 * here.correlation + after.correlation
    if bend >= 0 or not before.voxels or not after.voxels:
        return 0.0
    return min(max((before.correlation - after.correlation) / (2 * bend), -0.5), 0.5)


def _edges(one: VoxelValues, two: VoxelValues, axis: int, overlap: int) -> tuple[VoxelValues, VoxelValues]:
    """The first strip's end and the second's begin."""
    end, begin = [slice(None)] * 3, [slice(None)] * 3
    end[axis], begin[axis] = slice(one.shape[axis] - overlap, None), slice(0, overlap)
    return one[tuple(end)], two[tuple(begin)]


@compiled
def _products(one: VoxelValues, two: VoxelValues, every: int) -> tuple[float, float, float]:
    """Sums of products of the deviations from the means, in every so many rows along y, in a fixed order."""
    sum_one, sum_two, rows = 0.0, 0.0, (one.shape[1] + every - 1) // every
    for k in range(one.shape[2]):
        for j in range(0, one.shape[1], every):
            for i in range(one.shape[0]):
                sum_one += one[i, j, k]
                sum_two += two[i, j, k]
    count = one.shape[0] * rows * one.shape[2]
    mean_one, mean_two = sum_one / count, sum_two / count
    ab, aa, bb = 0.0, 0.0, 0.0
    for k in range(one.shape[2]):
        for j in range(0, one.shape[1], every):
            for i in range(one.shape[0]):
                a, b = one[i, j, k] - mean_one, two[i, j, k] - mean_two
                ab += a * b
                aa += a * a
                bb += b * b
    return ab, aa, bb


@compiled
def _difference(one: VoxelValues, two: VoxelValues) -> float:
    """The sum of absolute differences, in a fixed order."""
    total = 0.0
    for k in range(one.shape[2]):
        for j in range(one.shape[1]):
            for i in range(one.shape[0]):
                total += abs(float(one[i, j, k]) - float(two[i, j, k]))
    return total
