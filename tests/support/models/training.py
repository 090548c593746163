"""Synthetic tissue with marked cells, and recipes of small networks that learn from it in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from chunkflow.networks.training.recipe import NetworkRecipe
from tests.support.jobs import make_layer

VOXEL_SIZE = (1000.0, 1000.0, 2000.0)
SIZE = (72, 56, 24)


def cells_of(seed: int, count: int = 60) -> np.ndarray:
    """Places of cells, apart from each other, as voxels."""
    random = np.random.default_rng(seed)
    places: list[np.ndarray] = []
    while len(places) < count:
        place = random.integers((2, 2, 1), np.array(SIZE) - (2, 2, 1))
        if all((((place - other) * (1, 1, 2)) ** 2).sum() > 64 for other in places):
            places.append(place)
    return np.array(places)


def make_tissue(folder: Path, name: str = "tissue", seed: int = 0) -> dict[str, str]:
    """An image of cells on uneven ground, and its truth as points, as labels and as classes."""
    places = cells_of(seed)
    spots = np.zeros(SIZE)
    spots[tuple(places.T)] = 1
    smooth = ndimage.gaussian_filter(spots, (1.6, 1.6, 0.8))
    random = np.random.default_rng(seed + 1)
    ground = ndimage.gaussian_filter(random.normal(0, 1, SIZE), 12) * 400
    image = 200 + ground + 300 * smooth / smooth.max() + random.normal(0, 20, SIZE)
    inside = smooth > 0.35 * smooth.max()
    labels = ndimage.label(inside)[0]
    classes = np.where(inside, 7, 3)
    classes[:2] = 0  # nobody painted these
    made = {
        "image": make_layer(folder / name, image.clip(0).astype(np.uint16), voxel_size=VOXEL_SIZE),
        "labels": make_layer(folder / f"{name}-labels", labels.astype(np.uint32), "segmentation", VOXEL_SIZE),
        "classes": make_layer(
            folder / f"{name}-classes", classes.astype(np.uint8), "segmentation", VOXEL_SIZE
        ),
        "points": str(folder / f"{name}.csv"),
    }
    rows = [",".join(str(value + 0.5) for value in place) for place in places]
    Path(made["points"]).write_text("\n".join(["x,y,z", *rows]) + "\n")
    made["candidates"] = str(folder / f"{name}-candidates.csv")
    asked = candidates_of(places + 0.5, random)
    Path(made["candidates"]).write_text(
        "\n".join(["x,y,z", *(",".join(f"{v:.3f}" for v in place) for place in asked)]) + "\n"
    )
    return {key: value.removeprefix("file://") for key, value in made.items()}


def candidates_of(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What a detector might have found: all cells but three, a little off; two of them twice; and others."""
    near = points[3:] + random.uniform(-0.5, 0.5, points[3:].shape)
    far = random.uniform(0, SIZE, (400, 3))
    apart = np.linalg.norm((far[:, None] - points) * (1, 1, 2), axis=2).min(axis=1) > 5
    return np.concatenate([near, points[10:12] + np.array([1.5, 0, 0]), far[apart][:80]])


def recipe_document(tissue: dict[str, str], kind: str = "points", **changes: Any) -> dict[str, Any]:
    """A recipe as a file says it: a small U-Net, a few steps."""
    truth: dict[str, Any] = {"kind": kind}
    if kind in ("points", "candidates"):
        truth |= {"diameter": 4, "tolerance": 4}
    if kind == "classes":
        truth["names"] = {3: "ground", 7: "cell"}
    volume = {"images": tissue["image"], "truth": tissue[kind], "validation": "54-72,0-56,0-24"}
    network = {
        "architecture": "unet",
        "parameters": {"widths": [4, 8], "pooling": [2, 2, 1], "norm": "batch"},
    }
    if kind == "candidates":
        volume |= {"truth": tissue["points"], "candidates": tissue["candidates"]}
        numbers = {"field": [8, 8, 7], "widths": [8, 8, 8], "hidden": 16, "pooling": [1, 1, 1]}
        network = {"architecture": "patches", "parameters": numbers}
    return (
        network
        | {
            "input": {"channels": [{"normalise": {"kind": "percentiles"}}], "voxel_size": list(VOXEL_SIZE)},
            "patch": [16, 16, 8],
            "truth": truth,
            "volumes": [volume],
            "steps": 12,
            "every": 6,
            "batch": 2,
        }
        | changes
    )


def recipe_of(tissue: dict[str, str], kind: str = "points", **changes: Any) -> NetworkRecipe:
    """The same, checked."""
    return NetworkRecipe.of(recipe_document(tissue, kind, **changes), Path("/"))
