"""A Gaussian, and a difference of two, whose values do not depend on the window.

1. Weights are summed and rounded once, from decimal arithmetic, so that every CPU has the same.
2. For each plane of the output, both Gaussians are taken along z, from the same sums of two planes.
3. For each row of it, along y, then along x; the difference is written.
4. Each sum runs from the centre outwards, so its order is the same in every window.

One Gaussian alone may be far wider: it is taken along z for one y at a time, as those rows fit the cache.
"""

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import numpy as np
from numba import get_num_threads, prange
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled, compiled_parallel
from chunkflow.kernels.images.mirroring import mirrored

Floats = NDArray[np.float32]
Indexes = NDArray[np.int64]
Span = tuple[int, int]

RATIO = 1.6  # of the wide Gaussian to the narrow one: Marr and Hildreth's, closest to a Laplacian
TRUNCATE = 3.0  # standard deviations


def blob_sigma(diameter: float, voxel_size: Sequence[float]) -> tuple[float, float, float]:
    """The narrow Gaussian, in voxels, for blobs of `diameter`, in the unit of `voxel_size`.

    radius / √3 is where a Laplacian answers most to a ball. Cells are no balls of sharp edge: with the narrow
    Gaussian there and the wide one beyond it, their uneven insides give fewer second peaks.
    """
    sigma = diameter / (2.0 * math.sqrt(3.0))
    x, y, z = (sigma / size for size in voxel_size)
    return x, y, z


def filter_radius(sigma: Sequence[float]) -> tuple[int, int, int]:
    """How far around a voxel its value depends on the image, along each axis."""
    x, y, z = (_radius(RATIO * one) for one in sigma)
    return x, y, z


def gaussian_weights(sigma: float) -> Floats:
    """Half a Gaussian's weights, centre first; the whole sums to one."""
    context = Context(prec=40)
    two_variances = context.multiply(Decimal(2), context.multiply(Decimal(sigma), Decimal(sigma)))
    values = [context.exp(context.divide(Decimal(-k * k), two_variances)) for k in range(_radius(sigma) + 1)]
    total = values[0] + 2 * sum(values[1:], Decimal(0))
    return np.array([float(value / total) for value in values], dtype=np.float64).astype(np.float32)


def difference_of_gaussians(
    image: NDArray[Any], sigma: Sequence[float], keep: Sequence[Span] | None = None
) -> Floats:
    """Narrow minus wide Gaussian of `image`, for the part `keep` (start, stop along x, y, z) of it.

    What lies beyond the image is its mirror image, so a side at which the volume goes on must lie at least
    `filter_radius` beyond `keep`.
    """
    spans = [(0, size) for size in image.shape] if keep is None else list(keep)
    narrow = [gaussian_weights(one) for one in sigma]
    wide = [gaussian_weights(RATIO * one) for one in sigma]
    sources = _sources(spans, wide, image.shape)
    shape = tuple(stop - start for start, stop in spans)
    out = np.empty(shape, dtype=np.float32, order="F")
    if out.size:
        planes = np.ascontiguousarray(image.T)
        _filter(planes, out.T, 4 * get_num_threads(), tuple(narrow), tuple(wide), tuple(sources))
    return out


def gaussian(image: NDArray[Any], sigma: Sequence[float], keep: Sequence[Span] | None = None) -> Floats:
    """One Gaussian of `image`, for the part `keep` (start, stop along x, y, z) of it.

    What lies beyond the image is its mirror image, so a side at which the volume goes on must lie at least
    `gaussian_radius` beyond `keep`.
    """
    spans = [(0, size) for size in image.shape] if keep is None else list(keep)
    weights = [gaussian_weights(one) for one in sigma]
    xs, ys, zs = _sources(spans, weights, image.shape)
    width, height, depth = (stop - start for start, stop in spans)
    out = np.empty((width, height, depth), dtype=np.float32, order="F")
    if out.size:
        planes = np.ascontiguousarray(image.T)
        smooth = np.empty((depth, int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1), np.float32)
        slabs = 4 * get_num_threads()
        _smooth_along_z(planes, smooth, slabs, weights[2], (xs, ys, zs))
        _smooth_planes(smooth, out.T, slabs, (weights[0], weights[1]), (xs, ys))
    return out


