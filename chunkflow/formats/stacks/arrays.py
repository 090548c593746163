"""Voxels that lie in one piece: NumPy arrays, mapped into memory; an .npz is first unpacked."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.axes import Axes, type_name
from chunkflow.formats.stacks.facts import Facts
from chunkflow.geometry import Box

PIECE = 1 << 20


class ArrayStack:
    """Voxels that lie in one piece, mapped into memory."""

    def __init__(self, path: Path, array: Array, axes: Axes, facts: Facts) -> None:
        self.path, self.array, self.axes, self.facts = path, array, axes, facts
        self.size, self.channels, self.block = axes.size, axes.channels, (1, 1, 1)
        self.dtype = type_name(array.dtype)

    def check(self) -> None:
        """What is cut short could not be mapped."""

    def read(self, box: Box, channel: int | None = None) -> Array:
        return self.axes.cut(self.array, box, channel).astype(self.dtype, order="F")


class PackedStack:
    """Voxels in a compressed stream, which cannot be read here and there.

    Every worker unpacks it once, into a nameless file in the temporary folder (TMPDIR), which is gone when
    the worker ends however it ends; so the folder must have room for the voxels once a worker.
    """

    def __init__(
        self,
        path: Path,
        axes: Axes,
        facts: Facts,
        opened: Callable[[], IO[bytes]],
        layout: dict[str, Any],
    ) -> None:
        """`opened` gives the stream from its start, `layout` is where in it the voxels lie (np.memmap)."""
        self.path, self.axes, self.facts, self._opened, self._layout = path, axes, facts, opened, layout
        self.size, self.channels, self.block = axes.size, axes.channels, (1, 1, 1)
        self.dtype = type_name(layout["dtype"])

    def check(self) -> None:
        """The stream is read to its end, where its check sum is."""
        voxels = int(np.prod(self.axes.shape)) * np.dtype(self._layout["dtype"]).itemsize
        length = 0
        try:
            with self._opened() as stream:
                while piece := stream.read(PIECE):
                    length += len(piece)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            raise BadInput(f"{self.path} is damaged or cut short: {error}.") from error
        if length < self._layout["offset"] + voxels:
            raise BadInput(f"{self.path} is cut short: its voxels end at byte {length:,}.")

    def read(self, box: Box, channel: int | None = None) -> Array:
        return self.axes.cut(self._array, box, channel).astype(self.dtype, order="F")

    @cached_property
    def _array(self) -> Array:
        try:
            with self._opened() as stream, tempfile.TemporaryFile(prefix="chunkflow-") as file:
                shutil.copyfileobj(stream, file, PIECE)
                file.flush()
                return np.memmap(file, mode="r", **self._layout)
        except (EOFError, zlib.error, zipfile.BadZipFile, ValueError) as error:
            raise DamagedInput(f"{self.path} cannot be unpacked: {error}") from error


def open_npy(path: Path, name: str, axes: str, time: int | None) -> ArrayStack:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInput(f"{path} is damaged or no NumPy array: {error}.") from error
    order = Axes.of(path, axes or "zyx"[-array.ndim :], array.shape, time)
    return ArrayStack(path, array, order, Facts())


def open_npz(path: Path, name: str, axes: str, time: int | None) -> PackedStack:
    """One array of several, by its name; the only one that has three axes needs no name."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {n.removesuffix(".npy"): _header(archive, n) for n in archive.namelist()}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path} is damaged or no .npz file: {error}.") from error
    name = chosen(path, name, {n: tuple(header["shape"]) for n, header in headers.items()})
    layout = headers[name]
    order = Axes.of(Path(f"{path}:{name}"), axes or "zyx"[-len(layout["shape"]) :], layout["shape"], time)

    def opened() -> IO[bytes]:
        with zipfile.ZipFile(path) as archive:
            return archive.open(f"{name}.npy")

    return PackedStack(path, order, Facts(), opened, layout)


def _header(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Where the voxels of an array lie within its member of the archive."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        of_version = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in of_version:
            raise ValueError(f"{name} is of version {version}")
        shape, fortran, dtype = of_version[version](stream)
        return {"shape": shape, "order": "F" if fortran else "C", "dtype": dtype, "offset": stream.tell()}


def chosen(path: Path, name: str, shapes: dict[str, tuple[int, ...]], joint: str = ":") -> str:
    """The array that is named, or the only one that can be a volume."""
    known = ", ".join(f"{n} {list(shape)}" for n, shape in sorted(shapes.items())) or "none"
    if name:
        if name not in shapes:
            raise BadInput(f"{path} has no array {name!r}; it has {known}.")
        return name
    volumes = [n for n, shape in shapes.items() if sum(length > 1 for length in shape) >= 3]
    if len(volumes) != 1:
        first = (sorted(volumes) or sorted(shapes) or ["NAME"])[0]
        raise BadInput(f"{path} holds {known}: say which one, as in {path}{joint}{first}.")
    return volumes[0]
