"""Stacks as microscopes leave them: a NumPy array, a TIFF file, a folder of TIFF planes; read box by box.

1. `open_stack` tells what the path is, and how its axes lie: a TIFF says so itself, an array is z, y, x.
2. What lies in one piece is mapped into memory; of all else only the planes that a box meets are decoded.
3. `check` looks at every plane's header before anything is made of them: its shape, type and length.
"""

from __future__ import annotations

import logging
import os
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import tifffile

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.geometry import Box, Vec
from tasks.stack_axes import Axes, describe, known_dtype

TIFF = (".tif", ".tiff", ".btf", ".tf8")
READABLE = "a .npy array, a TIFF stack, or a folder of TIFF planes"
MALFORMED = (
    tifffile.TiffFileError,
    struct.error,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    RuntimeError,
)
"""What tifffile and its codecs raise on a file that is no whole TIFF."""
OMISSION = re.compile(r"invalid (page|value) offset|corrupt|failed to reshape")
"""What tifffile only logs when a file is cut short, giving what is left as if it were all."""


class Stack(Protocol):
    """Voxels that can be read by boxes; x, y, z and channel whatever the file's own order."""

    size: Vec
    channels: int
    dtype: str
    by_planes: bool
    """Whether to read a few voxels of a plane the whole plane must be decoded."""

    def check(self) -> int:
        """Look at every plane's header, name the first that is damaged; how many planes there are."""

    def read(self, box: Box) -> Array:
        """The voxels x, y, z, channel of a box."""


def open_stack(source: str, axes: str = "") -> Stack:
    """The stack at a path; `axes` are its axes in order (zyx, czyx), where it does not say so itself."""
    path = Path(source)
    if not path.exists():
        raise BadInput(f"{path} does not exist.")
    if path.is_dir():
        return FolderStack(path)
    if path.suffix.lower() == ".npy":
        return open_array(path, axes)
    if path.suffix.lower() in TIFF:
        return open_tiff(path, axes)
    raise BadInput(f"{path} cannot be read: it must be {READABLE}.")


def open_array(path: Path, axes: str) -> Stack:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadInput(f"{path} is damaged or no NumPy array: {error}.") from error
    return ArrayStack(path, array, Axes.of(path, axes or "zyx"[-array.ndim :], array.shape))


