"""Meshing real labels, against igneous: time, triangles, and how far the first vertices lie from the surface.

Both run on two processes with blocks of 256³ and write uncompressed files; neither figure has the start of
processes and imports. Distances are from every 200th vertex of marching cubes to the surface of its object.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure
from benchmarks.outputs.peers import VOXEL_SIZE, igneous_seconds, real_labels, seconds_on_ray
from benchmarks.outputs.surface import distances
from chunkflow.geometry import Box, Grid, vec
from chunkflow.kernels.surfaces.marching import surfaces
from chunkflow.kernels.surfaces.simplify import simplify

STRIDE = 200
Surface = tuple[np.ndarray, np.ndarray]


def run() -> list[Figure]:
    with real_labels() as found:
        if found is None:
            print("mesh: the labels are not here; nothing measured.")
            return []
        folder, array = found
        # Compiled once, on disk, before the clock starts.
        simplify(np.eye(3), np.array([[0, 1, 2]]), np.zeros(3, bool), 1.0)
        layers = {"labels": str(folder / "labels"), "meshes": str(folder / "meshes")}
        ours = seconds_on_ray(
            folder, layers, [{"mesh": {"labels": "labels", "meshes": "meshes", "format": "legacy"}}]
        )
        peer = igneous_seconds("mesh", folder / "labels")
        return [
            Figure("mesh 512³ labels", ours, "s", peer, "igneous", "lower", 2.5),
            *compare(first_vertices(array), read(folder / "meshes"), read(folder / "labels" / "mesh")),
        ]


def compare(first: dict[int, np.ndarray], ours: dict[int, Surface], peer: dict[int, Surface]) -> list[Figure]:
    counts = [float(sum(len(faces) for _, faces in found.values())) for found in (ours, peer)]
    sampled = [name for name, places in first.items() if len(places)]
    near, far = ([distances(first[name], *found[name]) for name in sampled] for found in (ours, peer))
    a, b = np.concatenate(near), np.concatenate(far)
    return [
        Figure("mesh: triangles", counts[0], "", counts[1], "igneous", "lower", 1.0),
        Figure("mesh: mean distance", float(a.mean()), "nm", float(b.mean()), "igneous", "lower", 1.0),
        Figure(
            "mesh: 99th percentile of the distance",
            float(np.percentile(a, 99)),
            "nm",
            float(np.percentile(b, 99)),
            "igneous",
            "lower",
            1.0,
        ),
        Figure("mesh: largest distance", float(a.max()), "nm", float(b.max()), "igneous", "lower"),
    ]


def first_vertices(array: np.ndarray) -> dict[int, np.ndarray]:
    """Every so many of the vertices of marching cubes, of each object; never the first, which is a corner."""
    found: dict[int, list[np.ndarray]] = defaultdict(list)
    grid = Grid.lattice(Box.of_size(array.shape), (256, 256, 256))
    for index in range(len(grid)):
        box = grid.box(index)
        window = Box(box.start, vec(n + 1 for n in box.stop)).clip(grid.bounds)
        for name, vertices, _ in surfaces(np.asfortranarray(array[window.slices((0, 0, 0))])):
            found[name].append((vertices[STRIDE // 2 :: STRIDE] + box.start + 0.5) * VOXEL_SIZE)
    return {name: np.concatenate(places) for name, places in found.items()}


def read(folder: Path) -> dict[int, Surface]:
    """The fragments of each object in one."""
    points: dict[int, list[np.ndarray]] = defaultdict(list)
    faces: dict[int, list[np.ndarray]] = defaultdict(list)
    for file in folder.iterdir():
        name, *rest = file.name.removesuffix(".gz").split(":")
        if len(rest) == 2:
            data = file.read_bytes()
            data = gzip.decompress(data) if file.suffix == ".gz" else data
            count = int(np.frombuffer(data, "<u4", 1)[0])
            before = sum(map(len, points[int(name)]))
            points[int(name)].append(np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3))
            faces[int(name)].append(np.frombuffer(data, "<u4", -1, 4 + 12 * count).reshape(-1, 3) + before)
    return {name: (np.concatenate(points[name]), np.concatenate(faces[name])) for name in points}


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
