"""TIFF files and folders of TIFF planes, read strip by strip or tile by tile.

1. A file whose voxels lie in one piece is mapped into memory.
2. Of any other, only the strips or tiles that a box meets are decoded, one plane after the other.
3. In a folder every file is one plane, in the natural order of their names, and none may be missing.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import tifffile

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.extras import missing_package
from chunkflow.formats.stacks.arrays import ArrayStack
from chunkflow.formats.stacks.axes import Axes, type_name
from chunkflow.formats.stacks.facts import Facts
from chunkflow.formats.stacks.outside import refuse_tiffs_elsewhere
from chunkflow.formats.stacks.stack import TIFF, Stack
from chunkflow.formats.stacks.tiff_facts import facts_of
from chunkflow.geometry import Box, Vec

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
            refuse_tiffs_elsewhere(file)
            yield file
    except MALFORMED as error:
        if "imagecodecs" in str(error):
            raise missing_package("imagecodecs", f"Reading {path}, as it is compressed,") from error
        raise BadInput(f"{path} is damaged or no TIFF: {error}.") from error
    finally:
        logger.removeHandler(omissions)
    if omissions.found:
        raise BadInput(f"{path} is cut short or damaged: {omissions.found[0]}.")


def open_tiff(path: Path, name: str, axes: str, time: int | None) -> Stack:
    with whole_tiff(path) as file:
        number = largest_image(path, file)
        series = file.series[number]
        _ = len(series.pages)  # makes tifffile follow the pages to the end, and say what is missing
        order = Axes.of(path, axes or series.axes.lower(), series.shape, time)
        facts = facts_of(file, order.channels)
        if series.dataoffset is not None:
            return ArrayStack(path, tifffile.memmap(path, series=number, mode="r"), order, facts)
        return PageStack(path, number, series, order, facts)


def largest_image(path: Path, file: tifffile.TiffFile) -> int:
    """Which of a file's images is the stack; smaller ones are thumbnails and the like."""
    shapes = [series.shape for series in file.series]
    largest = max(shapes, key=prod)
    if shapes.count(largest) > 1:
        raise BadInput(
            f"{path} holds {shapes.count(largest)} images of sizes {list(largest)} and does not say how they "
            "belong together: save them as one stack, or each as a file of its own."
        )
    return shapes.index(largest)


class PageStack:
    """A TIFF file whose planes are compressed or scattered, decoded piece by piece."""

    def __init__(
        self, path: Path, number: int, series: tifffile.TiffPageSeries, axes: Axes, facts: Facts
    ) -> None:
        """`number` is that of the series in the file."""
        self.path, self.number, self.axes, self.facts = path, number, axes, facts
        self.size, self.channels = axes.size, axes.channels
        self.dtype = type_name(series.dtype)
        page = series.pages[0]
        self.leading = len(axes.shape) - len(page.shape)
        for axis, letter in ((axes.x, "x"), (axes.y, "y")):
            if axis < self.leading or page.axes[axis - self.leading] not in "XY":
                raise BadInput(
                    f"{path} keeps its planes along {letter}: store it uncompressed, or plane by plane."
                )
        if axes.z is not None and axes.z >= self.leading:
            raise BadInput(f"{path} has z within its planes: store it uncompressed, or plane by plane.")
        self.pages = np.arange(len(series.pages)).reshape(axes.shape[: self.leading])
        rows, columns = page.chunks[-3:-1] if page.axes.endswith("S") else page.chunks[-2:]
        self.block: Vec = (columns, rows, 1) if axes.x > axes.y else (rows, columns, 1)

    def check(self) -> None:
        """Every plane's data must lie within its file, and the first piece must be decodable."""
        with whole_tiff(self.path) as file:
            pages = file.series[self.number].pages
            for k, page in enumerate(pages):
                if page is None or not lies_within_file(page):
                    raise BadInput(f"{self.path} is cut short: plane {k} of {len(pages)} is not whole.")
            read_section(pages[0], slice(0, 1), slice(0, 1))

    def read(self, box: Box, channel: int | None = None) -> Array:
        """Planes are decoded in turn into the box, so that one at a time is in memory."""
        index = self.axes.index(box, channel)
        leading, within = index[: self.leading], index[self.leading :]
        channels = self.channels if channel is None else 1
        result = np.empty((*box.size, channels), dtype=self.dtype, order="F")
        section = Box((box.start[0], box.start[1], 0), (box.stop[0], box.stop[1], 1))
        try:
            with tifffile.TiffFile(self.path) as file:
                pages = file.series[self.number].pages
                for k in range(box.size[2]):
                    at = list(leading)
                    if self.axes.z is not None:
                        at[self.axes.z] = slice(box.start[2] + k, box.start[2] + k + 1)
                    numbers = self.pages[tuple(at)]
                    planes = [self._plane(pages[int(number)], within) for number in numbers.ravel()]
                    part = np.stack(planes).reshape((*numbers.shape, *planes[0].shape))
                    result[:, :, k] = self.axes.arranged(part, section)[:, :, 0]
        except MALFORMED as error:
            raise DamagedInput(f"{self.path}: a plane of {box} cannot be decoded: {error}") from error
        return result

    def _plane(self, page: tifffile.TiffPage, within: Sequence[int | slice]) -> Array:
        """What is wanted of one page: its rows and columns by their pieces, then the samples."""
        wanted = dict(zip(page.axes, within, strict=True))
        rows, columns = wanted["Y"], wanted["X"]
        assert isinstance(rows, slice)
        assert isinstance(columns, slice)
        section = read_section(page, rows, columns)
        return section[tuple(slice(None) if a in "XY" else wanted[a] for a in page.axes)]