class _Omissions(logging.Handler):
    """Collects what tifffile logs in this thread about parts of a file that are not there."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.thread == self.thread and OMISSION.search(message):
            self.found.append(message)


@contextmanager
def whole_tiff(path: Path) -> Iterator[tifffile.TiffFile]:
    """An open TIFF file; BadInput in the end if it turned out to be damaged, or no TIFF."""
    logger, omissions = logging.getLogger("tifffile"), _Omissions()
    logger.addHandler(omissions)
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except MALFORMED as error:
        raise BadInput(f"{path} is damaged or no TIFF: {error}.") from error
    finally:
        logger.removeHandler(omissions)
    if omissions.found:
        raise BadInput(f"{path} is cut short or damaged: {omissions.found[0]}.")


def open_tiff(path: Path, axes: str) -> Stack:
    with whole_tiff(path) as file:
        series = file.series[0]
        _ = len(series.pages)  # makes tifffile follow the pages to the end, and say what is missing
        order = Axes.of(path, axes or series.axes.lower(), series.shape)
        if series.dataoffset is not None:
            return ArrayStack(path, tifffile.memmap(path, mode="r"), order)
        return PageStack(path, series, order)


def check_pages(path: Path, series: tifffile.TiffPageSeries) -> int:
    """How many planes there are; every one's data must lie within the file."""
    length = os.path.getsize(path)
    for number, page in enumerate(series.pages):
        ends = [] if page is None else list(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
        if not ends or max(ends) > length:
            raise BadInput(f"{path} is cut short: plane {number} of {len(series.pages)} is not whole.")
    return len(series.pages)


class ArrayStack:
    """Voxels that lie in one piece, mapped into memory."""

    by_planes = False

    def __init__(self, path: Path, array: Array, axes: Axes) -> None:
        self.path, self.array, self.axes = path, array, axes
        self.size, self.channels = axes.size, axes.channels
        self.dtype = known_dtype(path, array.dtype)

    def check(self) -> int:
        return self.size[2]

    def read(self, box: Box) -> Array:
        return self.axes.cut(self.array, box).astype(self.dtype, order="F")


class PageStack:
    """A TIFF file whose planes are compressed or scattered, decoded one at a time."""

    by_planes = True

    def __init__(self, path: Path, series: tifffile.TiffPageSeries, axes: Axes) -> None:
        self.path, self.axes = path, axes
        self.size, self.channels = axes.size, axes.channels
        self.dtype = known_dtype(path, series.dtype)
        within = len(series.pages[0].shape)
        leading = axes.shape[: len(axes.shape) - within]
        if axes.x < len(leading) or axes.y < len(leading):
            raise BadInput(
                f"{path} keeps its planes along {'xyz'[axes.x]}: store it uncompressed, or plane by plane."
            )
        self.pages = np.arange(len(series.pages)).reshape(leading)

    def check(self) -> int:
        with whole_tiff(self.path) as file:
            return check_pages(self.path, file.series[0])

    def read(self, box: Box) -> Array:
        """Planes are decoded in turn into the box, so that one at a time is in memory."""
        axes, leading = self.axes, self.pages.ndim
        result = np.empty((*box.size, self.channels), dtype=self.dtype, order="F")
        try:
            with tifffile.TiffFile(self.path) as file:
                pages = file.series[0].pages
                for k in range(box.size[2]):
                    at = {axes.z: slice(box.start[2] + k, box.start[2] + k + 1)} if axes.z is not None else {}
                    wanted = tuple(at.get(axis, slice(None)) for axis in range(leading))
                    numbers = self.pages[wanted]
                    planes = np.stack([pages[int(n)].asarray() for n in numbers.ravel()])
                    one = planes.reshape((*numbers.shape, *planes.shape[1:]))
                    result[:, :, k] = self._within(one, box)
        except MALFORMED as error:
            raise DamagedInput(f"{self.path}: a plane of {box} cannot be decoded: {error}") from error
        return result

    def _within(self, planes: Array, box: Box) -> Array:
        """The x, y, c of the box from planes of one z."""
        flat = Axes(self.axes.x, self.axes.y, self.axes.z, self.axes.c, planes.shape)
        section = Box((box.start[0], box.start[1], 0), (box.stop[0], box.stop[1], 1))
        return flat.cut(planes, section)[:, :, 0]


class FolderStack:
    """One TIFF file a plane, in the natural order of their names."""

    by_planes = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = plane_files(folder)
        self.axes, self.dtype = self._header(self.files[0])
        x, y, _ = self.axes.size
        self.size, self.channels = (x, y, len(self.files)), self.axes.channels

    def _header(self, file: Path) -> tuple[Axes, str]:
        with whole_tiff(file) as tiff:
            series = tiff.series[0]
            axes = Axes.of(file, series.axes.lower(), series.shape)
            if axes.size[2] != 1:
                raise BadInput(
                    f"{file} holds {axes.size[2]} planes: in a folder every file must be one plane."
                )
            check_pages(file, series)
            return axes, known_dtype(file, series.dtype)

    def check(self) -> int:
        for file in self.files:
            axes, dtype = self._header(file)
            if (axes.size, axes.channels, dtype) != (self.axes.size, self.channels, self.dtype):
                raise BadInput(
                    f"{file} is {describe(axes.size, axes.channels, dtype)}, but {self.files[0].name} is "
                    f"{describe(self.axes.size, self.channels, self.dtype)}: all planes must be alike."
                )
        return len(self.files)

    def read(self, box: Box) -> Array:
        result = np.empty((*box.size, self.channels), dtype=self.dtype, order="F")
        section = Box((box.start[0], box.start[1], 0), (box.stop[0], box.stop[1], 1))
        for k, file in enumerate(self.files[box.start[2] : box.stop[2]]):
            try:
                plane = tifffile.imread(file)
            except MALFORMED as error:
                raise DamagedInput(f"{file} cannot be decoded: {error}") from error
            if plane.shape != self.axes.shape:
                raise DamagedInput(f"{file} is of shape {list(plane.shape)}, not {list(self.axes.shape)}")
            result[:, :, k] = self.axes.cut(plane, section)[:, :, 0]
        return result


def plane_files(folder: Path) -> list[Path]:
    """The TIFF files of a folder in natural order (2 before 10), with none left out in between."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in TIFF and not f.name.startswith(".")]
    if not files:
        raise BadInput(f"{folder} holds no TIFF planes ({', '.join(TIFF)}).")
    patterns = sorted({re.sub(r"\d+", "#", file.name) for file in files})
    if len(patterns) > 1:
        raise BadInput(
            f"{folder} holds files of more than one kind ({', '.join(patterns[:3])}): "
            "give every channel a folder of its own."
        )
    numbers = {file: [int(digits) for digits in re.findall(r"\d+", file.name)] for file in files}
    files.sort(key=lambda file: numbers[file])
    columns = list(zip(*(numbers[file] for file in files), strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) > 1:
        raise BadInput(
            f"{folder}: more than one number varies in the names of its files, as in {files[0].name}."
        )
    if varying:
        check_no_gap(files, varying[0])
    return files


def check_no_gap(files: Sequence[Path], numbers: Sequence[int]) -> None:
    """Numbers must go up in equal steps (by 1, or by the distance of planes)."""
    steps = [b - a for a, b in pairwise(numbers)]
    step = min(steps)
    for (before, after), found in zip(pairwise(files), steps, strict=True):
        if step == 0:
            raise BadInput(f"{before} and {after.name} have the same number.")
        if found != step:
            raise BadInput(
                f"{before.parent} lacks a plane between {before.name} and {after.name}: "
                f"elsewhere the numbers go up by {step}."
            )
