"""Cells found on real light-sheet volumes, with the diameter given and nothing else."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, vec
from chunkflow.kernels.gaussian import blob_sigma, difference_of_gaussians
from chunkflow.kernels.morton import id_voxels
from chunkflow.kernels.threshold import Rule, decide_threshold, response_peaks
from chunkflow.task import Cell, Layout
from chunkflow.volume import LayerInfo
from tasks.segment import Segment

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
MICROMETRES = np.array([1.62, 1.62, 6.0])
VOLUMES = {"light_sheet_cfos_753": (12.0, 0.58), "light_sheet_microglia_6003": (14.0, 0.90)}
SCAN = (0.5, 0.71, 1.41, 2.0)

Points = NDArray[np.float64]


def volume_of(name: str) -> tuple[NDArray[np.uint16], Points]:
    path = DATA / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"real data are absent: {path}")
    with np.load(path) as file:
        image, truth = np.asfortranarray(file["image"]), file["truth"] > 0
    components, count = ndimage.label(truth, np.ones((3, 3, 3)))
    centres = np.array(ndimage.center_of_mass(truth, components, range(1, count + 1)))
    return image, centres * MICROMETRES


def f1_score(found: Points, truth: Points) -> float:
    """Pairs of a detection and a cell at most 10 µm apart, as many as there can be, one to one."""
    near = cKDTree(found).query_ball_point(truth, 10.0)
    rows = [row for row, columns in enumerate(near) for _ in columns]
    columns = [column for columns in near for column in columns]
    graph = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(truth), len(found)))
    pairs = int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
    return 2 * pairs / (len(found) + len(truth))


def layout_of(image: NDArray[Any]) -> Layout:
    box = Box.of_size(vec(image.shape))
    size = vec(1000 * MICROMETRES)
    info = LayerInfo(
        url="file:///here", kind="image", bounds=box, volume=box, voxel_size=size, dtype="uint16"
    )
    return Layout({"image": (info,)}, (64, 64, 64), (64, 64, 64))


def sample_of(task: Segment, image: NDArray[Any], layout: Layout) -> list[Chunk]:
    size = layout.main.voxel_size
    return [Chunk(image[box.slices((0, 0, 0))], box, size) for _, box in task.samples(layout)]


@pytest.mark.parametrize("name", VOLUMES)
def test_cells_are_found_with_the_diameter_alone(name: str) -> None:
    image, truth = volume_of(name)
    diameter, wanted = VOLUMES[name]
    layout, task = layout_of(image), Segment(image="image", labels="labels", diameter=diameter)
    values = task.prepare(layout, sample_of(task, image, layout))
    assert values is not None
    box = layout.main.volume
    cell = Cell(0, box, box, box, layout.main.voxel_size, layout, values)
    labels = task.map(cell, Chunk(image, box, layout.main.voxel_size)).array
    peaks = id_voxels(np.unique(labels[labels > 0]), image.shape) * MICROMETRES
    score = f1_score(peaks, truth)
    print(f"{name}: F1 {score:.3f} at threshold {values['threshold']:.1f}, {len(peaks)} of {len(truth)}")
    assert score >= wanted


@pytest.mark.parametrize("name", VOLUMES)
def test_no_constant_of_the_rule_fits_only_this_volume(name: str) -> None:
    """At 0.71 to 1.41 of its value F1 stays within a tenth of the best threshold; half to twice is shown."""
    image, truth = volume_of(name)
    diameter, _ = VOLUMES[name]
    response = difference_of_gaussians(image, blob_sigma(diameter, MICROMETRES.tolist()))
    places = np.argwhere((response == ndimage.maximum_filter(response, 3)) & (response > 0))
    heights = response[tuple(places.T)]

    def score(rule: Rule) -> float:
        threshold = decide_threshold(blocks, rule).threshold
        return f1_score(places[heights >= threshold] * MICROMETRES, truth)

    blocks = blocks_of(response, diameter)
    best = max(f1_score(places[heights >= at] * MICROMETRES, truth) for at in np.geomspace(200, 1000, 30))
    assert score(Rule()) >= 0.96 * best
    for field in fields(Rule):
        value = getattr(Rule(), field.name)
        scores = [score(replace(Rule(), **{field.name: type(value)(value * factor)})) for factor in SCAN]
        print(f"{name}: {field.name} at {SCAN}: " + ", ".join(f"{one:.3f}" for one in scores))
        assert min(scores[1:3]) >= 0.9 * best, field.name


def blocks_of(response: NDArray[np.float32], diameter: float) -> list[NDArray[np.float32]]:
    side = [round(10 * diameter / size) for size in MICROMETRES]
    counts = [max(1, round(n / s)) for n, s in zip(response.shape, side, strict=True)]
    edges = [
        [i * n // count for i in range(count + 1)] for n, count in zip(response.shape, counts, strict=True)
    ]
    return [
        response_peaks(response, (x, y, z))
        for x in zip(edges[0], edges[0][1:], strict=False)
        for y in zip(edges[1], edges[1][1:], strict=False)
        for z in zip(edges[2], edges[2][1:], strict=False)
    ]