def gaussian_radius(sigma: Sequence[float]) -> tuple[int, int, int]:
    """How far around a voxel one Gaussian depends on the image, along each axis."""
    x, y, z = (_radius(one) for one in sigma)
    return x, y, z


def white_noise_gain(sigma: Sequence[float]) -> float:
    """The standard deviation of the difference of Gaussians of independent noise of standard deviation 1."""
    narrow = wide = both = 1.0
    for one in sigma:
        inner, outer = (_whole(gaussian_weights(ratio * one)) for ratio in (1.0, RATIO))
        inner = np.pad(inner, (len(outer) - len(inner)) // 2)
        narrow *= math.fsum(inner * inner)
        wide *= math.fsum(outer * outer)
        both *= math.fsum(inner * outer)
    return math.sqrt(narrow + wide - 2 * both)


def _whole(half: Floats) -> NDArray[np.float64]:
    """Both halves of a Gaussian's weights."""
    return np.concatenate((half[:0:-1], half)).astype(np.float64)


def _radius(sigma: float) -> int:
    return max(1, int(TRUNCATE * sigma + 0.5))


def _sources(spans: Sequence[Span], weights: Sequence[Floats], shape: Sequence[int]) -> list[Indexes]:
    """Where along each axis the voxels that a filter reads are found."""
    return [
        mirrored(start - len(half) + 1, stop + len(half) - 1, size)
        for (start, stop), half, size in zip(spans, weights, shape, strict=True)
    ]


@compiled_parallel
def _filter(image: Any, out: Any, slabs: int, narrow_weights: Any, wide_weights: Any, sources: Any) -> None:
    nx, ny, nz = narrow_weights
    wx, wy, wz = wide_weights
    xs, ys, zs = sources
    depth, height, width = out.shape
    low_y, high_y = ys.min(), ys.max() + 1
    low_x, high_x = xs.min(), xs.max() + 1
    for slab in prange(slabs):
        # A slab has its buffers to itself: made once for many planes, they stay in the cache.
        narrow = np.empty((high_y - low_y, high_x - low_x), np.float32)
        wide = np.empty((high_y - low_y, high_x - low_x), np.float32)
        row = np.empty(high_x - low_x, np.float32)
        padded = np.empty(len(xs), np.float32)
        first = np.empty(width, np.float32)
        second = np.empty(width, np.float32)
        for z in range(slab * depth // slabs, (slab + 1) * depth // slabs):
            places = zs[z : z + 2 * len(wz) - 1]
            for y in range(low_y, high_y):
                source = (y, low_x, high_x)
                _along_z(image, source, places, nz, wz, narrow[y - low_y], wide[y - low_y])
            for y in range(height):
                _over_rows(narrow, ys, y, low_y, ny, len(wy) - 1, row)
                _pad(row, xs, low_x, padded)
                _along_x(padded, nx, len(wx) - 1, first)
                _over_rows(wide, ys, y, low_y, wy, len(wy) - 1, row)
                _pad(row, xs, low_x, padded)
                _along_x(padded, wx, len(wx) - 1, second)
                result = out[z, y]
                for x in range(width):
                    result[x] = first[x] - second[x]


@compiled_parallel
def _smooth_along_z(image: Any, smooth: Any, slabs: int, weights: Any, sources: Any) -> None:
    xs, ys, zs = sources
    depth, height, width = smooth.shape
    low_x, low_y, low_z, high_z = xs.min(), ys.min(), zs.min(), zs.max() + 1
    for slab in prange(slabs):
        rows = np.empty((high_z - low_z, width), np.float32)
        for y in range(slab * height // slabs, (slab + 1) * height // slabs):
            for z in range(high_z - low_z):
                source, row = image[low_z + z, low_y + y, low_x : low_x + width], rows[z]
                for x in range(width):
                    row[x] = np.float32(source[x])
            for z in range(depth):
                _over_rows(rows, zs, z, low_z, weights, len(weights) - 1, smooth[z, y])


@compiled_parallel
def _smooth_planes(smooth: Any, out: Any, slabs: int, weights: Any, sources: Any) -> None:
    xs, ys = sources
    along_x, along_y = weights
    depth, height = out.shape[:2]
    low_x, low_y = xs.min(), ys.min()
    for slab in prange(slabs):
        row = np.empty(smooth.shape[2], np.float32)
        padded = np.empty(len(xs), np.float32)
        for z in range(slab * depth // slabs, (slab + 1) * depth // slabs):
            for y in range(height):
                _over_rows(smooth[z], ys, y, low_y, along_y, len(along_y) - 1, row)
                _pad(row, xs, low_x, padded)
                _along_x(padded, along_x, len(along_x) - 1, out[z, y])


@compiled
def _along_z(
    image: Any, row: tuple[int, int, int], places: Any, nz: Any, wz: Any, narrow: Any, wide: Any
) -> None:
    y, low, high = row
    middle = len(wz) - 1
    centre = image[places[middle], y, low:high]
    for x in range(len(centre)):
        value = np.float32(centre[x])
        narrow[x] = nz[0] * value
        wide[x] = wz[0] * value
    for k in range(1, len(wz)):
        before = image[places[middle - k], y, low:high]
        after = image[places[middle + k], y, low:high]
        if k < len(nz):
            _add_to_both(before, after, nz[k], wz[k], narrow, wide)
        else:
            _add(before, after, wz[k], wide)


@compiled
def _over_rows(plane: Any, ys: Any, y: int, low: int, weights: Any, reach: int, row: Any) -> None:
    centre = y + reach
    _scale(plane[ys[centre] - low], weights[0], row)
    k = 1
    while k + 2 < len(weights):
        _add_three(
            plane[ys[centre - k] - low],
            plane[ys[centre + k] - low],
            plane[ys[centre - k - 1] - low],
            plane[ys[centre + k + 1] - low],
            plane[ys[centre - k - 2] - low],
            plane[ys[centre + k + 2] - low],
            weights[k : k + 3],
            row,
        )
        k += 3
    while k < len(weights):
        _add(plane[ys[centre - k] - low], plane[ys[centre + k] - low], weights[k], row)
        k += 1


@compiled
def _along_x(padded: Any, weights: Any, reach: int, row: Any) -> None:
    n = len(row)
    _scale(padded[reach : reach + n], weights[0], row)
    k = 1
    while k + 2 < len(weights):
        _add_three(
            padded[reach - k : reach - k + n],
            padded[reach + k : reach + k + n],
            padded[reach - k - 1 : reach - k - 1 + n],
            padded[reach + k + 1 : reach + k + 1 + n],
            padded[reach - k - 2 : reach - k - 2 + n],
            padded[reach + k + 2 : reach + k + 2 + n],
            weights[k : k + 3],
            row,
        )
        k += 3
    while k < len(weights):
        _add(padded[reach - k : reach - k + n], padded[reach + k : reach + k + n], weights[k], row)
        k += 1


@compiled
def _pad(row: Any, xs: Any, low: int, padded: Any) -> None:
    for x in range(len(xs)):
        padded[x] = row[xs[x] - low]


@compiled
def _scale(values: Any, weight: Any, row: Any) -> None:
    for x in range(len(row)):
        row[x] = weight * values[x]


@compiled
def _add(before: Any, after: Any, weight: Any, row: Any) -> None:
    for x in range(len(row)):
        row[x] += weight * (np.float32(before[x]) + np.float32(after[x]))


@compiled
def _add_to_both(before: Any, after: Any, near: Any, far: Any, narrow: Any, wide: Any) -> None:
    for x in range(len(narrow)):
        both = np.float32(before[x]) + np.float32(after[x])
        narrow[x] += near * both
        wide[x] += far * both


@compiled
def _add_three(a1: Any, b1: Any, a2: Any, b2: Any, a3: Any, b3: Any, weights: Any, row: Any) -> None:
    """Three pairs in one go, in the order in which one after another would add them."""
    w1, w2, w3 = weights[0], weights[1], weights[2]
    for x in range(len(row)):
        row[x] = ((row[x] + w1 * (a1[x] + b1[x])) + w2 * (a2[x] + b2[x])) + w3 * (a3[x] + b3[x])
