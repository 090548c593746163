"""What a task is told of its step: the layers that its fields name, and the cell that a call is to fill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from chunkflow.data.info import (
    ImageInfo,
    LabelsInfo,
    LayerInfo,
    TableInfo,
    VoxelsInfo,
    labels_of,
    table_of,
    voxels_of,
)
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, VoxelSize
from chunkflow.resources import Resources

PLAIN = Resources()
"""What a worker takes of its node unless its task asks for something."""


@dataclass(frozen=True)
class Layout:
    """Where a step stands in its job: what its fields name, and the chunk size of the job."""

    layers: Mapping[str, tuple[LayerInfo, ...]]
    chunk: Vec
    storage: Vec
    made: frozenset[str] = frozenset()
    """The inputs that an earlier task of the job makes: what lies there now may be of another run."""
    resources: Resources = PLAIN
    """What a worker of the step takes."""
    load: Callable[[str], ModuleType] = import_module
    """Imports a module that lies beside the job file."""

    def info(self, field: str) -> LayerInfo:
        return self.layers[field][0]

    def voxels(self, field: str) -> VoxelsInfo:
        """The image or labels that a field names."""
        return voxels_of(self.info(field))

    def labels(self, field: str) -> LabelsInfo:
        """The labels that a field names."""
        return labels_of(self.info(field))

    def images(self, field: str) -> list[ImageInfo]:
        """All images that a field names; none where it is left out."""
        return [info for info in self.layers.get(field, ()) if isinstance(info, ImageInfo)]

    def refuse_channel(self, task: str, field: str, name: str, channel: int) -> None:
        """Raise BadInput where the image or labels that a field names lack a channel."""
        channels = self.voxels(field).channels
        if channel >= channels:
            has = "one channel" if channels == 1 else f"{channels} channels"
            raise BadInput(f"{task}: {name} has {has}, counted from 0: there is no channel {channel}.")

    def table(self, field: str) -> TableInfo:
        """The table that a field names."""
        return table_of(self.info(field))

    @property
    def main(self) -> LayerInfo:
        """The first input: its bounds and voxel size are the step's unless the task says otherwise."""
        return next(iter(self.layers.values()))[0]


@dataclass(frozen=True)
class Cell:
    """One cuboid of a step's grid, as `map`, `prepare` and `finish` see it."""

    index: int
    box: Box
    """What this call is to fill."""
    bounds: Box
    """What the job covers."""
    volume: Box
    """The whole volume at this mip; ids and samples count from here, whichever part the job covers."""
    voxel_size: VoxelSize
    layout: Layout
    values: Mapping[str, Any]
    """What `prepare` decided."""
    loaded: Any = None
    """What `setup` loaded."""
