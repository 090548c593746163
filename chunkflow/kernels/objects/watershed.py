"""Watershed by steepest ascent, the same in whatever windows it is done.

1. Link: every voxel above the threshold points to its highest neighbour of 26, itself included; of equals the
   larger linear index of the volume counts as higher, which settles plateaus. Its own highest is a peak.
2. Follow: a voxel belongs to the peak at the end of its path if the whole path stays within `reach` of it.
3. Name: a peak is named by its place; one below `contrast` is no object.
4. Count: an object is grown from its peak against the links until it has the minimum volume.
Where a path or a small object meets voxels whose neighbours are not all in the window, it is too small.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, prange
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled, compiled_parallel
from chunkflow.kernels.precomputed.morton import voxel_ids

Corner = tuple[int, int, int]

PEAK = 13  # of the 27 directions 9·(dz+1) + 3·(dy+1) + (dx+1), the one that goes nowhere
BACKGROUND = -1
UNKNOWN = -2  # foreground, but a neighbour lies outside of the window

NO_PEAK = -1
OUT_OF_REACH = -2
OUT_OF_SIGHT = -3


@dataclass(frozen=True)
class Basins:
    """Labels of the core, and what was left out of them."""

    labels: NDArray[np.uint64]
    objects: int  # whose peaks lie in the core, as all that follow
    too_faint: int
    too_small: int
    voxels_out_of_reach: int


def steepest_ascent(
    response: NDArray[np.float32],
    origin: Corner,
    volume: tuple[Corner, Corner],
    core: tuple[Corner, Corner],
    threshold: float,
    contrast: float,
    reach: Corner,
    minimum_volume: int,
) -> Basins | None:
    """Label the voxels of `core`, or answer None if the window is too small for that.

    `response` is the window, its first voxel at `origin`; `volume` and `core` are (start, stop). A window of
    the core grown by 2·reach + 1, clipped to the volume, is never too small.
    """
    heights = np.ascontiguousarray(response.T)
    first = np.array(origin, dtype=np.int64)
    inner = np.array(core, dtype=np.int64) - first
    far = np.array(reach, dtype=np.int64)
    pieces = 4 * get_num_threads()

    links = _link(heights, np.float32(threshold), _at_border(response.shape, first, volume))
    roots, owners, lost = _follow(links, inner, far, pieces)
    if lost[:, 0].any():
        return None
    peaks = np.flatnonzero(owners)
    bright = heights.reshape(-1)[peaks] >= np.float32(contrast)
    volumes = _grow(heights, links, peaks, bright, far, minimum_volume)
    if (volumes == OUT_OF_SIGHT).any():
        return None
    kept = bright & (volumes >= minimum_volume)
    places = _places(peaks, np.array(response.shape, dtype=np.int64))
    own = ((places >= inner[0]) & (places < inner[1])).all(axis=1)
    return Basins(
        labels=_paint(roots, peaks, _names(places + first, kept, volume), pieces).T,
        objects=int((own & kept).sum()),
        too_faint=int((own & ~bright).sum()),
        too_small=int((own & bright & ~kept).sum()),
        voxels_out_of_reach=int(lost[:, 1].sum()),
    )


def _at_border(
    shape: tuple[int, ...], first: NDArray[np.int64], volume: tuple[Corner, Corner]
) -> NDArray[np.bool_]:
    """On which sides (low, high; x, y, z) a window ends where the volume does."""
    size = np.array(shape, dtype=np.int64)
    if size.prod() >= 2**31:
        raise ValueError(f"a window of {shape} voxels has more than 2³¹")
    return np.stack([first <= np.array(volume[0]), first + size >= np.array(volume[1])])


def _names(
    places: NDArray[np.int64], kept: NDArray[np.bool_], volume: tuple[Corner, Corner]
) -> NDArray[np.uint64]:
    """The names of the peaks at these places, 0 of those that are not kept."""
    start, stop = np.array(volume, dtype=np.int64)
    names = np.zeros(len(places), dtype=np.uint64)
    names[kept] = voxel_ids(places[kept] - start, (stop - start).tolist())
    return names


def _places(indexes: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    plane = size[0] * size[1]
    return np.stack([indexes % size[0], indexes % plane // size[0], indexes // plane], axis=1)


@compiled_parallel
def _link(heights: Any, threshold: Any, at_border: Any) -> Any:
    depth, height, width = heights.shape
    links = np.empty(heights.shape, np.int8)
    for z in prange(depth):
        z_known = (z > 0 or at_border[0, 2]) and (z < depth - 1 or at_border[1, 2])
        for y in range(height):
            y_known = (y > 0 or at_border[0, 1]) and (y < height - 1 or at_border[1, 1])
            for x in range(width):
                if not heights[z, y, x] > threshold:
                    links[z, y, x] = BACKGROUND
                    continue
                x_known = (x > 0 or at_border[0, 0]) and (x < width - 1 or at_border[1, 0])
                if not (x_known and y_known and z_known):
                    links[z, y, x] = UNKNOWN
                elif 0 < x < width - 1 and 0 < y < height - 1 and 0 < z < depth - 1:
                    links[z, y, x] = _highest_inside(heights, z, y, x)
                else:
                    links[z, y, x] = _highest_at_border(heights, z, y, x)
    return links


@compiled
def _highest_inside(heights: Any, z: int, y: int, x: int) -> Any:
    top = np.float32(-np.inf)  # not a neighbour's value, which may be NaN
    best = 0
    direction = 0
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                value = heights[z + dz, y + dy, x + dx]
                # The volume's linear index grows along this loop, so the last of equals wins.
                if value >= top:
                    top = value
                    best = direction
                direction += 1
    return np.int8(best)


@compiled
def _highest_at_border(heights: Any, z: int, y: int, x: int) -> Any:
    depth, height, width = heights.shape
    top = heights[z, y, x]
    best = PEAK
    for dz in range(-1, 2):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if not (0 <= z + dz < depth and 0 <= y + dy < height and 0 <= x + dx < width):
                    continue
                value = heights[z + dz, y + dy, x + dx]
                direction = 9 * (dz + 1) + 3 * (dy + 1) + dx + 1
                if value > top or (value == top and direction > best):
                    top = value
                    best = direction
    return np.int8(best)


@compiled_parallel
def _follow(links: Any, core: Any, reach: Any, pieces: int) -> Any:
    depth, height, width = core[1, 2] - core[0, 2], core[1, 1] - core[0, 1], core[1, 0] - core[0, 0]
    roots = np.empty((depth, height, width), np.int32)
    owners = np.zeros(links.size, np.bool_)  # peaks that voxels of the core belong to
    lost = np.zeros((pieces, 2), np.int64)  # out of sight, out of reach
    for piece in prange(pieces):
        for z in range(piece * depth // pieces, (piece + 1) * depth // pieces):
            for y in range(height):
                for x in range(width):
                    at_z, at_y, at_x = z + core[0, 2], y + core[0, 1], x + core[0, 0]
                    if links[at_z, at_y, at_x] == BACKGROUND:
                        roots[z, y, x] = NO_PEAK
                        continue
                    root = _root(links, at_z, at_y, at_x, reach)
                    roots[z, y, x] = root
                    if root == OUT_OF_SIGHT:
                        lost[piece, 0] += 1
                    elif root == OUT_OF_REACH:
                        lost[piece, 1] += 1
                    else:
                        owners[root] = True
    return roots, owners, lost


@compiled
def _root(links: Any, z: Any, y: Any, x: Any, reach: Any) -> Any:
    """The linear index of the peak that a path ends at; or why it ends at none."""
    low_x, high_x, low_y, high_y, low_z, high_z = x, x, y, y, z, z
    while True:
        # A path that spans more than twice the reach cannot be within reach of any peak, wherever it ends.
        if high_x - low_x > 2 * reach[0] or high_y - low_y > 2 * reach[1] or high_z - low_z > 2 * reach[2]:
            return np.int32(OUT_OF_REACH)
        link = np.int64(links[z, y, x])
        if link == UNKNOWN:
            return np.int32(OUT_OF_SIGHT)
        if link == PEAK:
            break
        z += link // 9 - 1
        y += link // 3 % 3 - 1
        x += link % 3 - 1
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
        low_z, high_z = min(low_z, z), max(high_z, z)
    if (
        max(high_x - x, x - low_x) > reach[0]
        or max(high_y - y, y - low_y) > reach[1]
        or max(high_z - z, z - low_z) > reach[2]
    ):
        return np.int32(OUT_OF_REACH)
    return np.int32((z * links.shape[1] + y) * links.shape[2] + x)


@compiled
def _grow(heights: Any, links: Any, peaks: Any, wanted: Any, reach: Any, enough: int) -> Any:
    """The volume of each wanted peak's object, counted up to `enough`, or OUT_OF_SIGHT."""
    depth, height, width = links.shape
    volumes = np.zeros(len(peaks), np.int64)
    stack = np.empty(max(enough, 1), np.int64)
    for n in range(len(peaks)):
        if not wanted[n]:
            continue
        stack[0] = peaks[n]
        count, done, hidden = 1, 0, False
        while done < count and count < enough:
            voxel = stack[done]
            done += 1
            z, y, x = voxel // (height * width), voxel // width % height, voxel % width
            for direction in range(27):
                at_z, at_y, at_x = z + direction // 9 - 1, y + direction // 3 % 3 - 1, x + direction % 3 - 1
                if not (0 <= at_z < depth and 0 <= at_y < height and 0 <= at_x < width):
                    continue
                link = links[at_z, at_y, at_x]
                if link == PEAK or not _within(at_z, at_y, at_x, peaks[n], height, width, reach):
                    continue
                if link == UNKNOWN:
                    hidden = hidden or heights[at_z, at_y, at_x] <= heights[z, y, x]
                elif link == 26 - direction and count < enough:
                    stack[count] = (at_z * height + at_y) * width + at_x
                    count += 1
        volumes[n] = OUT_OF_SIGHT if hidden and count < enough else count
    return volumes


@compiled
def _within(z: int, y: int, x: int, peak: int, height: int, width: int, reach: Any) -> Any:
    return (
        abs(z - peak // (height * width)) <= reach[2]
        and abs(y - peak // width % height) <= reach[1]
        and abs(x - peak % width) <= reach[0]
    )


@compiled_parallel
def _paint(roots: Any, peaks: Any, names: Any, pieces: int) -> Any:
    labels = np.empty(roots.shape, np.uint64)
    depth = len(roots)
    for piece in prange(pieces):
        for z in range(piece * depth // pieces, (piece + 1) * depth // pieces):
            before = np.int32(NO_PEAK)
            name = np.uint64(0)
            for y in range(roots.shape[1]):
                for x in range(roots.shape[2]):
                    root = roots[z, y, x]
                    if root < 0:
                        labels[z, y, x] = 0
                        continue
                    if root != before:
                        before = root
                        name = names[np.searchsorted(peaks, np.int64(root))]
                    labels[z, y, x] = name
    return labels
