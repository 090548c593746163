"""Marching cubes: the surface of each label of a block, in voxels."""

from collections.abc import Iterator

import fastremap
import numpy as np
import zmesh
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def surfaces(labels: NDArray[np.unsignedinteger]) -> Iterator[tuple[int, Floats, Ints]]:
    """Id, vertices and triangles of every label but 0, in the order of the ids.

    Vertices count from the centre of the array's first voxel, and lie halfway between two centres, so they
    are exact. A surface is open where its object reaches the array's border.
    """
    numbered, names = fastremap.renumber(labels, preserve_zero=True)
    mesher = zmesh.Mesher((1, 1, 1))
    mesher.mesh(numbered, close=False)
    present = set(mesher.ids())
    for name, number in sorted((int(name), int(number)) for name, number in names.items()):
        if number in present:
            mesh = mesher.get(number, normals=False, reduction_factor=0)
            mesher.erase(number)
            yield name, mesh.vertices.astype(np.float64), mesh.faces.astype(np.int32)
