"""Which axis of a microscope's array is x, y, z, the channel and time, and what its voxels become."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec

IMAGES = {
    "bool": "uint8",
    "uint8": "uint8",
    "uint16": "uint16",
    "int8": "float32",
    "int16": "float32",
    "float16": "float32",
    "float32": "float32",
    "float64": "float32",
}
"""The type of an image made of each type of a source."""
LABELS = {
    "bool": "uint32",
    "uint8": "uint32",
    "uint16": "uint32",
    "uint32": "uint32",
    "int8": "uint32",
    "int16": "uint32",
    "int32": "uint32",
    "uint64": "uint64",
    "int64": "uint64",
}
"""The type of labels made of each type of a source; none may be less than 0."""


@dataclass(frozen=True)
class Axes:
    """Which axis of an array is x, y, z, the channel and time; None where the array has none."""

    x: int
    y: int
    z: int | None
    c: int | None
    t: int | None
    shape: tuple[int, ...]
    time: int = 0
    """The one time point that is taken."""

    @classmethod
    def of(cls, path: Path, letters: str, shape: tuple[int, ...], time: int | None = None) -> Axes:
        """From letters such as zyx; a TIFF's own letters for nameless axes and samples are understood."""
        kept = [
            (letter, axis)
            for axis, (letter, length) in enumerate(zip(letters, shape, strict=False))
            if letter in "xyzct" or length != 1
        ]
        names = "".join(letter for letter, _ in kept).replace("s", "c")
        if "z" not in names:
            names = names.replace("i" if "i" in names else "q", "z", 1)
        known = {"x", "y"} <= set(names) <= set("xyzct") and len(set(names)) == len(names)
        if len(letters) != len(shape) or not known:
            raise BadInput(
                f"{path} has {len(shape)} axes of sizes {list(shape)}, called {letters!r}: say what they are "
                "by axes, such as zyx or czyx; x and y must be among them, and nothing but x, y, z, c, t."
            )
        if not prod(shape):
            raise BadInput(f"{path} holds no voxel: its sizes are {list(shape)}.")
        place = {name: axis for name, (_, axis) in zip(names, kept, strict=True)}
        taken = moment_of(path, shape[place["t"]] if "t" in place else 1, time)
        return cls(place["x"], place["y"], place.get("z"), place.get("c"), place.get("t"), shape, taken)

    @property
    def size(self) -> Vec:
        return self.shape[self.x], self.shape[self.y], 1 if self.z is None else self.shape[self.z]

    @property
    def channels(self) -> int:
        return 1 if self.c is None else self.shape[self.c]

    def block(self, pieces: tuple[int, ...] | None) -> Vec:
        """x, y, z of the pieces that an array is stored in; one voxel where it lies in one piece."""
        if pieces is None:
            return 1, 1, 1
        return pieces[self.x], pieces[self.y], 1 if self.z is None else pieces[self.z]

    def index(self, box: Box, channel: int | None = None) -> tuple[int | slice, ...]:
        """What to take of the array for a box, in all channels or in one."""
        index: list[int | slice] = [0] * len(self.shape)
        for axis, start, stop in zip((self.x, self.y, self.z), box.start, box.stop, strict=True):
            if axis is not None:
                index[axis] = slice(start, stop)
        if self.t is not None:
            index[self.t] = self.time
        if self.c is not None:
            index[self.c] = slice(None) if channel is None else slice(channel, channel + 1)
        return tuple(index)

    def arranged(self, part: Array, box: Box) -> Array:
        """What `index` took, as x, y, z, c."""
        order = [axis for axis in (self.x, self.y, self.z, self.c) if axis is not None]
        kept = sorted(order)
        part = part.transpose([kept.index(axis) for axis in order])
        return np.reshape(part, (*box.size, -1))

    def cut(self, array: Any, box: Box, channel: int | None = None) -> Array:
        """The voxels x, y, z, c of a box."""
        return self.arranged(array[self.index(box, channel)], box)


def moment_of(path: Path, points: int, time: int | None) -> int:
    """The point of time that is taken of so many."""
    if time is None and points > 1:
        raise BadInput(f"{path} holds {points} points of time: say which one by time, from 0.")
    if time is not None and time >= points:
        raise BadInput(f"{path} holds {points} points of time, so none has the number {time}.")
    return time or 0


def type_name(dtype: Any) -> str:
    """The type's name in this machine's byte order."""
    return str(np.dtype(dtype).newbyteorder("="))


def made_dtype(source: str, dtype: str, kind: str) -> str:
    """The type of the layer made of a source of this type."""
    known = IMAGES if kind == "image" else LABELS
    if dtype not in known:
        other = "labels" if kind == "image" and dtype in LABELS else ""
        raise BadInput(
            f"{source} holds {dtype}, of which no {kind} can be made ({', '.join(known)}): "
            + (f"take it as {other} (kind), or convert it." if other else "convert it first.")
        )
    return known[dtype]
