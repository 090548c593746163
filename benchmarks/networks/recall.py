"""How many of the cells are among the likeliest places, as many as `segment` has candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.feature import match_template

from chunkflow.kernels.images.peaks import find_peaks
from chunkflow.kernels.scoring.scores import ranked_matches
from chunkflow.people.learning.networks.cells import AskedPlaces
from testbed.detection import TOLERANCE_UM, VOXEL_NM, Points, Tissue, micrometres
from testbed.networks.trained import Prepared

REACH = (8, 8, 2)
"""Of a template from its middle, in voxels."""


def template(tissues: Sequence[Tissue]) -> NDArray[np.float32]:
    """The mean cell of volumes, each cell in units of its own spread."""
    cells = []
    for tissue in tissues:
        image, truth = tissue.load()
        for middle in np.rint(truth / (np.array(VOXEL_NM) / 1000)).astype(int):
            first, last = middle - REACH, middle + REACH + np.array(1)
            if (first >= 0).all() and (last <= image.shape).all():
                cell = image[tuple(map(slice, first, last))].astype(np.float32)
                cells.append((cell - cell.mean()) / max(float(cell.std()), 1.0))
    return np.asarray(np.mean(cells, axis=0), np.float32)


def matched_by_template(volume: Prepared, others: Sequence[Prepared]) -> int:
    """Cells among the places that are most like the mean cell of other brains."""
    image, truth = volume.tissue.load()
    alike = match_template(
        image.astype(np.float32), template([other.tissue for other in others]), pad_input=True
    )
    places, heights = find_peaks(np.asfortranarray(alike, np.float32), [(0, size) for size in image.shape])
    best = np.argsort(-heights, kind="stable")[: len(volume.found.places)]
    return matched(micrometres(places[best]), truth)


def matched(places: Points, truth: Points) -> int:
    return int(ranked_matches(places, truth, TOLERANCE_UM).sum())


def matched_by_heatmap(volume: Prepared, asked: AskedPlaces) -> tuple[int, int, int]:
    """Cells among as many of the highest peaks, among all of them, and how many there are."""
    count = len(volume.found.places)
    return int(asked.is_cell[:count].sum()), int(asked.is_cell.sum()), len(asked.is_cell)
