"""Looks of a layer to be shown: its kind, its extent, its contrast, some of its segments.

1. The layer's `info` tells its kind: image, segmentation, annotation, or a mesh folder of its own.
2. A sample is read: the finest mip that is small enough whole, or the middle of the coarsest.
3. Percentiles of an image's sample are its contrast; the largest ids of labels have their meshes shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chunkflow.chunk import Array
from chunkflow.data.describe import layer_at, read_info
from chunkflow.data.info import ANNOTATIONS, VOLUME, full_url
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput, StorageError
from chunkflow.geometry import Box, vec

LookKind = Literal["image", "segmentation", "annotation", "mesh"]
ORDER: tuple[LookKind, ...] = ("image", "segmentation", "mesh", "annotation")
SAMPLE = 128  # voxels on each side of the box that is looked at
SHOWN = 300  # segments whose meshes are shown at first
MESHES = (
    "neuroglancer_legacy_mesh",
    "neuroglancer_multilod_draco",
    "neuroglancer_skeletons",
    "neuroglancer_segment_properties",
)
NANOMETRES = {"m": 1e9, "mm": 1e6, "um": 1e3, "µm": 1e3, "nm": 1.0}
Contrast = tuple[float, float]


@dataclass(frozen=True)
class Shown:
    """A layer to be shown: what its `info` says, and what a sample of it holds."""

    name: str
    url: str
    kind: LookKind
    info: Mapping[str, Any]
    contrast: tuple[Contrast, ...] = ()
    """For each channel of an image, what is shown as black and as full colour."""
    ids: tuple[int, ...] = ()
    """Segments that are chosen at first, so that their meshes show."""


@dataclass(frozen=True)
class Extent:
    """Where a layer lies: the size of a voxel in nanometres, and its bounds in voxels."""

    voxel_size: Array
    start: Array
    stop: Array


def look(name: str, location: str) -> Shown:
    """Read what must be known of a layer to show it."""
    url = full_url(location)
    info = read_info(url)
    kind = kind_of(info, url)
    if kind == "image":
        return Shown(name, url, kind, info, contrast=contrasts(sample(url, info), info))
    if kind == "segmentation":
        return Shown(name, url, kind, info, ids=largest_ids(sample(url, info)))
    return Shown(name, url, kind, info)


def kind_of(info: Mapping[str, Any], url: str) -> LookKind:
    kind = info.get("@type", VOLUME)
    if kind == ANNOTATIONS:
        return "annotation"
    if kind in MESHES:
        return "mesh"
    if kind == VOLUME and info.get("scales"):
        return "segmentation" if info.get("type") == "segmentation" else "image"
    raise BadInput(f"{url} is not an image, segmentation, mesh or annotation layer but: {kind}.")


def sample(url: str, info: Mapping[str, Any]) -> Array | None:
    """Voxels (x, y, z, channel) of the finest mip that is small enough, or the middle of the coarsest."""
    sizes = [np.prod(scale["size"], dtype=float) for scale in info["scales"]]
    mip = next((mip for mip, size in enumerate(sizes) if size <= SAMPLE**3), len(sizes) - 1)
    layer = layer_at(url, mip)
    centre = [(a + b) // 2 for a, b in zip(layer.bounds.start, layer.bounds.stop, strict=True)]
    middle = Box.of_size((SAMPLE, SAMPLE, SAMPLE), vec(c - SAMPLE // 2 for c in centre))
    box = layer.bounds if sizes[mip] <= SAMPLE**3 else middle.clip(layer.bounds)
    try:
        array = Volume(layer).read(box).array
    except (StorageError, BadInput):  # still being made, damaged, or of a codec that is not here: still shown
        return None
    return array if array.ndim == 4 else array[..., np.newaxis]


def contrasts(voxels: Array | None, info: Mapping[str, Any]) -> tuple[Contrast, ...]:
    """For each channel the values to be shown as black and as full colour."""
    whole = full_range(info["data_type"])
    channels = int(info.get("num_channels", 1))
    if voxels is None:
        return (whole,) * channels
    return tuple(percentiles(voxels[..., channel]) or whole for channel in range(channels))


def percentiles(voxels: Array) -> Contrast | None:
    """The 1st and the 99.8th percentile of what is finite; None where all is one value."""
    values = voxels[np.isfinite(voxels)]
    if values.size == 0:
        return None
    low, high = (float(value) for value in np.percentile(values, (1, 99.8)))
    if low == high:  # fewer than 0.2 % stand out: they are what is to be seen
        low, high = float(values.min()), float(values.max())
    if voxels.dtype.kind != "f":  # the browser takes whole numbers for whole numbers
        low, high = float(np.floor(low)), float(np.ceil(high))
    return (low, high) if low < high else None


def full_range(dtype: str) -> Contrast:
    kind = np.dtype(dtype)
    return (0.0, 1.0) if kind.kind == "f" else (float(np.iinfo(kind).min), float(np.iinfo(kind).max))


def largest_ids(voxels: Array | None) -> tuple[int, ...]:
    """The ids with most voxels in the sample, largest first."""
    if voxels is None:
        return ()
    ids, counts = np.unique(voxels[voxels != 0], return_counts=True)
    order = np.lexsort((ids, -counts))[:SHOWN]
    return tuple(int(i) for i in ids[order])


def owners_of(layers: Sequence[Shown], links: Mapping[str, str]) -> dict[str, str]:
    """The segmentation whose ids each mesh and annotation layer names, where that can be told.

    `links` has what is known: the name or URL of the segmentation by the layer's name.
    """
    segmentations = [layer for layer in layers if layer.kind == "segmentation"]
    owners: dict[str, str] = {}
    for layer in layers:
        if layer.kind not in ("mesh", "annotation"):
            continue
        known = [s for s in segmentations if links.get(layer.name) in (s.name, s.url)]
        inside = [s for s in segmentations if layer.url.startswith(s.url + "/")]
        candidates = known or inside or segmentations
        if len(candidates) == 1:
            owners[layer.name] = candidates[0].name
    return owners


def extent_of(layers: Sequence[Shown]) -> Extent:
    """Where the first volume lies, or the first annotation layer; a guess where there is neither."""
    for layer in sorted(layers, key=lambda layer: ORDER.index(layer.kind)):
        if layer.kind in ("image", "segmentation"):
            scale = layer.info["scales"][0]
            start = np.asarray(scale.get("voxel_offset", (0, 0, 0)), dtype=float)
            size = np.asarray(scale["size"], dtype=float)
            return Extent(np.asarray(scale["resolution"], dtype=float), start, start + size)
        if layer.kind == "annotation":
            scales = list(layer.info["dimensions"].values())[:3]
            voxel_size = [float(size) * NANOMETRES.get(unit, 1.0) for size, unit in scales]
            start, stop = (np.asarray(layer.info[end][:3], float) for end in ("lower_bound", "upper_bound"))
            return Extent(np.asarray(voxel_size), start, stop)
    return Extent(np.ones(3), np.zeros(3), np.full(3, 1e5))