def lies_within_file(page: tifffile.TiffPage) -> bool:
    ends = list(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    return bool(ends) and max(ends) <= page.parent.filehandle.size


def read_section(page: tifffile.TiffPage, rows: slice, columns: slice) -> Array:
    """Some rows and columns of a page, decoding only the strips or tiles that they meet."""
    frame, handle = page.keyframe, page.parent.filehandle
    height, width = rows.stop - rows.start, columns.stop - columns.start
    shape = [{"Y": height, "X": width}.get(a, n) for a, n in zip(page.axes, page.shape, strict=True)]
    separate, _, _, _, samples = frame.shaped
    result = np.full((separate, 1, height, width, samples), frame.nodata, frame.dtype)
    if handle.closed:  # another file of a set, which tifffile has closed once its pages were listed
        handle.open()
    more = {"_fullsize": frame.is_tiled}
    if frame.compression in (6, 7, 34892, 33007):  # JPEG keeps its tables beside the pieces
        more |= {"jpegtables": page.jpegtables, "jpegheader": frame.jpegheader}
    for number in range(len(page.databytecounts)):
        _, (s, d, top, left, _), (_, high, wide, _) = frame.decode(None, number, _fullsize=frame.is_tiled)
        top_in, left_in = max(rows.start, top), max(columns.start, left)
        end_row, end_column = min(rows.stop, top + high), min(columns.stop, left + wide)
        if top_in >= end_row or left_in >= end_column or not page.databytecounts[number]:
            continue
        handle.seek(page.dataoffsets[number])
        data = handle.read(page.databytecounts[number])
        piece, _, _ = frame.decode(data, number, **more)
        result[
            s,
            d,
            top_in - rows.start : end_row - rows.start,
            left_in - columns.start : end_column - columns.start,
        ] = piece[0, top_in - top : end_row - top, left_in - left : end_column - left]
    return result.reshape(shape)


def open_folder(path: Path, name: str, axes: str, time: int | None) -> Stack:
    return FolderStack(path, axes.replace("z", ""), time)


class FolderStack:
    """One TIFF file a plane, in the natural order of their names."""

    def __init__(self, folder: Path, axes: str = "", time: int | None = None) -> None:
        """`axes` and `time` are those of each plane."""
        self.folder, self._axes, self._time = folder, axes, time
        self.files = plane_files(folder)
        self.size: Vec = (*self.first.size[:2], len(self.files))
        self.channels, self.dtype, self.facts = self.first.channels, self.first.dtype, self.first.facts
        self.block = self.first.block

    @cached_property
    def first(self) -> Stack:
        return self._plane(self.files[0])

    def _plane(self, file: Path) -> Stack:
        plane = open_tiff(file, "", self._axes, self._time)
        if plane.size[2] != 1:
            raise BadInput(f"{file} holds {plane.size[2]} planes: in a folder every file must be one plane.")
        return plane

    def check(self) -> None:
        for file in self.files:
            plane = self._plane(file)
            plane.check()
            if said_of(plane) != said_of(self.first):
                raise BadInput(
                    f"{file} is {said_of(plane)}, but {self.files[0].name} is {said_of(self.first)}: "
                    "all planes must be alike."
                )

    def read(self, box: Box, channel: int | None = None) -> Array:
        channels = self.channels if channel is None else 1
        result = np.empty((*box.size, channels), dtype=self.dtype, order="F")
        section = Box((box.start[0], box.start[1], 0), (box.stop[0], box.stop[1], 1))
        for k, file in enumerate(self.files[box.start[2] : box.stop[2]]):
            try:
                plane = self._plane(file)
            except BadInput as error:  # it was whole when it was checked
                raise DamagedInput(str(error)) from error
            if said_of(plane) != said_of(self.first):
                raise DamagedInput(f"{file} is {said_of(plane)}, not {said_of(self.first)}")
            result[:, :, k] = plane.read(section, channel)[:, :, 0]
        return result


def said_of(plane: Stack) -> str:
    channels = f" in {plane.channels} channels" if plane.channels > 1 else ""
    return f"{plane.size[0]} by {plane.size[1]} pixels of {plane.dtype}{channels}"


def plane_files(folder: Path) -> list[Path]:
    """The TIFF files of a folder in natural order (2 before 10), with none left out in between."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in TIFF and not f.name.startswith(".")]
    if not files:
        raise BadInput(f"{folder} holds no TIFF planes ({', '.join(TIFF)}), and is no Zarr or N5.")
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
