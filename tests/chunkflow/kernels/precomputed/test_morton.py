"""Compressed Morton codes: against the bits written out, and as blocks of space."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.kernels.precomputed.morton import (
    code_bits,
    code_block,
    id_voxels,
    morton_decode,
    morton_encode,
    voxel_ids,
)

sizes = st.tuples(*[st.integers(1, 40)] * 3)


def by_hand(voxel: tuple[int, ...], size: tuple[int, ...]) -> int:
    code, place = 0, 0
    for i in range(64):
        for axis in range(3):
            if 2**i < size[axis]:
                code |= (voxel[axis] >> i & 1) << place
                place += 1
    return code


@settings(deadline=None)
@given(sizes, st.data())
def test_codes_are_the_formats(size: tuple[int, int, int], data: st.DataObject) -> None:
    voxel = data.draw(st.tuples(*[st.integers(0, extent - 1) for extent in size]))
    assert int(morton_encode(np.array([voxel]), size)[0]) == by_hand(voxel, size)


@settings(deadline=None)
@given(sizes)
def test_every_voxel_has_an_id_of_its_own(size: tuple[int, int, int]) -> None:
    voxels = np.argwhere(np.ones(size, dtype=bool))
    ids = voxel_ids(voxels, size)
    assert len(np.unique(ids)) == len(voxels)
    assert ids.min() == 1
    assert int(ids.max()) <= 2 ** code_bits(size)
    assert (id_voxels(ids, size) == voxels).all()


@settings(deadline=None)
@given(sizes, st.data())
def test_an_aligned_range_of_codes_is_a_block(size: tuple[int, int, int], data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, code_bits(size)))
    first = data.draw(st.integers(0, 2 ** (code_bits(size) - bits) - 1)) << bits
    start, stop = code_block(first, bits, size)
    voxels = np.argwhere(np.ones(size, dtype=bool))
    codes = morton_encode(voxels, size)
    inside = ((voxels >= start) & (voxels < stop)).all(axis=1)
    assert (inside == ((codes >= first) & (codes < first + 2**bits))).all()


def test_a_petavoxel_volume_takes_51_bits() -> None:
    size = (131072, 131072, 131072)
    assert code_bits(size) == 51
    corner = np.array([[131071, 131071, 131071]])
    assert int(morton_encode(corner, size)[0]) == 2**51 - 1
    assert (morton_decode(morton_encode(corner, size), size) == corner).all()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        morton_encode(np.array([[0, 0, 4]]), (4, 4, 4))
    with pytest.raises(ValueError, match="background"):
        id_voxels(np.array([0], dtype=np.uint64), (4, 4, 4))
    with pytest.raises(ValueError, match="aligned"):
        code_block(3, 1, (4, 4, 4))
    with pytest.raises(ValueError, match="63 bits"):
        voxel_ids(np.array([[0, 0, 0]]), (2**22, 2**22, 2**22))
