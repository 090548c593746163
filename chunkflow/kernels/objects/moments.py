"""What each object of a chunk sums up to: exact integers, so that parts of an object add up to the whole.

1. The ids are found and numbered, a run of equal voxels along x at a time.
2. Each object's voxels, their coordinates and its box are summed, a run at a time.
3. Each image is summed to the fourth power. Squares to fourth powers are kept as two words, the low 32 bits
   and the rest: two saturated voxels of 16 bits overflow 64 bits with their fourth powers.
4. Which objects go on across which face of the box is read from the voxels one beyond it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Columns = dict[str, NDArray[Any]]

STEPS = 65535  # a float image is measured as integers from 0 to this
WORD = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)

SHAPE_COLUMNS = ("volume", "sum_x", "sum_y", "sum_z")
LOW_COLUMNS = ("min_x", "min_y", "min_z")
HIGH_COLUMNS = ("max_x", "max_y", "max_z")
POWER_COLUMNS = ("s1", "s2_low", "s2_high", "s3_low", "s3_high", "s4_low", "s4_high")
VALUE_COLUMNS = (*POWER_COLUMNS, "min", "max")
LONGEST_ROW = 65536  # so many third powers of 16 bits fit 64 bits


def sum_objects(
    labels: NDArray[Any],
    images: Sequence[NDArray[Any]],
    origin: Sequence[int],
    around: Sequence[Sequence[int]],
) -> Columns:
    """One row an id of `labels`, sorted by id; 0 is background.

    `labels` holds the box and `around` (0 or 1 voxels below, above, along x, y, z) it; each image (unsigned
    integers of at most 16 bits) holds the box alone. `origin` is the place of the box's first voxel, counted
    from where coordinates are to count: never negative. Columns of image i begin with `i:`; bit 2·axis of
    `faces` says that the object goes on below the box, the next bit that it goes on above.
    """
    below, above = around
    box = tuple(slice(low, size - high) for low, high, size in zip(below, above, labels.shape, strict=True))
    padded = np.ascontiguousarray(labels.T)
    core = padded[box[::-1]]
    if core.shape[2] > LONGEST_ROW:
        raise ValueError(f"a box of {core.shape[2]} voxels along x is longer than {LONGEST_ROW}")
    keys, numbers, ids = number_ids(core)
    shape, low, high = _sum_shape(core, keys, numbers, len(ids), np.array(origin, dtype=np.int64))
    faces = _find_faces(padded, keys, numbers, len(ids), np.array([below, above], dtype=np.int64))
    order = np.argsort(ids)
    columns: Columns = {"id": ids[order], "faces": faces[order]}
    for names, values in ((SHAPE_COLUMNS, shape), (LOW_COLUMNS, low), (HIGH_COLUMNS, high)):
        columns |= {name: values[order, i] for i, name in enumerate(names)}
    for number, image in enumerate(images):
        powers = _sum_values(core, _planes(image, core.shape), keys, numbers, len(ids))
        columns |= {f"{number}:{name}": powers[order, i] for i, name in enumerate(VALUE_COLUMNS)}
    return carry_words(columns)


def largest_values(labels: NDArray[Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest of `values` within each object of `labels`, in the order of the rows of `sum_objects`."""
    planes = np.ascontiguousarray(labels.T)
    keys, numbers, ids = number_ids(planes)
    largest = _find_largest(planes, np.ascontiguousarray(values.T), keys, numbers, len(ids))
    return np.asarray(largest[np.argsort(ids)])


def merge_sums(columns: Columns) -> Columns:
    """Rows sorted by id, several of an id next to each other: one row an id. Exact, in whatever order."""
    ids = columns["id"]
    if len(ids) == 0:
        return dict(columns)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    merged = {name: _reduction(name).reduceat(values, starts) for name, values in columns.items()}
    merged["id"] = ids[starts]
    return carry_words(merged)


def quantise(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint16]:
    """A float image in 65,536 steps from `low` to `high`; voxels beyond become the first or last step."""
    step = float_step(low, high)
    steps = np.floor((image.astype(np.float64) - low) / step + 0.5)
    if np.isnan(steps).any():
        raise ValueError(f"{int(np.isnan(image).sum())} voxels of the image are not a number")
    return np.clip(steps, 0, STEPS).astype(np.uint16)


def float_step(low: float, high: float) -> float:
    """The size of one step between the bounds of a float image; 1 for a constant one."""
    return (high - low) / STEPS if high > low else 1.0


def _planes(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    planes = np.ascontiguousarray(image.T)
    if planes.shape != shape or planes.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"an image of {planes.dtype} of shape {image.shape} cannot be summed over {shape[::-1]}"
        )
    return planes


def _reduction(name: str) -> np.ufunc:
    kind = name.rsplit(":")[-1]
    if kind.startswith("min"):
        return np.minimum
    if kind.startswith("max"):
        return np.maximum
    return np.bitwise_or if kind == "faces" else np.add


def carry_words(columns: Columns) -> Columns:
    """Low words brought below 2³² again, so that equal sums are equal words."""
    for name in [name for name in columns if name.endswith("_low")]:
        high = name[: -len("low")] + "high"
        columns[high] = columns[high] + (columns[name] >> SHIFT)
        columns[name] = columns[name] & WORD
    return columns


