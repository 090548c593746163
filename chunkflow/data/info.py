"""Descriptions of images, labels, tables and folders of files: all that planning needs to know of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from chunkflow.geometry import Box, Grid, Vec, VoxelSize, vec

LayerKind = Literal["image", "segmentation", "table", "folder"]
RoleKind = Literal["image", "labels", "layer", "table", "meshes", "annotations", "tags", "report"]
SHARD_SIDE = 8
"""Storage chunks along each side of a shard."""
TABLE_TYPE = "chunkflow_table"
ANNOTATIONS = "neuroglancer_annotations_v1"
VOLUME = "neuroglancer_multiscale_volume"
"""The `@type` of images and labels, which their info may leave out."""


def full_url(location: str, base: Path | None = None) -> str:
    """A URL as CloudVolume takes it; a plain path becomes file:// (relative to `base`)."""
    location = location.removeprefix("precomputed://").rstrip("/")
    if "://" not in location:
        location = "file://" + str((base or Path.cwd()) / Path(location).expanduser())
    if location.startswith("file://"):
        location = "file://" + os.path.abspath(location.removeprefix("file://"))
    return location


class SpaceInfo(BaseModel):
    """The place of a layer, table or folder: its URL, and the voxels that it covers.

    A task declares what it makes by these classes, most simply from what it reads: `as_table()` and its like
    keep the space. The engine fills in the URL, the bounds, and how voxels are stored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    volume: Box
    """The whole extent of the volume at this mip."""
    bounds: Box = Field(default_factory=lambda given: given["volume"])
    """The part that exists, or will: less than `volume` where a job covers less."""
    voxel_size: VoxelSize

    @property
    def labels_url(self) -> str:
        """The labels that ids over this space name; empty where none are known."""
        return ""

    def over(self, volume: Box, voxel_size: VoxelSize | None = None) -> Self:
        """The same over another space."""
        update = {"volume": volume, "bounds": volume, "voxel_size": voxel_size or self.voxel_size}
        return self.model_copy(update=update)

    def as_image(self, dtype: str = "uint8", channels: int = 1) -> ImageInfo:
        """An image over the same space."""
        return ImageInfo(volume=self.volume, voxel_size=self.voxel_size, dtype=dtype, channels=channels)

    def as_labels(self, dtype: str = "uint64", connected: bool = False) -> LabelsInfo:
        """Labels over the same space."""
        return LabelsInfo(volume=self.volume, voxel_size=self.voxel_size, dtype=dtype, connected=connected)

    def as_table(self, cell: Vec | None = None) -> TableInfo:
        """A table over the same space, of the same objects; in one file unless cut into cells."""
        return TableInfo(volume=self.volume, voxel_size=self.voxel_size, labels=self.labels_url, cell=cell)

    def as_folder(self) -> FolderInfo:
        """A folder of files over the same space, of the same objects."""
        return FolderInfo(volume=self.volume, voxel_size=self.voxel_size, labels=self.labels_url)


class _Voxels(SpaceInfo):
    """Voxels of a precomputed layer at one mip."""

    mip: int = 0
    dtype: str = "uint8"
    channels: int = 1
    encoding: str = "raw"
    storage: Vec = (64, 64, 64)
    sharded: bool = False
    """Many storage chunks in a file (a layer that the job makes)."""

    @property
    def bytes_per_voxel(self) -> int:
        return np.dtype(self.dtype).itemsize * self.channels

    @property
    def write_block(self) -> Vec:
        """The cuboid that can only be written whole."""
        return vec(n * SHARD_SIDE for n in self.storage) if self.sharded else self.storage

    @property
    def compressed(self) -> bool:
        """Local layers are written without, which plain web servers and other readers need."""
        return not self.url.startswith("file://")

    @property
    def gzipped(self) -> bool:
        """Whether each file is compressed as a whole; of shards parts are read."""
        return self.compressed and not self.sharded and self.encoding != "jpeg"

    def as_image(self, dtype: str = "", channels: int = 0) -> ImageInfo:
        """An image over the same space, of the same dtype and channels unless others are given."""
        return super().as_image(dtype or self.dtype, channels or self.channels)


class ChannelContent(BaseModel):
    """What one channel of an image holds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    kind: str
    """As in a network's outputs: probability, class, affinity or image."""
    offset: Vec | None = None
    """Of an affinity: the voxel that it is with."""
    threshold: float | None = None
    """From where on it counts as a yes, where training chose that."""


