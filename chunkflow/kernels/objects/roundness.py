"""How round objects are, from exact sums of products of coordinates.

1. The products are summed a run of equal voxels along x at a time, in closed form; each sum is kept as two
   words, the low 32 bits and the rest, so that parts of an object add up to the whole.
2. The covariance of an object's coordinates follows in whole numbers of any size, each rounded once. A voxel
   is no point but a cuboid, so each variance has that of a voxel's extent in it.
3. Roundness compares the covariance's determinant with that of a ball of the same trace.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled
from chunkflow.kernels.objects.moments import SHIFT, WORD, Columns, carry_words, find_slot, number_ids

PRODUCTS = ("xx", "yy", "zz", "xy", "xz", "yz")


def sum_products(labels: NDArray[Any], origin: Sequence[int]) -> Columns:
    """The sums of products of coordinates, in the order of the rows of `sum_objects`.

    `origin` is the place of the first voxel of `labels`, counted from where coordinates are to count.
    """
    planes = np.ascontiguousarray(labels.T)
    keys, numbers, ids = number_ids(planes)
    sums = _sum_products(planes, keys, numbers, len(ids), np.array(origin, dtype=np.int64))
    order = np.argsort(ids)
    words = [f"{product}_{word}" for product in PRODUCTS for word in ("low", "high")]
    return carry_words({name: sums[order, i] for i, name in enumerate(words)})


def no_products() -> Columns:
    """The columns of `sum_products` without rows."""
    return {f"{product}_{word}": np.zeros(0, np.uint64) for product in PRODUCTS for word in ("low", "high")}


def roundness(columns: Columns, voxel_size: Sequence[float]) -> NDArray[np.float32]:
    """1 for a ball, near 0 for a rod or a sheet: 27 determinants of the covariance over its trace's cube."""
    n = columns["volume"].astype(object)
    size = dict(zip("xyz", voxel_size, strict=True))
    c = {}
    for product in PRODUCTS:
        a, b = product[0], product[1]
        high, low = (columns[f"{a}{b}_{word}"].astype(object) for word in ("high", "low"))
        both = columns[f"sum_{a}"].astype(object) * columns[f"sum_{b}"].astype(object)
        extent = n * n if a == b else 0 * n
        whole = (12 * (n * (high * 2**32 + low) - both) + extent) / (12 * n * n)
        c[product] = whole.astype(np.float64) * (size[a] * size[b])
    determinant = c["xx"] * (c["yy"] * c["zz"] - c["yz"] * c["yz"])
    determinant = determinant - c["xy"] * (c["xy"] * c["zz"] - c["yz"] * c["xz"])
    determinant = determinant + c["xz"] * (c["xy"] * c["yz"] - c["yy"] * c["xz"])
    trace = c["xx"] + c["yy"] + c["zz"]
    return np.asarray(27 * determinant / (trace * trace * trace), np.float32)


@compiled
def _sum_products(labels: Any, keys: Any, numbers: Any, count: int, origin: Any) -> Any:
    sums = np.zeros((count, 12), np.uint64)
    values = np.zeros(6, np.uint64)
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
                at_x, at_y, at_z, run = start + origin[0], y + origin[1], z + origin[2], stop - start
                along = run * at_x + run * (run - 1) // 2
                squares = run * at_x * at_x + at_x * run * (run - 1) + (run - 1) * run * (2 * run - 1) // 6
                values[0], values[1], values[2] = squares, run * at_y * at_y, run * at_z * at_z
                values[3], values[4], values[5] = along * at_y, along * at_z, run * at_y * at_z
                row = sums[numbers[find_slot(keys, np.uint64(label))]]
                for i in range(6):
                    row[2 * i] += values[i] & WORD
                    row[2 * i + 1] += values[i] >> SHIFT
    return sums
