"""Segmenting and measuring nuclei: the kernels against scipy and scikit-image, on the same cores.

Both filter by a difference of Gaussians, cut by watershed from the local maxima above a contrast, and measure
each object; the same objects must be found. They take turns, and the fastest round of each counts.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from benchmarks.figure import Figure
from chunkflow.kernels.images.gaussian import RATIO, TRUNCATE, blob_sigma, difference_of_gaussians
from chunkflow.kernels.objects.moments import sum_objects
from chunkflow.kernels.objects.statistics import centroids, value_statistics
from chunkflow.kernels.objects.watershed import steepest_ascent
from chunkflow.kernels.precomputed.morton import voxel_ids

SHAPE = (256, 256, 192)
CELLS = 1800
VOXEL_UM = (1.5, 1.5, 3.0)
DIAMETER_UM = 10.0
THRESHOLD, CONTRAST = 40.0, 80.0
REACH = (13, 13, 6)
ROUNDS = 3
UNIT = "Mvoxel/s"

Image = NDArray[np.uint16]
Peaks = set[int]


def tissue() -> Image:
    """Cells of about the diameter, on a slope, with noise."""
    random = np.random.default_rng(1)
    points = np.zeros(SHAPE, np.float32)
    np.add.at(
        points, tuple((random.random((CELLS, 3)) * SHAPE).astype(int).T), random.uniform(4e4, 9e4, CELLS)
    )
    image = ndimage.gaussian_filter(points, [DIAMETER_UM / 3 / size for size in VOXEL_UM])
    image += 300 + np.arange(SHAPE[0])[:, None, None] + random.normal(0, 20, SHAPE)
    return np.asfortranarray(image.clip(0, 65535).astype(np.uint16))


def by_chunkflow(image: Image) -> tuple[Peaks, dict[str, float]]:
    spent: dict[str, float] = {}
    whole = ((0, 0, 0), SHAPE)
    begin = time.perf_counter()
    response = difference_of_gaussians(image, blob_sigma(DIAMETER_UM, VOXEL_UM))
    begin = _lap(spent, "filter", begin)
    basins = steepest_ascent(response, (0, 0, 0), whole, whole, THRESHOLD, CONTRAST, REACH, 1)
    assert basins is not None
    begin = _lap(spent, "watershed", begin)
    columns = sum_objects(basins.labels, [image], (0, 0, 0), ((0, 0, 0), (0, 0, 0)))
    centroids(columns, (0, 0, 0))
    value_statistics(columns, 0)
    _lap(spent, "measure", begin)
    return set(columns["id"].tolist()), spent


def by_scikit_image(image: Image) -> tuple[Peaks, dict[str, float]]:
    spent: dict[str, float] = {}
    sigma = blob_sigma(DIAMETER_UM, VOXEL_UM)
    begin = time.perf_counter()
    values = image.astype(np.float32)
    response = ndimage.gaussian_filter(values, sigma, truncate=TRUNCATE)
    response -= ndimage.gaussian_filter(values, [RATIO * one for one in sigma], truncate=TRUNCATE)
    begin = _lap(spent, "filter", begin)
    peaks = peak_local_max(response, min_distance=1, threshold_abs=CONTRAST, exclude_border=False)
    markers = np.zeros(SHAPE, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-response, markers, mask=response > THRESHOLD)
    begin = _lap(spent, "watershed", begin)
    wanted = (
        "label",
        "area",
        "centroid",
        "bbox",
        "intensity_mean",
        "intensity_std",
        "intensity_min",
        "intensity_max",
    )
    regionprops_table(labels, image, properties=wanted)
    _lap(spent, "measure", begin)
    return set(voxel_ids(peaks, SHAPE).tolist()), spent


def run() -> list[Figure]:
    image = tissue()
    by_chunkflow(image)  # compiles, or loads what was compiled
    ours, theirs = [], []
    for _ in range(ROUNDS):
        found, spent = by_chunkflow(image)
        ours.append(spent)
        expected, spent = by_scikit_image(image)
        theirs.append(spent)
    if found != expected:
        raise AssertionError(f"{len(found ^ expected)} objects were found by one only")
    mine, peer = (min(rounds, key=lambda spent: sum(spent.values())) for rounds in (ours, theirs))
    name = "scipy + scikit-image"
    total = _rate(image, sum(mine.values())), _rate(image, sum(peer.values()))
    figures = [Figure(f"segment kernel, {len(found)} objects", total[0], UNIT, total[1], name, target=10)]
    return figures + [
        Figure(f"segment kernel: {step}", _rate(image, mine[step]), UNIT, _rate(image, peer[step]), name)
        for step in mine
    ]


def _rate(image: Image, seconds: float) -> float:
    return round(image.size / seconds / 1e6, 1)


def _lap(spent: dict[str, float], step: str, begin: float) -> float:
    now = time.perf_counter()
    spent[step] = now - begin
    return now


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
