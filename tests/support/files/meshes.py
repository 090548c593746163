"""Labels to mesh, and surfaces put together from fragments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.ndimage import gaussian_filter, label

from chunkflow.chunk import Chunk
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.task import Cell, Image, Labels, Out, Task
from tests.support.jobs import make_job, run_job

OFFSET = (5, -3, 7)
SIZE = (46, 41, 38)
VOXEL = (16, 16, 40)


def blobs(seed=1, count=9):
    """Smooth labels that touch one another, the background and the volume's border."""
    random = np.random.default_rng(seed)
    fields = [gaussian_filter(random.standard_normal(SIZE), 5) for _ in range(count)]
    return np.asfortranarray(np.argmax(fields, axis=0).astype(np.uint64) * 1000003)


def meshed(folder: Path, labels: str, chunk=(32, 32, 32), **parameters) -> Path:
    task = {"labels": "labels", "meshes": "meshes", "block": [16, 16, 16], "format": "legacy"}
    layers = {"labels": labels, "meshes": str(folder / "meshes")}
    job = make_job(folder, layers, [{"mesh": task | parameters}], chunk=list(chunk), storage=[32, 32, 32])
    assert run_job(job) == "complete"
    return folder / "meshes"


def surface_of(meshes: Path, name: int) -> tuple[np.ndarray, np.ndarray]:
    """An object's fragments put together, vertices of the same place made one."""
    corners = []
    for fragment in json.loads((meshes / f"{name}:0").read_bytes())["fragments"]:
        data = (meshes / fragment).read_bytes()
        count = int(np.frombuffer(data, "<u4", 1)[0])
        points = np.frombuffer(data, "<f4", 3 * count, 4).reshape(-1, 3)
        corners.append(points[np.frombuffer(data, "<u4", -1, 4 + 12 * count)])
    points, faces = np.unique(np.concatenate(corners), axis=0, return_inverse=True)
    return points.astype(np.float64), faces.reshape(-1, 3)


def open_edges(faces: np.ndarray) -> int:
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    sign = np.where(edges[:, 0] < edges[:, 1], 1, -1)
    pairs, index = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    return int(np.count_nonzero(np.bincount(index.ravel(), weights=sign, minlength=len(pairs))))


def enclosed(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[faces[:, k]] - points.mean(axis=0) for k in range(3))
    return abs(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


class Paint(Task):
    """Objects in one piece, named by the first of their voxels."""

    connected: ClassVar[bool] = True
    image: Image
    labels: Labels = Out()

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        names = pieces()
        return image.like(names[cell.box.slices(OFFSET)])


def pieces() -> np.ndarray:
    """A rod through all blocks, a mass that fills some, diagonal steps from block to block, dust."""
    mask = gaussian_filter(np.random.default_rng(3).standard_normal(SIZE), 1.5) > 0.16
    mask[20:22, 20:22, :] = True
    mask[:30, :12, :12] = True
    for i in range(30):
        mask[i : i + 2, i : i + 2, i] = True
    found, count = label(mask, np.ones((3, 3, 3)))
    names = np.zeros(count + 1, np.uint64)
    places = np.argwhere(found)
    numbers, first = np.unique(found[found > 0], return_index=True)
    names[numbers] = morton_encode(places[first].astype(np.uint64), SIZE) + np.uint64(1)
    return np.asfortranarray(names[found])