@compiled
def find_slot(keys: Any, label: Any) -> Any:
    """Where a label is in the table, or the empty place for it."""
    mask = len(keys) - 1
    place = np.int64((label * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while keys[place] != 0 and keys[place] != label:
        place = (place + 1) & mask
    return place


@compiled
def number_ids(labels: Any) -> Any:
    """A table of the ids' numbers, in the order in which they are met, and the ids."""
    keys = np.zeros(1024, np.uint64)
    numbers = np.zeros(1024, np.int64)
    ids = np.empty(512, np.uint64)
    found = 0
    for z in range(labels.shape[0]):
        before = np.uint64(0)
        for y in range(labels.shape[1]):
            for x in range(labels.shape[2]):
                label = np.uint64(labels[z, y, x])
                if label == before:
                    continue
                before = label
                if label == 0:
                    continue
                place = find_slot(keys, label)
                if keys[place] == label:
                    continue
                keys[place] = label
                numbers[place] = found
                ids[found] = label
                found += 1
                if found == len(ids):
                    ids = np.concatenate((ids, ids))
                    keys = np.zeros(2 * len(keys), np.uint64)
                    numbers = np.zeros(len(keys), np.int64)
                    for n in range(found):
                        again = find_slot(keys, ids[n])
                        keys[again] = ids[n]
                        numbers[again] = n
    return keys, numbers, ids[:found].copy()


@compiled
def _sum_shape(labels: Any, keys: Any, numbers: Any, count: int, origin: Any) -> Any:
    sums = np.zeros((count, 4), np.uint64)
    low = np.full((count, 3), np.int64(2**62))
    high = np.full((count, 3), np.int64(-1))
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            stop = 0
            while stop < width:
                start, label = stop, labels[z, y, stop]
                while stop < width and labels[z, y, stop] == label:
                    stop += 1
                if label == 0:
                    continue
                n = numbers[find_slot(keys, np.uint64(label))]
                at_x, at_y, at_z = start + origin[0], y + origin[1], z + origin[2]
                run = stop - start
                sums[n, 0] += np.uint64(run)
                sums[n, 1] += np.uint64(run * at_x + run * (run - 1) // 2)
                sums[n, 2] += np.uint64(run * at_y)
                sums[n, 3] += np.uint64(run * at_z)
                low[n, 0], high[n, 0] = min(low[n, 0], at_x), max(high[n, 0], at_x + run)
                low[n, 1], high[n, 1] = min(low[n, 1], at_y), max(high[n, 1], at_y + 1)
                low[n, 2], high[n, 2] = min(low[n, 2], at_z), max(high[n, 2], at_z + 1)
    return sums, low, high


@compiled
def _sum_values(labels: Any, image: Any, keys: Any, numbers: Any, count: int) -> Any:
    sums = np.zeros((count, 9), np.uint64)
    sums[:, 7] = np.uint64(STEPS)
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            stop = 0
            while stop < width:
                start, label = stop, labels[z, y, stop]
                while stop < width and labels[z, y, stop] == label:
                    stop += 1
                if label != 0:
                    _add_run(image[z, y, start:stop], sums[numbers[find_slot(keys, np.uint64(label))]])
    return sums


@compiled
def _add_run(values: Any, sums: Any) -> None:
    s1 = s2 = s3 = low = high = np.uint64(0)
    least, most = sums[7], sums[8]
    for x in range(len(values)):
        value = np.uint64(values[x])
        square = value * value
        fourth = square * square
        s1 += value
        s2 += square
        s3 += square * value
        low += fourth & WORD
        high += fourth >> SHIFT
        least, most = min(least, value), max(most, value)
    sums[0] += s1
    sums[1] += s2 & WORD
    sums[2] += s2 >> SHIFT
    sums[3] += s3 & WORD
    sums[4] += s3 >> SHIFT
    sums[5] += low
    sums[6] += high
    sums[7], sums[8] = least, most


@compiled
def _find_largest(labels: Any, values: Any, keys: Any, numbers: Any, count: int) -> Any:
    largest = np.full(count, np.float32(-np.inf))
    depth, height, width = labels.shape
    for z in range(depth):
        for y in range(height):
            stop = 0
            while stop < width:
                start, label = stop, labels[z, y, stop]
                while stop < width and labels[z, y, stop] == label:
                    stop += 1
                if label != 0:
                    n = numbers[find_slot(keys, np.uint64(label))]
                    for x in range(start, stop):
                        largest[n] = max(largest[n], values[z, y, x])
    return largest


@compiled
def _find_faces(padded: Any, keys: Any, numbers: Any, count: int, around: Any) -> Any:
    """For each voxel beyond the box, the objects within that it is a part of go on in its directions."""
    faces = np.zeros(count, np.uint8)
    depth, height, width = padded.shape
    first = around[0]
    last = np.array([width, height, depth]) - around[1]
    for z in range(depth):
        z_out = (16 if z < first[2] else 0) | (32 if z >= last[2] else 0)
        for y in range(height):
            y_out = z_out | (4 if y < first[1] else 0) | (8 if y >= last[1] else 0)
            # Of a row that lies within, only the ends are beyond the box.
            step = 1 if y_out else max(1, width - 1)
            for x in range(0, width, step):
                out = y_out | (1 if x < first[0] else 0) | (2 if x >= last[0] else 0)
                label = padded[z, y, x]
                if label != 0 and out != 0 and _touches(padded, z, y, x, label, first, last):
                    faces[numbers[find_slot(keys, np.uint64(label))]] |= np.uint8(out)
    return faces


@compiled
def _touches(padded: Any, z: int, y: int, x: int, label: Any, first: Any, last: Any) -> Any:
    for at_z in range(max(z - 1, first[2]), min(z + 2, last[2])):
        for at_y in range(max(y - 1, first[1]), min(y + 2, last[1])):
            for at_x in range(max(x - 1, first[0]), min(x + 2, last[0])):
                if padded[at_z, at_y, at_x] == label:
                    return True
    return False
