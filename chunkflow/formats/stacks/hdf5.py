"""HDF5: one dataset of a file; and Imaris, whose channels are a dataset each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.extras import optional_import
from chunkflow.formats.stacks.arrays import chosen
from chunkflow.formats.stacks.axes import Axes, moment_of, type_name
from chunkflow.formats.stacks.facts import Facts, sizes_of
from chunkflow.formats.stacks.outside import refuse_hdf5_references
from chunkflow.formats.stacks.stack import refuse_unreadable
from chunkflow.geometry import Box, Vec

if TYPE_CHECKING:
    import h5py


def opened(path: Path) -> h5py.File:
    """The file, to read only; no lock is asked for, which network disks may refuse."""
    library = optional_import("h5py", f"Reading {path}")
    try:
        return library.File(path, "r", locking=False)
    except OSError as error:
        raise BadInput(f"{path} is damaged, cut short or no HDF5: {error}.") from error


def open_hdf5(path: Path, name: str, axes: str, time: int | None) -> DatasetStack:
    with opened(path) as file:
        refuse_hdf5_references(path, file)
        shapes: dict[str, tuple[int, ...]] = {}

        def note(found: str, node: Any) -> None:
            if getattr(node, "shape", None) is not None:  # groups have none, nor have empty datasets
                shapes[found] = node.shape

        file.visititems(note)
        name = chosen(path, name, shapes)
        dataset = file[name]
        letters = axes or _letters(dataset)
        place = Path(f"{path}:{name}")
        order = Axes.of(place, letters, dataset.shape, time)
        size = dataset.attrs.get("element_size_um")
        known = size is not None and np.shape(size) == (3,) and not axes
        facts = Facts(sizes_of(list(size[::-1]), ["um"] * 3)) if known else Facts()
        # a channel of its own axis is one dataset all the same
        return DatasetStack(path, [name] * order.channels, dataset, order, facts)


def _letters(dataset: h5py.Dataset) -> str:
    """The axes as ilastik or HDF5's own dimension labels name them; else z, y, x."""
    tags = dataset.attrs.get("axistags")
    if tags is not None:
        try:
            return "".join(axis["key"] for axis in json.loads(tags)["axes"]).lower()
        except (ValueError, KeyError, TypeError):
            pass
    labels = "".join(str(dimension.label) for dimension in dataset.dims).lower()
    return labels if len(labels) == dataset.ndim else "zyx"[-dataset.ndim :]


class DatasetStack:
    """One dataset, or one for each channel, all alike."""

    def __init__(
        self,
        path: Path,
        names: list[str],
        dataset: h5py.Dataset,
        axes: Axes,
        facts: Facts,
        size: Vec | None = None,
    ) -> None:
        """`size` is what of the dataset holds voxels, where it is larger than they are."""
        self.path, self.names, self.axes, self.facts = path, names, axes, facts
        self.size, self.channels = size or axes.size, len(names)
        self.dtype, self.block = type_name(dataset.dtype), axes.block(dataset.chunks)

    def check(self) -> None:
        """One chunk of each channel is decoded, to see that it can be."""
        refuse_unreadable(self, Box.of_size((1, 1, 1)))

    def read(self, box: Box, channel: int | None = None) -> Array:
        wanted = range(self.channels) if channel is None else [channel]
        try:
            with opened(self.path) as file:
                parts = [
                    self.axes.cut(file[self.names[c]], box, None if self.axes.c is None else c)
                    for c in wanted
                ]
        except (OSError, KeyError, ValueError, BadInput) as error:
            raise DamagedInput(f"{self.path}: {box} cannot be read: {error}") from error
        return np.concatenate(parts, axis=3, dtype=self.dtype)


def open_imaris(path: Path, name: str, axes: str, time: int | None) -> DatasetStack:
    """The finest level; its datasets may be padded, so the sizes are those that the file says."""
    with opened(path) as file:
        refuse_hdf5_references(path, file)
        try:
            level = file["DataSet/ResolutionLevel 0"]
            image = file["DataSetInfo/Image"]
            points = sum(name.startswith("TimePoint ") for name in level)
            point = level[f"TimePoint {moment_of(path, points, time)}"]
            names = sorted((n for n in point if re.fullmatch(r"Channel \d+", n)), key=lambda n: int(n[8:]))
            dataset = point[f"{names[0]}/Data"]
        except (KeyError, IndexError) as error:
            raise BadInput(f"{path} is no whole Imaris file: {error}.") from error
        order = Axes.of(path, axes or "zyx", dataset.shape)
        size = [int(_text(point[names[0]], f"ImageSize{a}") or _text(image, a) or 0) for a in "XYZ"]
        sizes = (size[0], size[1], size[2])
        if not all(0 < n <= m for n, m in zip(sizes, order.size, strict=True)):
            raise BadInput(f"{path} says that it is {sizes} voxels large, and holds {order.size}.")
        called = [_text(file.get(f"DataSetInfo/{n}"), "Name") for n in names]
        facts = Facts(_imaris_size(image, sizes), names=tuple(called))
        paths = [f"{point.name}/{n}/Data" for n in names]
        return DatasetStack(path, paths, dataset, order, facts, sizes)


def _imaris_size(image: Any, size: Vec) -> tuple[float, float, float] | None:
    """From the extents of the whole image, which are in micrometres where no unit is said."""
    try:
        ends = [(float(_text(image, f"ExtMin{a}")), float(_text(image, f"ExtMax{a}"))) for a in range(3)]
    except ValueError:
        return None
    values = [(stop - start) / n for (start, stop), n in zip(ends, size, strict=True)]
    return sizes_of(values, [_text(image, "Unit") or "um"] * 3)


def _text(group: Any, name: str) -> str:
    """An attribute as Imaris keeps it: an array of single bytes."""
    value = None if group is None else group.attrs.get(name)
    if value is None:
        return ""
    return value.tobytes().decode("latin-1").strip("\0 ") if isinstance(value, np.ndarray) else str(value)
