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
    return {key: value.removeprefix("file://") for key, value in made.items()}


def recipe_document(tissue: dict[str, str], kind: str = "points", **changes: Any) -> dict[str, Any]:
    """A recipe as a file says it: a small U-Net, a few steps."""
    truth: dict[str, Any] = {"kind": kind}
    if kind == "points":
        truth |= {"diameter": 4, "tolerance": 4}
    if kind == "classes":
        truth["names"] = {3: "ground", 7: "cell"}
    volume = {"images": tissue["image"], "truth": tissue[kind], "validation": "54-72,0-56,0-24"}
    return {
        "architecture": "unet",
        "parameters": {"widths": [4, 8], "pooling": [2, 2, 1], "norm": "batch"},
        "input": {"channels": [{"normalise": {"kind": "percentiles"}}], "voxel_size": list(VOXEL_SIZE)},
        "patch": [16, 16, 8],
        "truth": truth,
        "volumes": [volume],
        "steps": 12,
        "every": 6,
        "batch": 2,
    } | changes


def recipe_of(tissue: dict[str, str], kind: str = "points", **changes: Any) -> NetworkRecipe:
    """The same, checked."""
    return NetworkRecipe.of(recipe_document(tissue, kind, **changes), Path("/"))
