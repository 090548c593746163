"""Coarser voxels: the mean or the mode of blocks that are counted from absolute voxel 0.

Blocks at the border of what exists pool what exists. Sums are whole numbers, rounded once, half up; those of
float32 are float64, added in the block's own order: no voxel depends on the window it was pooled in.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Array = NDArray[Any]
Vec = tuple[int, int, int]
Method = Literal["mean", "mode"]

MOST_MIPS = 24
_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def next_factor(voxel_size: Sequence[float], size: Vec) -> Vec:
    """Halve the axes whose voxels are finer than the coarsest by √2 or more; where none is, all.

    So voxels come as near to cubes as halving brings them. An axis of one voxel stays as it is.
    """
    long = [n > 1 for n in size]
    coarsest = max((v for v, more in zip(voxel_size, long, strict=True) if more), default=0.0)
    finer = [more and v * sqrt(2) <= coarsest for v, more in zip(voxel_size, long, strict=True)]
    x, y, z = (2 if halve else 1 for halve in (finer if any(finer) else long))
    return x, y, z


def mip_factors(
    voxel_size: Sequence[float],
    start: Vec,
    stop: Vec,
    storage: Vec,
    mips: int | None = None,
    factor: Vec | None = None,
) -> list[Vec]:
    """The factor of each mip to the one before: `mips` of them, or one or more until all lies in one storage
    chunk."""
    factors: list[Vec] = []
    size = tuple(float(v) for v in voxel_size)
    while len(factors) < (MOST_MIPS if mips is None else mips):
        x, y, z = (b - a for a, b in zip(start, stop, strict=True))
        chosen = factor or next_factor(size, (x, y, z))
        fits = all(n <= s for n, s in zip((x, y, z), storage, strict=True))
        if prod(chosen) == 1 or (mips is None and factors and fits):
            break
        factors.append(chosen)
        size = tuple(v * f for v, f in zip(size, chosen, strict=True))
        start, stop = coarser(start, stop, chosen)
    return factors


def coarser(start: Vec, stop: Vec, factor: Vec) -> tuple[Vec, Vec]:
    """The bounds that hold all of the finer voxels: floor(start / factor) to ceil(stop / factor)."""
    ax, ay, az = (a // f for a, f in zip(start, factor, strict=True))
    bx, by, bz = (-(-b // f) for b, f in zip(stop, factor, strict=True))
    return (ax, ay, az), (bx, by, bz)


def pool(array: Array, start: Vec, factor: Vec, method: Method, dtype: str = "") -> Array:
    """Pool an array (x, y, z, and channel if there are several) whose first voxel is `start`.

    The result begins at floor(start / factor). It is of the array's own type; with `dtype` float32 means of
    whole numbers are not rounded to such.
    """
    stop = [a + n for a, n in zip(start, array.shape[:3], strict=True)]
    first, last = coarser(start, (stop[0], stop[1], stop[2]), factor)
    shape = [b - a for a, b in zip(first, last, strict=True)]
    pooled = np.empty((*shape, *array.shape[3:]), dtype or array.dtype, order="F")
    # Where, in the array, the first block begins: before its first voxel if the border cuts it.
    begin = [a * f - s for a, f, s in zip(first, factor, start, strict=True)]
    kernel: Any = _mode if method == "mode" else _mean_of(pooled.dtype)
    # The kernels loop over z, y, x in C order, which is the order of x, y, z arrays in memory.
    sources = array[..., np.newaxis] if array.ndim == 3 else array
    targets = pooled[..., np.newaxis] if array.ndim == 3 else pooled
    for channel in range(sources.shape[3]):
        source = np.asfortranarray(sources[..., channel]).T
        kernel(source, targets[..., channel].T, *begin, *factor)
    return pooled


def _mean_of(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return _float_mean
    return _long_mean if dtype.itemsize == 8 else _mean


@compiled
def _extent(place: int, begin: int, factor: int, size: int) -> tuple[int, int]:
    """The part of a block, along one axis, that exists."""
    low = begin + place * factor
    return max(low, 0), min(low + factor, size)


@compiled
def _mean(source: Array, target: Array, bx: int, by: int, bz: int, fx: int, fy: int, fz: int) -> None:
    nz, ny, nx = source.shape
    for z in range(target.shape[0]):
        z0, z1 = _extent(z, bz, fz, nz)
        for y in range(target.shape[1]):
            y0, y1 = _extent(y, by, fy, ny)
            for x in range(target.shape[2]):
                x0, x1 = _extent(x, bx, fx, nx)
                total = np.int64(0)
                for k in range(z0, z1):
                    for j in range(y0, y1):
                        for i in range(x0, x1):
                            total += np.int64(source[k, j, i])
                count = (z1 - z0) * (y1 - y0) * (x1 - x0)
                target[z, y, x] = (total + count // 2) // count


@compiled
def _long_mean(source: Array, target: Array, bx: int, by: int, bz: int, fx: int, fy: int, fz: int) -> None:
    """64 bits: a sum may take more, so the two halves of the values are added apart."""
    nz, ny, nx = source.shape
    for z in range(target.shape[0]):
        z0, z1 = _extent(z, bz, fz, nz)
        for y in range(target.shape[1]):
            y0, y1 = _extent(y, by, fy, ny)
            for x in range(target.shape[2]):
                x0, x1 = _extent(x, bx, fx, nx)
                high = low = np.uint64(0)
                for k in range(z0, z1):
                    for j in range(y0, y1):
                        for i in range(x0, x1):
                            value = np.uint64(source[k, j, i])
                            high += value >> _HALF
                            low += value & _LOW
                count = np.uint64((z1 - z0) * (y1 - y0) * (x1 - x0))
                rest = ((high % count) << _HALF) + low + count // np.uint64(2)
                target[z, y, x] = ((high // count) << _HALF) + rest // count


@compiled
def _float_mean(source: Array, target: Array, bx: int, by: int, bz: int, fx: int, fy: int, fz: int) -> None:
    nz, ny, nx = source.shape
    for z in range(target.shape[0]):
        z0, z1 = _extent(z, bz, fz, nz)
        for y in range(target.shape[1]):
            y0, y1 = _extent(y, by, fy, ny)
            for x in range(target.shape[2]):
                x0, x1 = _extent(x, bx, fx, nx)
                total = 0.0
                for k in range(z0, z1):
                    for j in range(y0, y1):
                        for i in range(x0, x1):
                            total += np.float64(source[k, j, i])
                target[z, y, x] = total / ((z1 - z0) * (y1 - y0) * (x1 - x0))


@compiled
def _mode(source: Array, target: Array, bx: int, by: int, bz: int, fx: int, fy: int, fz: int) -> None:
    """The value that most voxels have; of several such the smallest."""
    nz, ny, nx = source.shape
    values = np.empty(fx * fy * fz, source.dtype)
    for z in range(target.shape[0]):
        z0, z1 = _extent(z, bz, fz, nz)
        for y in range(target.shape[1]):
            y0, y1 = _extent(y, by, fy, ny)
            begin, end = 0, 0
            if fx == 2 and y1 - y0 == 2 and z1 - z0 == 1:  # what anisotropic volumes are made of
                begin, end = max(-bx, 0), max((nx - bx) // 2, 0)
                _mode_of_fours(source[z0, y0], source[z0, y0 + 1], target[z, y], bx, begin, end)
            for x in range(target.shape[2]):
                if begin <= x < end:
                    continue
                x0, x1 = _extent(x, bx, fx, nx)
                first = source[z0, y0, x0]
                count, same = 0, True
                for k in range(z0, z1):
                    for j in range(y0, y1):
                        for i in range(x0, x1):
                            values[count] = source[k, j, i]
                            same &= values[count] == first
                            count += 1
                target[z, y, x] = first if same else _most_common(values[:count])


@compiled
def _mode_of_fours(one: Array, two: Array, target: Array, bx: int, begin: int, end: int) -> None:
    """The mode of blocks of 2 x 2 voxels, those from begin to end along a row, without a branch.

    Of four values in order, the first that equals the next is the mode, as a pair lower down wins a tie; if
    all differ it is the smallest.
    """
    for x in range(begin, end):
        i = bx + 2 * x
        a, b = min(one[i], one[i + 1]), max(one[i], one[i + 1])
        c, d = min(two[i], two[i + 1]), max(two[i], two[i + 1])
        low, high = min(a, c), max(b, d)
        inner, outer = max(a, c), min(b, d)
        second, third = min(inner, outer), max(inner, outer)
        upper = third if third == high else low
        middle = second if second == third else upper
        target[x] = low if low == second else middle


@compiled
def _most_common(values: Array) -> Any:
    best, most = values[0], 0
    for i in range(len(values)):
        times = 0
        for j in range(len(values)):
            times += values[j] == values[i]
        if times > most or (times == most and values[i] < best):
            best, most = values[i], times
    return best