class ImageInfo(_Voxels):
    """An image at one mip."""

    kind: Literal["image"] = "image"
    contents: tuple[ChannelContent, ...] = ()
    """What its channels hold, where the task that made it says so."""


class LabelsInfo(_Voxels):
    """Labels (a segmentation) at one mip."""

    kind: Literal["segmentation"] = "segmentation"
    connected: bool = False
    """Every object is one piece, and is named by the Morton code of one of its voxels."""

    @property
    def labels_url(self) -> str:
        return self.url

    def over(self, volume: Box, voxel_size: VoxelSize | None = None) -> Self:
        """The same over another space, which may cut objects in two and counts its voxels anew."""
        moved = super().over(volume, voxel_size)
        same = (moved.volume, moved.voxel_size) == (self.volume, self.voxel_size)
        return moved.model_copy(update={"connected": self.connected and same})


class TableInfo(SpaceInfo):
    """A table of objects, in one file or in one for each cell of space."""

    kind: Literal["table"] = "table"
    labels: str = ""
    """The URL of the labels that its ids name."""
    connected: bool = False
    """Its ids name objects of one piece, each by the Morton code of one of its voxels."""
    cell: Vec | None = None
    """Each file has the rows of one cell of this size."""

    @property
    def labels_url(self) -> str:
        return self.labels

    @property
    def grid(self) -> Grid:
        """The files, as cells of space counted from the volume's first voxel."""
        if self.cell is None:  # one file, wherever the part that a job covers begins
            return Grid.whole(self.bounds)
        return Grid(self.bounds, self.cell, self.volume.start)

    def document(self) -> dict[str, Any]:
        """The content of the table's file `info`."""
        return {"@type": TABLE_TYPE, "table": self.model_dump(mode="json")}


class FolderInfo(SpaceInfo):
    """A folder of meshes, annotations, segment properties or a report."""

    kind: Literal["folder"] = "folder"
    labels: str = ""
    """The URL of the labels that its ids name."""

    @property
    def labels_url(self) -> str:
        return self.labels


_OF_VOXELS = {"mip", "dtype", "channels", "encoding", "storage", "sharded"}
_FORMER: dict[str, set[str]] = {
    "image": {"connected", "labels", "cell"},
    "segmentation": {"labels", "cell"},
    "table": _OF_VOXELS,
    "folder": {*_OF_VOXELS, "connected", "cell"},
}
"""Fields that older tables and ledgers hold for each kind, where they mean nothing."""


def _without_former(document: object) -> object:
    if not isinstance(document, dict):
        return document
    former = _FORMER.get(str(document.get("kind")), set())
    return {name: value for name, value in document.items() if name not in former}


VoxelsInfo: TypeAlias = ImageInfo | LabelsInfo
LayerInfo: TypeAlias = Annotated[
    ImageInfo | LabelsInfo | TableInfo | FolderInfo,
    Field(discriminator="kind"),
    BeforeValidator(_without_former),
]
"""Any of the four; read from JSON it is the class that `kind` names."""
_ANY: TypeAdapter[LayerInfo] = TypeAdapter(LayerInfo)


def voxels_of(info: LayerInfo) -> VoxelsInfo:
    """The same description, of an image or labels; TypeError for anything else."""
    if not isinstance(info, VoxelsInfo):
        raise TypeError(f"{info.url} is of the kind {info.kind}, which has no voxels")
    return info


def labels_of(info: LayerInfo) -> LabelsInfo:
    """The same description, of labels; TypeError for anything else."""
    if not isinstance(info, LabelsInfo):
        raise TypeError(f"{info.url} is of the kind {info.kind}, not labels")
    return info


def table_of(info: LayerInfo) -> TableInfo:
    """The same description, of a table; TypeError for anything else."""
    if not isinstance(info, TableInfo):
        raise TypeError(f"{info.url} is of the kind {info.kind}, not a table")
    return info


def parse_info(document: object) -> LayerInfo:
    """The description that a JSON document holds, also in the form of older tables and ledgers."""
    return _ANY.validate_python(document)
