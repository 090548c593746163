"""Which axis of a microscope's array is x, y, z and the channel, and what its voxels are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec

DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Axes:
    """Which axis of an array is x, y, z and the channel; None where the array has none."""

    x: int
    y: int
    z: int | None
    c: int | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, letters: str, shape: tuple[int, ...]) -> Axes:
        """From letters such as zyx; a TIFF's own letters for nameless axes and samples are understood."""
        kept = [
            (letter, axis)
            for axis, (letter, length) in enumerate(zip(letters, shape, strict=False))
            if letter in "xyzc" or length != 1
        ]
        names = "".join(letter for letter, _ in kept).replace("s", "c")
        if "z" not in names:
            names = names.replace("i" if "i" in names else "q", "z", 1)
        known = {"x", "y"} <= set(names) <= set("xyzc") and len(set(names)) == len(names)
        if len(letters) != len(shape) or not known:
            raise BadInput(
                f"{path} has {len(shape)} axes of sizes {list(shape)}, called {letters!r}: say what they are "
                "by axes, such as zyx or czyx; x and y must be among them, and nothing but x, y, z, c."
            )
        place = {name: axis for name, (_, axis) in zip(names, kept, strict=True)}
        return cls(place["x"], place["y"], place.get("z"), place.get("c"), shape)

    @property
    def size(self) -> Vec:
        return self.shape[self.x], self.shape[self.y], 1 if self.z is None else self.shape[self.z]

    @property
    def channels(self) -> int:
        return 1 if self.c is None else self.shape[self.c]

    def cut(self, array: Array, box: Box) -> Array:
        """The voxels x, y, z, c of a box."""
        index: list[Any] = [0] * len(self.shape)
        for axis, start, stop in zip((self.x, self.y, self.z), box.start, box.stop, strict=True):
            if axis is not None:
                index[axis] = slice(start, stop)
        if self.c is not None:
            index[self.c] = slice(None)
        part = array[tuple(index)]
        kept = [axis for axis, taken in enumerate(index) if isinstance(taken, slice)]
        order = [kept.index(axis) for axis in (self.x, self.y, self.z, self.c) if axis is not None]
        return np.reshape(part.transpose(order), (*box.size, self.channels))


def known_dtype(path: Path, dtype: Any) -> str:
    """The type's name in this machine's byte order."""
    name = str(np.dtype(dtype).newbyteorder("="))
    if name not in DTYPES:
        raise BadInput(
            f"{path} holds {name}: images are {', '.join(DTYPES)}; convert it to one of these first."
        )
    return name


def describe(size: Vec, channels: int, dtype: str) -> str:
    return f"{size[0]} by {size[1]} pixels of {dtype}" + (f" in {channels} channels" if channels > 1 else "")
