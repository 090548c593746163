"""Contrast-limited adaptive histogram equalisation on a lattice of tiles from voxel 0.

1. The grey values of each tile are counted in equal bins.
2. No bin keeps more than a share of the tile's voxels; what is cut off is spread evenly over all bins. So
   the noise of a tile without contrast is not stretched to the full range.
3. The running sum of the bins is the tile's curve, from grey values to 0 to 1, straight within a bin.
4. A voxel's value lies between those that the curves of the eight tiles around it give, by how far it is from
   their centres. A tile that the volume does not reach is replaced by the nearest that it does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float32]
Span = tuple[int, int]

BINS = 256


def tiles_around(span: Span, whole: Span, tile: int) -> Span:
    """The tiles (first, one after the last) that `span` depends on, of those that `whole` has."""
    (start, stop), (first, last) = span, _tiles_of(whole, tile)
    low, high = (2 * start + 1 - tile) // (2 * tile), (2 * stop - 1 - tile) // (2 * tile) + 1
    return min(max(low, first), last), min(max(high, first), last) + 1


def voxels_of_tiles(tiles: Span, whole: Span, tile: int) -> Span:
    """The voxels of `whole` in a range of tiles."""
    return max(tiles[0] * tile, whole[0]), min(tiles[1] * tile, whole[1])


def equalise(
    image: NDArray[Any],
    window: Sequence[Span],
    keep: Sequence[Span],
    volume: Sequence[Span],
    tile: Sequence[int],
    greys: tuple[float, float],
    limit: float,
) -> Floats:
    """Equalise the part `keep` of `image`, which fills `window`: all tiles around `keep`.

    `window`, `keep` and `volume` are starts and stops along x, y, z, counted from absolute voxel 0. `greys`
    is the range that is cut into bins, `limit` the greatest share of a tile's voxels that a bin keeps.
    """
    axes = [
        _Axis(*spans, side) for spans, side in zip(zip(window, keep, volume, strict=True), tile, strict=True)
    ]
    x, y, z = axes
    low, scale = greys[0], BINS / (greys[1] - greys[0])
    planes = np.ascontiguousarray(image.T)
    curves = np.empty((len(z.edges) - 1, len(y.edges) - 1, len(x.edges) - 1, BINS + 1), np.float32)
    _make_curves(planes, (x.edges, y.edges, z.edges), low, scale, limit, curves)
    out = np.empty([stop - start for start, stop in keep], np.float32, order="F")
    kept = np.ascontiguousarray(planes[tuple(axis.kept for axis in reversed(axes))])
    _apply_curves(
        kept,
        curves,
        (x.below, y.below, z.below),
        (x.above, y.above, z.above),
        (x.share, y.share, z.share),
        low,
        scale,
        out.T,
    )
    return out


class _Axis:
    """The tiles along one axis, and between which two centres each voxel lies."""

    def __init__(self, window: Span, keep: Span, whole: Span, tile: int) -> None:
        first, last = tiles_around(keep, whole, tile)
        bounds = np.arange(first, last + 1, dtype=np.int64) * tile
        self.edges = np.clip(bounds, *whole) - window[0]
        twice = 2 * np.arange(*keep, dtype=np.int64) + 1 - tile  # from the first centre, in half voxels
        below = twice // (2 * tile)
        self.below = np.clip(below, first, last - 1) - first
        self.above = np.clip(below + 1, first, last - 1) - first
        self.share = (twice % (2 * tile)) / (2.0 * tile)
        self.kept = slice(keep[0] - window[0], keep[1] - window[0])


def _tiles_of(whole: Span, tile: int) -> Span:
    return whole[0] // tile, (whole[1] - 1) // tile


@compiled
def _bin(value: float, low: float, scale: float) -> tuple[int, float]:
    """The bin of a grey value, and how far within it the value lies."""
    place = min(max((value - low) * scale, 0.0), float(BINS))
    number = min(int(place), BINS - 1)
    return number, place - number


@compiled
def _make_curves(image: Any, edges: Any, low: float, scale: float, limit: float, curves: Any) -> None:
    xs, ys, zs = edges
    counts = np.empty(BINS, np.int64)
    for k in range(curves.shape[0]):
        for j in range(curves.shape[1]):
            for i in range(curves.shape[2]):
                counts[:] = 0
                for z in range(zs[k], zs[k + 1]):
                    for y in range(ys[j], ys[j + 1]):
                        row = image[z, y, xs[i] : xs[i + 1]]
                        for x in range(len(row)):
                            counts[_bin(np.float64(row[x]), low, scale)[0]] += 1
                _make_curve(counts, limit, curves[k, j, i])


@compiled
def _make_curve(counts: Any, limit: float, curve: Any) -> None:
    total = counts.sum()
    most = limit * total
    kept = 0.0
    for count in counts:
        kept += min(np.float64(count), most)
    spread = (total - kept) / BINS
    running = 0.0
    curve[0] = 0.0
    for b in range(BINS):
        running += min(np.float64(counts[b]), most) + spread
        curve[b + 1] = np.float32(min(running / total, 1.0))


@compiled
def _apply_curves(
    image: Any, curves: Any, below: Any, above: Any, shares: Any, low: float, scale: float, out: Any
) -> None:
    for z in range(out.shape[0]):
        front, back, depth = curves[below[2][z]], curves[above[2][z]], shares[2][z]
        for y in range(out.shape[1]):
            j, k, height = below[1][y], above[1][y], shares[1][y]
            a, b, c, d = front[j], front[k], back[j], back[k]
            source, result = image[z, y], out[z, y]
            for x in range(len(result)):
                left, right, width = below[0][x], above[0][x], shares[0][x]
                number, within = _bin(np.float64(source[x]), low, scale)
                upper = _between(a, left, right, width, number, within)
                lower = _between(b, left, right, width, number, within)
                near = upper + height * (lower - upper)
                upper = _between(c, left, right, width, number, within)
                lower = _between(d, left, right, width, number, within)
                far = upper + height * (lower - upper)
                result[x] = np.float32(near + depth * (far - near))


@compiled
def _between(curves: Any, left: int, right: int, share: float, number: int, within: float) -> float:
    """What the curves of two neighbouring tiles give, by how far the voxel is from their centres."""
    first, second = curves[left], curves[right]
    one = first[number] + within * (np.float64(first[number + 1]) - first[number])
    other = second[number] + within * (np.float64(second[number + 1]) - second[number])
    return float(one + share * (other - one))
