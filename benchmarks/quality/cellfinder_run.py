"""cellfinder's detection of cells in one volume, in an environment that has cellfinder.

python cellfinder_run.py IMAGE.npy DIAMETER_UM FOUND.npy: an image by x, y, z; the places found, in voxels.
"""

import sys

import numpy as np
from cellfinder.core.detect.detect import main

VOXEL_UM = (6.0, 1.62, 1.62)


def detect(image: str, diameter: str, found: str) -> None:
    planes = np.ascontiguousarray(np.load(image).T)
    size = float(diameter)
    cells = main(planes, voxel_sizes=VOXEL_UM, soma_diameter=size, n_free_cpus=0)
    np.save(found, np.array([(cell.x, cell.y, cell.z) for cell in cells], float).reshape(-1, 3))


if __name__ == "__main__":
    detect(*sys.argv[1:])
