"""Marching cubes: the surface of each label of a block, in voxels.

1. Count the sides of each label's voxels on its surface, which tell how large its mesh will be.
2. Mesh as many labels at a time as have few enough sides: what is held at once is bounded, however dense a
   block is. A label's surface does not depend on the others.
"""

from collections.abc import Iterator
from typing import Any

import fastremap
import numpy as np
import zmesh
from numpy.typing import NDArray

from chunkflow.kernels.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

SIDES_AT_ONCE = 1_500_000


def surfaces(labels: NDArray[np.unsignedinteger]) -> Iterator[tuple[int, Floats, Ints]]:
    """Id, vertices and triangles of every label but 0, in the order of the ids.

    Vertices count from the centre of the array's first voxel, and lie halfway between two centres, so they
    are exact. A surface is open where its object reaches the array's border.
    """
    numbered, numbers = fastremap.renumber(labels, preserve_zero=True)
    names = sorted((int(name), int(number)) for name, number in numbers.items() if name)
    if not names:
        return
    sides = _count_sides(np.asfortranarray(numbered).T, max(number for _, number in names))
    many = np.cumsum([sides[number] for _, number in names]) // SIDES_AT_ONCE
    for group in np.unique(many):
        chosen = [names[i] for i in np.flatnonzero(many == group)]
        yield from _meshes(numbered, chosen, len(names))


def _meshes(
    numbered: NDArray[np.unsignedinteger], chosen: list[tuple[int, int]], total: int
) -> Iterator[tuple[int, Floats, Ints]]:
    """The surfaces of the labels `chosen` (by name and number), in this order."""
    if len(chosen) < total:
        kept = np.zeros(total + 1, numbered.dtype)
        numbers = [number for _, number in chosen]
        kept[numbers] = numbers
        numbered = kept[numbered]
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(numbered, close=False)
    present = set(mesher.ids())
    for name, number in chosen:
        if number in present:
            mesh = mesher.get(number, normals=False, reduction_factor=0)
            mesher.erase(number)
            yield name, mesh.vertices.astype(np.float64), mesh.faces.astype(np.int32)


@compiled
def _count_sides(labels: Any, most: int) -> Any:
    """For each label how many sides of its voxels have another label beyond (labels in C order)."""
    sides = np.zeros(most + 1, np.int64)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                here = labels[z, y, x]
                if x + 1 < nx and labels[z, y, x + 1] != here:
                    sides[here] += 1
                    sides[labels[z, y, x + 1]] += 1
                if y + 1 < ny and labels[z, y + 1, x] != here:
                    sides[here] += 1
                    sides[labels[z, y + 1, x]] += 1
                if z + 1 < nz and labels[z + 1, y, x] != here:
                    sides[here] += 1
                    sides[labels[z + 1, y, x]] += 1
    return sides
