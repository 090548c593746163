"""A small scene with every kind of layer, written by CloudVolume and Neuroglancer's own writer."""

from __future__ import annotations

import json
from pathlib import Path

import neuroglancer
import numpy as np
import zmesh
from cloudvolume import CloudVolume
from neuroglancer.coordinate_space import CoordinateSpace
from neuroglancer.write_annotations import AnnotationWriter

SIZE = (64, 56, 48)
OFFSET = (10, 20, 30)
VOXEL = (400, 400, 800)
CENTRES = ((16, 16, 12), (44, 20, 24), (24, 40, 36), (46, 42, 14))
RADIUS = 8.0


def labels() -> np.ndarray:
    """Four balls with ids beyond 32 bits."""
    grid = np.indices(SIZE)
    array = np.zeros(SIZE, dtype=np.uint64, order="F")
    for number, centre in enumerate(CENTRES, start=1):
        distance = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
        array[distance < RADIUS**2] = number * 10**10
    return array


def image() -> np.ndarray:
    """A gradient along x, bright where the balls are, with noise."""
    random = np.random.default_rng(1)
    ground = 200 + 4 * np.indices(SIZE)[0] + random.integers(0, 40, SIZE)
    return np.asfortranarray((ground + 900 * (labels() > 0)).astype(np.uint16))


def write_volume(folder: Path, array: np.ndarray, kind: str, compress: str = "") -> str:
    url = f"file://{folder}"
    info = CloudVolume.create_new_info(
        num_channels=1 if array.ndim == 3 else array.shape[3],
        layer_type=kind,
        data_type=str(array.dtype),
        encoding="raw",
        resolution=VOXEL,
        voxel_offset=OFFSET,
        volume_size=array.shape[:3],
        chunk_size=(32, 32, 32),
    )
    volume = CloudVolume(url, info=info, compress=compress, progress=False)
    volume.commit_info()
    volume[:, :, :] = array
    return url


def write_meshes(folder: Path, array: np.ndarray) -> str:
    """One fragment and one manifest for each object, uncompressed, in the legacy format."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps({"@type": "neuroglancer_legacy_mesh"}))
    mesher = zmesh.Mesher(VOXEL)
    mesher.mesh(np.pad(array, 1))
    for label in mesher.ids():
        mesh = mesher.get(label, normals=False)
        origin = (np.asarray(OFFSET) - 0.5) * VOXEL
        vertices = (mesh.vertices + origin - np.asarray(VOXEL) * 0.5).astype("<f4")
        content = np.uint32(len(vertices)).tobytes() + vertices.tobytes() + mesh.faces.astype("<u4").tobytes()
        (folder / f"{label}:0:all").write_bytes(content)
        (folder / f"{label}:0").write_text(json.dumps({"fragments": [f"{label}:0:all"]}))
    return f"file://{folder}"


def write_points(folder: Path) -> str:
    """One point in the middle of each ball, related to its segment."""
    space = CoordinateSpace(names=["x", "y", "z"], units=["nm"] * 3, scales=VOXEL)
    writer = AnnotationWriter(
        coordinate_space=space,
        relationships=["segment"],
        annotation_type="point",
        properties=[neuroglancer.AnnotationPropertySpec(id="volume_um3", type="float32")],
    )
    for number, centre in enumerate(CENTRES, start=1):
        point = [c + o + 0.5 for c, o in zip(centre, OFFSET, strict=True)]
        writer.add_point(point, id=number, segment=[number * 10**10], volume_um3=float(number))
    writer.write(folder)
    return f"file://{folder}"


def write_scene(folder: Path) -> dict[str, str]:
    """All layers; their names tell what they are."""
    array = labels()
    return {
        "image": write_volume(folder / "image", image(), "image"),
        "nuclei": write_volume(folder / "nuclei", array, "segmentation"),
        "meshes": write_meshes(folder / "meshes", array),
        "cells": write_points(folder / "cells"),
    }
