"""The region in which a person marked all cells: its image, and the peaks that each diameter finds there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunkflow.chunk import Chunk
from chunkflow.data.describe import info_of
from chunkflow.data.info import ImageInfo, LayerInfo, voxels_of
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, VoxelSize, vec
from chunkflow.jobs.locate import open_layer
from chunkflow.kernels.images.gaussian import blob_sigma, difference_of_gaussians, filter_radius
from chunkflow.kernels.images.peaks import find_peaks
from chunkflow.kernels.scoring.matching import Points
from chunkflow.kernels.scoring.tuning import Ranked, rank
from chunkflow.words import counted

FEWEST_CELLS = 3
MOST_VOXELS = 2**28
ONE_VOXEL: Vec = (1, 1, 1)


@dataclass(frozen=True)
class Region:
    """A box of one channel of an image, and the cells within it; all places in micrometres."""

    box: Box
    cells: Points
    window: Chunk
    """The image, as far beyond the box as the largest diameter looks from a peak that may be a cell's."""
    volume: Box
    tolerance: float

    @classmethod
    def read(
        cls,
        layer: ImageInfo,
        channel: int,
        box: Box,
        voxels: Points,
        tolerance: float,
        largest: float,
    ) -> Region:
        """Read what is needed for diameters up to `largest`; `voxels` are the marked cells of the volume."""
        inside = ((voxels >= np.array(box.start)) & (voxels < np.array(box.stop))).all(axis=1)
        if inside.sum() < FEWEST_CELLS:
            raise BadInput(
                f"{inside.sum()} of {len(voxels)} marked cells lie in {box}; at least {FEWEST_CELLS} are "
                "needed, and some 20 tell more."
            )
        radius = filter_radius(blob_sigma(largest * 1000, layer.voxel_size))
        margin = _margin(tolerance, layer.voxel_size)
        window = box.grow(margin).grow(ONE_VOXEL).grow(radius).clip(layer.volume)
        if prod(window.size) > MOST_VOXELS:
            raise BadInput(
                f"The region {box} and what is around it are {prod(window.size):,} voxels, more than "
                f"{MOST_VOXELS:,}: give a smaller box, or smaller diameters."
            )
        chunk = Volume(layer).read(window)
        array = chunk.array if chunk.array.ndim == 3 else chunk.array[..., channel]
        if not np.isfinite(array).all():
            raise BadInput(f"{layer.url} has voxels that are not numbers within {window}.")
        size = np.array(layer.voxel_size) / 1000
        return cls(box, voxels[inside] * size, chunk.like(array), layer.volume, tolerance)

    @property
    def size_um(self) -> Points:
        return np.array(self.window.voxel_size) / 1000

    @property
    def searched(self) -> Box:
        """Where a peak may find a cell of the region."""
        return self.box.grow(_margin(self.tolerance, self.window.voxel_size)).clip(self.volume)

    def ranked(self, diameter: float) -> Ranked:
        """The peaks that `segment` finds with this diameter, the highest first."""
        core = self.searched
        seen = core.grow(ONE_VOXEL).clip(self.volume)
        response = difference_of_gaussians(
            self.window.array,
            blob_sigma(diameter * 1000, self.window.voxel_size),
            _spans(seen, self.window.box),
        )
        found, heights = find_peaks(response, _spans(core, seen))
        voxels = found + np.array(seen.start)
        places = (voxels + 0.5) * self.size_um
        return rank(diameter, places, heights, self.judges(places), self.cells, self.tolerance)

    def ranked_by(self, diameters: Sequence[float]) -> list[Ranked]:
        """The peaks of each diameter; refused if none of them finds a cell."""
        ranked = [self.ranked(diameter) for diameter in diameters]
        if not any(one.matches.any() for one in ranked):
            raise BadInput(
                f"No setting finds any of the {len(self.cells)} cells marked in {self.box}: are they "
                "cells of this image, and bright in it?"
            )
        return ranked

    def judges(self, places: Points) -> NDArray[np.bool_]:
        """Which peaks are wrong if they find no cell: those in the region, but not at a side of it where a
        cell just beyond, which nobody marked, may have its peak."""
        low, high = (np.array(end) * self.size_um for end in (self.box.start, self.box.stop))
        margin = np.minimum(self.tolerance / 2, (high - low) / 8)
        low += np.where(np.array(self.box.start) > self.volume.start, margin, 0)
        high -= np.where(np.array(self.box.stop) < self.volume.stop, margin, 0)
        return np.asarray(((places >= low) & (places < high)).all(axis=1))


def box_of_cells(voxels: Points, volume: Box) -> Box:
    """The box that points spread evenly in it would come from: theirs, and on each side as much more as lies
    between one and the next along that axis."""
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    free = (high - low) / max(len(voxels) - 1, 1)
    return Box(vec(np.floor(low - free)), vec(np.ceil(high + free) + 1)).clip(volume)


def image_layer(image: str | Path | Volume | ImageInfo, channel: int) -> ImageInfo:
    """The image at a place, which may end in @mip."""
    layer = open_layer(image)
    if not isinstance(layer, ImageInfo):
        raise BadInput(f"{place_of(image)} is a {layer.kind}; segment is tuned on an image.")
    if channel >= layer.channels:
        raise BadInput(
            f"{place_of(image)} has {counted(layer.channels, 'channel')}, counted from 0: there is no "
            f"{channel}."
        )
    return layer


def place_of(image: str | Path | Volume | ImageInfo) -> str:
    if isinstance(image, str | Path):
        return str(image)
    info = voxels_of(info_of(image))
    return f"{info.url}@{info.mip}" if info.mip else info.url


def region_box(box: Box | None, marked: Points, layer: LayerInfo) -> Box:
    """The region that was asked for, within the image, or as the points tell."""
    if box is None:
        return box_of_cells(marked, layer.volume)
    if box.clip(layer.volume).empty:
        raise BadInput(f"{box} lies outside of the image, which is {layer.volume}.")
    return box.clip(layer.volume)


def _margin(tolerance: float, voxel_size: VoxelSize) -> Vec:
    """How far beyond the region a peak may find one of its cells."""
    return vec(ceil(tolerance * 1000 / size) for size in voxel_size)


def _spans(box: Box, window: Box) -> Sequence[tuple[int, int]]:
    return [(part.start, part.stop) for part in box.slices(window.start)]
