"""Uneven light of a microscope's field of view, found from the pictures themselves, and taken out.

What a tile shows of a voxel is flat · (gain · light + offset) + dark: `flat` is how bright the field is from
place to place (mean 1), `dark` what the camera shows without light; every tile has a gain and an offset
of its own. Following the low-rank and sparse model of BaSiC (Peng et al., Nature Communications 2017):

1. Planes are pooled to at most 64 x 64, as the field is smooth and noise is not.
2. Each plane is its own level times the one field (rank one), and cells upon it (sparse): levels and
   field are found in turn, and what lies far from both counts less and less.
3. The field is smooth: a polynomial of the fourth degree, which keeps its slope at the edges, and of the
   rest those cosines that stand out from the noise.
4. Field and dark trade against each other: field · level + dark fits as well with less dark and more level.
   What tells them apart is that the field follows a plane's level and dark does not. So each part of the
   field is held against the level of its plane: a straight line, whose slope is the field. Some planes
   find the slopes and others what is left, or noise would pass for dark; and a dark that the three thirds
   of the planes do not agree on is left at 0.
5. Gains and offsets of tiles follow from what two neighbours see of the same tissue: spreads tell the
   gains, means the offsets; each by least squares over all links, where links that do not fit lose weight.
6. One thing no picture tells: a field that rises to one side, or gains that rise from tile to tile, or
   tissue that does. Planes show the field with what all tiles' tissue has in common, overlaps then show
   gains with a trend; as gains have no reason to have one, the trend goes back into the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn
from scipy.ndimage import uniform_filter

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

_POOLED = 64  # pixels of a pooled plane along its longer side
_DEGREE = 4
_ROUNDS = 12
_PARTS = 8  # of the field along each axis, where dark is looked for
_FEWEST = 8  # planes in each third of them
_CURVED = 0.01  # how much the field must curve, at least, for dark to be told from light
_TISSUE = 0.05  # how much tissue brightens over a tile's width, usually
_GRAIN = 2.0**14  # what is found is rounded, so that no processor's last bits reach a voxel


@dataclass(frozen=True)
class Shading:
    """The light of a field of view, in the planes' first two axes."""

    flat: Floats
    """How bright each place is, mean 1."""
    dark: Floats
    """What the camera shows without light."""


def estimate_shading(planes: Floats) -> Shading:
    """The field and the dark of planes (n, a, b), which should show many different places."""
    if planes.ndim != 3 or 0 in planes.shape:
        raise ValueError(f"planes of shape {planes.shape}: (n, a, b) is asked for")
    if not np.isfinite(planes).all():
        raise ValueError("the planes have values that are not finite")
    small = _pooled(planes)
    small = small[small.mean(axis=(1, 2)) > 0]
    shape = planes.shape[1:]
    if not len(small):
        return Shading(np.ones(shape, np.float32), np.zeros(shape, np.float32))
    dark = _dark(small)
    flat = resize_field(_field(small - dark), shape).astype(np.float64)
    flat = np.round(flat / flat.mean() * _GRAIN) / _GRAIN
    return Shading(flat.astype(np.float32), np.full(shape, round(dark * 16) / 16, np.float32))


def resize_field(field: Floats | Doubles, shape: Sequence[int]) -> Floats:
    """A field at another number of pixels: linear along both axes, and beyond the outermost centres, too."""
    made = np.asarray(field, np.float64)
    for axis, length in enumerate(shape):
        had = made.shape[axis]
        place = (np.arange(length) + 0.5) * had / length - 0.5
        low = np.clip(np.floor(place).astype(np.int64), 0, max(had - 2, 0))
        share = (place - low if had > 1 else np.zeros(length)).reshape([-1, 1] if axis == 0 else [1, -1])
        high = np.minimum(low + 1, had - 1)
        made = np.take(made, low, axis) * (1 - share) + np.take(made, high, axis) * share
    return made.astype(np.float32)


def correct(
    voxels: NDArray[np.generic], flat: Floats, dark: Floats, gain: float = 1.0, offset: float = 0.0
) -> Floats:
    """Voxels (x, y, z) of a tile as even light would show them; flat and dark are those of their x, y."""
    scale = (1.0 / (flat.astype(np.float64) * gain)).astype(np.float32)
    shift = (dark * scale + np.float32(offset / gain)).astype(np.float32)
    made: Floats = np.multiply(voxels, scale[:, :, None], dtype=np.float32)
    made -= shift[:, :, None]
    return made


def overlap_levels(one: Floats, two: Floats) -> tuple[tuple[float, float], tuple[float, float]]:
    """Means and spreads of the same place seen in two tiles, for `solve_gains`.

    A spread is how much brighter a tile shows what both together show as bright. Noise is not the same in
    both, so it widens neither.
    """
    level = np.maximum([one.mean(dtype=np.float64), two.mean(dtype=np.float64)], 1e-6).astype(np.float32)
    both = uniform_filter(one / level[0] + two / level[1], 3, mode="nearest").astype(np.float64)
    both -= both.mean()
    width = max(float(both.std()), 1e-12)
    first, second = (float((seen * both).mean()) / width for seen in (one, two))
    return (float(level[0]), float(level[1])), (first, second)


