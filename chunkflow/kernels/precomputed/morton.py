"""Ids as places: the precomputed format's compressed Morton code of a voxel, counted from the volume's first.

1. Bit i of x, then of y, then of z is taken, for i = 0, 1, 2 ...; an axis that needs no more is passed over.
2. An id is one more than its voxel's code, so that 0 stays background.
3. The low bits of a code span a block of space, so an aligned range of codes (hence of ids) is a box.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Ids = NDArray[np.uint64]
VoxelPlaces = NDArray[np.int64]
Corner = tuple[int, int, int]


def code_bits(size: Sequence[int]) -> int:
    """How many bits the codes of a volume of this size have."""
    return sum(_axis_bits(size))


def morton_encode(voxels: NDArray[np.integer[Any]], size: Sequence[int]) -> Ids:
    """Codes of the voxels (rows of x, y, z) of a volume of this size."""
    places = np.ascontiguousarray(voxels, dtype=np.int64).reshape(-1, 3)
    if len(places) and ((places < 0).any() or (places >= np.asarray(size)).any()):
        raise ValueError(f"a voxel lies outside of a volume of {tuple(size)} voxels")
    codes: Ids = _encode(places, _order(size))
    return codes


def morton_decode(codes: NDArray[np.uint64], size: Sequence[int]) -> VoxelPlaces:
    """The voxels (rows of x, y, z) that have these codes."""
    voxels: VoxelPlaces = _decode(np.ascontiguousarray(codes, dtype=np.uint64), _order(size))
    return voxels


def voxel_ids(voxels: NDArray[np.integer[Any]], size: Sequence[int]) -> Ids:
    """Ids of objects whose peaks are these voxels."""
    return morton_encode(voxels, size) + np.uint64(1)


def id_voxels(ids: NDArray[np.uint64], size: Sequence[int]) -> VoxelPlaces:
    """The peaks' voxels of the objects that have these ids."""
    if len(ids) and ids.min() == 0:
        raise ValueError("0 is background, not an id")
    return morton_decode(ids - np.uint64(1), size)


def code_block(first: int, bits: int, size: Sequence[int]) -> tuple[Corner, Corner]:
    """Start and stop, within the volume, of the block that the 2**bits codes from `first` cover."""
    if first % (1 << bits):
        raise ValueError(f"codes from {first} are not an aligned range of {bits} bits")
    last = first | ((1 << bits) - 1)
    low, high = (_decode(np.array([code], dtype=np.uint64), _order(size))[0] for code in (first, last))
    start = tuple(min(int(one), end) for one, end in zip(low, size, strict=True))
    stop = tuple(min(int(one) + 1, end) for one, end in zip(high, size, strict=True))
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])


def _axis_bits(size: Sequence[int]) -> list[int]:
    return [max(0, int(extent) - 1).bit_length() for extent in size]


def _order(size: Sequence[int]) -> NDArray[np.int64]:
    """The axis that each bit of a code belongs to, lowest bit first."""
    bits = _axis_bits(size)
    if sum(bits) > 63:
        raise ValueError(f"a volume of {tuple(size)} voxels needs more than 63 bits to name one")
    return np.array([axis for i in range(max(bits)) for axis in range(3) if i < bits[axis]], dtype=np.int64)


@compiled
def _encode(voxels: Any, order: Any) -> Any:
    codes = np.zeros(len(voxels), np.uint64)
    for n in range(len(voxels)):
        taken = np.zeros(3, np.int64)
        for bit in range(len(order)):
            axis = order[bit]
            codes[n] |= np.uint64((voxels[n, axis] >> taken[axis]) & 1) << np.uint64(bit)
            taken[axis] += 1
    return codes


@compiled
def _decode(codes: Any, order: Any) -> Any:
    voxels = np.zeros((len(codes), 3), np.int64)
    for n in range(len(codes)):
        taken = np.zeros(3, np.int64)
        for bit in range(len(order)):
            axis = order[bit]
            voxels[n, axis] |= np.int64((codes[n] >> np.uint64(bit)) & np.uint64(1)) << taken[axis]
            taken[axis] += 1
    return voxels
