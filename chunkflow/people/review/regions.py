"""Regions: labels of a layer, as those of an atlas, that say which objects of a table lie in them.

The label at the place of each object is read from the finest mip that is small enough, a block at a time and
only where there are objects.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chunkflow.data.describe import layer_at, read_info
from chunkflow.data.info import VoxelsInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, VoxelSize, vec

LARGEST = 1 << 28
"""Bytes of a mip that is read; of layers that have none so small the coarsest."""
BLOCK = 256
"""Voxels on each side of what is read at once, at least."""
MOST_TOLD = 1000
"""Regions that are told of a layer, those with most objects."""
Labels = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelledRegion:
    """A label of a layer, and how many objects lie in it."""

    label: int
    name: str
    """As the layer's segment properties name it; empty where they do not."""
    objects: int

    def to_json(self) -> dict[str, object]:
        """The region as JSON has it: a label may be larger than its numbers."""
        return {"label": str(self.label), "name": self.name, "objects": self.objects}


class RegionLayer:
    """A layer of labels, with the label at the place of each object of a table."""

    def __init__(self, layer: str, url: str, places: Floats, voxel_size: VoxelSize) -> None:
        """`places` are in voxels of `voxel_size`, in nanometres."""
        self.layer = layer
        self.url = url
        self._places = places
        self._voxel_size = voxel_size
        self._lock = threading.Lock()
        self._labels: Labels | None = None

    @property
    def labels(self) -> Labels:
        """The label at the place of each object; 0 where there is none. They are read once."""
        with self._lock:
            if self._labels is None:
                self._labels = labels_at(self._mip, self._places, self._voxel_size)
            return self._labels

    @cached_property
    def _mip(self) -> VoxelsInfo:
        return small_mip(self.url)

    @cached_property
    def names(self) -> dict[int, str]:
        """The names of labels, as the layer's segment properties have them."""
        return segment_names(self.url)

    @cached_property
    def regions(self) -> tuple[LabelledRegion, ...]:
        """The labels in which objects lie, those with most objects first."""
        labels, counts = np.unique(self.labels[self.labels != 0], return_counts=True)
        order = np.lexsort((labels, -counts))
        return tuple(self._region(int(labels[at]), int(counts[at])) for at in order)

    def _region(self, label: int, objects: int) -> LabelledRegion:
        return LabelledRegion(label, self.names.get(label, ""), objects)

    def region_at(self, place: Sequence[float]) -> LabelledRegion | None:
        """The region at a place; None where there is none."""
        label = int(labels_at(self._mip, np.array([place]), self._voxel_size)[0])
        return self._region(label, int((self.labels == label).sum())) if label else None

    def region(self, named: str) -> LabelledRegion:
        """The region of a label or a name; BadInput where no object lies in it."""
        same = [label for label, name in self.names.items() if name.casefold() == named.casefold()]
        if not same and not named.isdecimal():
            raise BadInput(
                f"The layer {self.layer} has no region named {named!r}: give a label, as in 12"
                + (", or one of its names." if self.names else "; its labels have no names.")
            )
        wanted = {*same, *([int(named)] if named.isdecimal() else [])}
        for region in self.regions:
            if region.label in wanted:
                return region
        raise BadInput(f"No object of the table lies in the region {named} of the layer {self.layer}.")


class TableRegions:
    """The layers whose labels are regions for a table, each read when it is first asked for."""

    def __init__(self, places: Floats, voxel_size: VoxelSize) -> None:
        self._places = places
        self._voxel_size = voxel_size
        self.urls: Mapping[str, str] = {}
        """The layers by name, as whoever knows the data set has them."""
        self._known: dict[tuple[str, str], RegionLayer] = {}
        self._lock = threading.Lock()

    def layer(self, name: str) -> RegionLayer:
        """The layer of a name."""
        urls = self.urls
        if name not in urls:
            there = f"it has {', '.join(urls)}" if urls else "it has no labels but those of the table"
            raise BadInput(f"The data set has no layer of regions named {name!r}: {there}.")
        key = name, urls[name]
        with self._lock:
            if key not in self._known:
                self._known[key] = RegionLayer(*key, self._places, self._voxel_size)
            return self._known[key]

    def numbers(self, layer: str, named: str) -> npt.NDArray[np.int64]:
        """The objects that lie in a region, given by its label or name, by their numbers."""
        found = self.layer(layer)
        return np.flatnonzero(found.labels == found.region(named).label)


def small_mip(url: str) -> VoxelsInfo:
    """The finest mip of a layer that has at most LARGEST bytes; else the coarsest."""
    count = len(read_info(url)["scales"])
    for mip in range(count):
        info = layer_at(url, mip)
        if info.bounds.voxels * info.bytes_per_voxel <= LARGEST:
            break
    return info


def labels_at(info: VoxelsInfo, places: Floats, voxel_size: VoxelSize) -> Labels:
    """The label at each place, given in voxels of `voxel_size`; 0 outside of the layer."""
    scale = np.array(voxel_size) / np.array(info.voxel_size)
    voxels = np.floor(places * scale).astype(np.int64)
    start, stop = np.array(info.bounds.start), np.array(info.bounds.stop)
    found = np.zeros(len(places), np.uint64)
    within = np.flatnonzero(np.all((voxels >= start) & (voxels < stop), axis=1))
    if not len(within):
        return found
    volume = Volume(info, fill_missing=True)
    for box, members in _blocks(info, voxels[within]):
        at = within[members]
        x, y, z = (voxels[at] - np.array(box.start)).T
        found[at] = volume.read(box).array[x, y, z].astype(np.uint64)
    return found


def _blocks(info: VoxelsInfo, voxels: npt.NDArray[np.int64]) -> Iterator[tuple[Box, npt.NDArray[np.int64]]]:
    """Boxes that hold all voxels, each with the numbers of those in it: made of whole storage chunks, and
    no larger than what the voxels in it need."""
    start, storage = np.array(info.bounds.start), np.array(info.storage)
    side = storage * np.maximum(BLOCK // storage, 1)
    blocks, of_voxel = np.unique((voxels - start) // side, axis=0, return_inverse=True)
    order = np.argsort(of_voxel.ravel(), kind="stable")
    ends = np.searchsorted(of_voxel.ravel()[order], np.arange(1, len(blocks) + 1))
    for members in np.split(order, ends[:-1]):
        yield Box(vec(voxels[members].min(axis=0)), vec(voxels[members].max(axis=0) + 1)), members


def segment_names(url: str) -> dict[int, str]:
    """The names that the segment properties of a layer give its labels; none where it has none."""
    folder = read_info(url).get("segment_properties")
    if not isinstance(folder, str):
        return {}
    try:
        inline = read_info(f"{url}/{folder}")["inline"]
        named = {one["type"]: one["values"] for one in reversed(inline["properties"]) if "values" in one}
        return {int(id): str(name) for id, name in zip(inline["ids"], named["label"], strict=True)}
    except (BadInput, KeyError, TypeError, ValueError):  # there are none that can be read
        return {}