def solve_gains(
    pairs: NDArray[np.integer], means: Doubles, spreads: Doubles, weights: Doubles, tiles: int
) -> tuple[Doubles, Doubles]:
    """Gain and offset of each tile, from links of two tiles that see the same place.

    A tile shows gain · light + offset. The gains' geometric mean is 1, the offsets' mean 0. A link without
    contrast says nothing about gains; a tile without links has gain 1.
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    means, spreads = (np.asarray(a, np.float64).reshape(-1, 2) for a in (means, spreads))
    weights = np.asarray(weights, np.float64)
    told = np.asarray((spreads > 0).all(axis=1))
    ratio = np.log(np.where(told[:, None], spreads, 1.0))
    gain = np.exp(_solve_differences(pairs, ratio[:, 0] - ratio[:, 1], weights * told, tiles))
    light = means / gain[pairs]
    offset = gain * _solve_differences(pairs, light[:, 0] - light[:, 1], weights, tiles)
    offset -= gain * (offset.sum() / gain.sum())  # all tiles' light may rise together
    return np.round(gain * _GRAIN) / _GRAIN, np.round(offset * 256) / 256


def solve_light(
    flat: Floats,
    pairs: NDArray[np.integer],
    means: Doubles,
    spreads: Doubles,
    weights: Doubles,
    corners: Doubles,
    centres: Doubles,
) -> tuple[Floats, Doubles, Doubles]:
    """The field without what tissue has put into it, and gain and offset of each tile.

    `means` and `spreads` are of overlaps corrected by `flat`; `corners` (tiles, 2) says where each tile's
    first pixel lies, `centres` (links, 2, 2) where in the first and second tile the overlap's middle lies.
    """
    gain, _ = solve_gains(pairs, means, spreads, weights, len(corners))
    size = np.array(flat.shape)
    place = (corners - np.mean(corners, axis=0)) / size
    trend = _trend(place, np.log(gain))
    rise = [np.exp(trend[axis] * ((np.arange(size[axis]) + 0.5) / size[axis] - 0.5)) for axis in range(2)]
    made = flat / np.outer(*rise)
    factor = np.exp((centres / size - 0.5) @ trend) * made.mean()
    gain, offset = solve_gains(pairs, means * factor, spreads * factor, weights, len(corners))
    made = np.round(made / made.mean() * _GRAIN) / _GRAIN
    return made.astype(np.float32), gain, offset


def _trend(place: Doubles, value: Doubles) -> Doubles:
    """How values rise with the place, as far as it is no chance: the fewer tiles there are and the more their
    gains differ otherwise, the less is believed of a trend beyond the usual one of tissue."""
    product, along = place.T @ place, place.T @ value
    first = np.linalg.lstsq(product, along, rcond=None)[0]
    spread = float(np.sum((value - place @ first) ** 2)) / max(len(value) - 3, 1)
    ridge = max(spread / _TISSUE**2, 1.0)
    return np.asarray(np.linalg.solve(product + ridge * np.eye(2), along))


def _solve_differences(pairs: NDArray[np.int64], wanted: Doubles, weights: Doubles, tiles: int) -> Doubles:
    """Values whose differences over the pairs are as wanted, mean 0: first with the least sum of absolute
    errors, then with squares where an error far beyond the usual counts for nothing."""
    rows = np.arange(len(pairs))
    design = np.zeros((len(pairs), tiles))
    design[rows, pairs[:, 0]] += 1
    design[rows, pairs[:, 1]] -= 1
    used = weights > 0
    if not used.any():
        return np.zeros(tiles)
    trust, value = weights.copy(), np.zeros(tiles, np.float64)
    tiny = 1e-6 * max(float(np.abs(wanted[used]).max()), 1e-12)
    for turn in range(60):
        weighted = design.T * trust
        # the ridge settles what no link does: tiles that hang apart stay at 0
        ridge = 1e-9 * float(trust.max()) * np.eye(tiles)
        value[:] = np.linalg.solve(weighted @ design + ridge, weighted @ wanted)
        error = np.abs(wanted - design @ value)
        if turn < 40:
            trust = weights / np.maximum(error, tiny)
        else:
            usual = max(float(np.quantile(error[used], 0.8)) / 1.28, tiny)
            trust = weights / (1 + (error / (3 * usual)) ** 2) ** 2
    return np.asarray(value - value.mean())


def _pooled(planes: Floats) -> Doubles:
    """Means over equal blocks; what is left over at the far edges joins the last block."""
    made = planes.astype(np.float64)
    for axis in (1, 2):
        length = made.shape[axis]
        blocks = min(_POOLED, length)
        edges = np.arange(blocks + 1) * length // blocks
        sums = np.add.reduceat(made, edges[:-1], axis=axis)
        shape = [1, 1, 1]
        shape[axis] = blocks
        made = sums / np.diff(edges).reshape(shape)
    return made


def _field(planes: Doubles) -> Doubles:
    """The one smooth field that all planes show at levels of their own, whatever bright lies upon it."""
    level = np.median(planes, axis=(1, 2))
    planes, level = planes[level > 0], level[level > 0]
    field = np.ones(planes.shape[1:])
    if not len(planes):
        return field
    for _ in range(_ROUNDS):
        ratio = planes / (level[:, None, None] * field)
        error = ratio - 1
        usual = 1.4826 * np.median(np.abs(error)) + 1e-9
        trust = 1 / (1 + (error / (2 * usual)) ** 2) ** 2
        weight = trust.sum(axis=0)
        field = _smooth(field * (trust * ratio).sum(axis=0) / weight, weight)
        field = np.maximum(field / field.mean(), 0.02)
        level = (trust * planes / field).sum(axis=(1, 2)) / trust.sum(axis=(1, 2))
    return field


def _smooth(field: Doubles, weight: Doubles) -> Doubles:
    """A polynomial, and of what it leaves the cosines above the noise."""
    axes = [np.linspace(-1, 1, length) if length > 1 else np.zeros(1) for length in field.shape]
    terms = [
        (axes[0][:, None] ** i * axes[1][None, :] ** j).ravel()
        for i in range(_DEGREE + 1)
        for j in range(_DEGREE + 1 - i)
    ]
    basis, root = np.stack(terms, axis=1), np.sqrt(weight.ravel())
    found = np.linalg.lstsq(basis * root[:, None], field.ravel() * root, rcond=None)[0]
    base: Doubles = (basis @ found).reshape(field.shape)
    waves = dctn(field - base, norm="ortho")
    fine = waves[field.shape[0] // 2 :, field.shape[1] // 2 :]
    bound = 4 * 1.4826 * float(np.median(np.abs(fine)))
    kept = np.sign(waves) * np.maximum(np.abs(waves) - bound, 0)
    base += idctn(kept, norm="ortho")
    return base


def _dark(planes: Doubles) -> float:
    """The dark of the camera, one number, or 0 where the planes do not tell it from light."""
    if len(planes) < 3 * _FEWEST or min(planes.shape[1:]) < _PARTS:
        return 0.0
    parts = _medians(planes)
    order = np.random.default_rng(0).permutation(len(planes))
    lines = [_lines(parts[order[first::3]]) for first in range(3)]
    found = []
    for one, two in ((0, 1), (1, 2), (2, 0)):
        slope, rest = (lines[one][n] + lines[two][n] for n in range(2))
        other = lines[3 - one - two][0]
        shared = float(np.mean(slope / 2 * other))
        if shared < _CURVED**2:
            return 0.0
        found.append(-float(np.mean(rest / 2 * other)) / shared)
    dark, spread = float(np.mean(found)), float(np.std(found))
    if dark < 3 * spread or dark < 0.05 * float(np.median(parts)):
        return 0.0
    return min(dark, 0.95 * float(np.quantile(planes, 0.01)))


def _medians(planes: Doubles) -> Doubles:
    """The median of each part of each plane: rows of planes, columns of parts."""
    edges = [np.arange(_PARTS + 1) * length // _PARTS for length in planes.shape[1:]]
    return np.stack(
        [
            np.median(planes[:, a:b, c:d], axis=(1, 2))
            for a, b in zip(edges[0], edges[0][1:], strict=False)
            for c, d in zip(edges[1], edges[1][1:], strict=False)
        ],
        axis=1,
    )


def _lines(parts: Doubles) -> tuple[Doubles, Doubles]:
    """How each part follows the level of its plane: slope, and rest at level 0, their curvature alone.

    Tissue has gradients, which all tiles may share; the field's curvature is the microscope's. The level that
    a part is held against is that of others, as on a chessboard: its own noise would look like a field.
    """
    white = np.indices((_PARTS, _PARTS)).sum(axis=0).ravel() % 2 == 0
    level = np.where(white, parts[:, ~white].mean(axis=1)[:, None], parts[:, white].mean(axis=1)[:, None])
    trust = np.ones_like(parts)
    for _ in range(_ROUNDS):
        sums = trust.sum(axis=0)
        centre, usual = (trust * level).sum(axis=0) / sums, (trust * parts).sum(axis=0) / sums
        across = (trust * (level - centre) ** 2).sum(axis=0) + 1e-12
        slope = (trust * (level - centre) * (parts - usual)).sum(axis=0) / across
        error = np.abs(parts - usual - slope * (level - centre))
        trust = 1 / (1 + (error / (3 * np.median(error) + 1e-12)) ** 2)
    u = np.linspace(-1, 1, _PARTS)
    plane = np.stack([np.ones(_PARTS**2), np.repeat(u, _PARTS), np.tile(u, _PARTS)], axis=1)
    both = np.stack([slope, usual - slope * centre], axis=1)
    curved = both - plane @ np.linalg.lstsq(plane, both, rcond=None)[0]
    return curved[:, 0], curved[:, 1]
