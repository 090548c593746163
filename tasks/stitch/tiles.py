"""Tiles of a microscope's grid: the files of each place, and their voxels, read box by box.

1. A pattern in file names, or a list (CSV), says which files there are, and which row and column each shows.
2. The grid must be whole: one file for each place, or one for each place and channel.
3. All tiles must be alike: of one shape, type and number of channels.
"""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from chunkflow.chunk import Array
from chunkflow.errors import BadInput
from chunkflow.formats.stacks.axes import made_dtype
from chunkflow.formats.stacks.source_files import source_files
from chunkflow.formats.stacks.stack import Stack, open_stack
from chunkflow.geometry import Box

TOKEN = re.compile(r"\{([^{}]*)\}")
GROUPS = {"row": r"\d+", "column": r"\d+", "tile": r"\d+", "channel": r"[^/]+?"}
NAMED = 3
"""Missing tiles that an error names; how many more there are is said."""

GridPlace = tuple[int, int]
"""A row and a column."""
TileFiles = dict[tuple[GridPlace, str], Path]
"""The file of each place and channel; '' where a file has all channels."""


class TileSource(BaseModel):
    """Tiles as a job declares them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: str
    images: tuple[str, ...]
    axes: str = ""
    columns: int | None = None
    rows: int | None = None
    order: Literal["row-major", "snake"] = "row-major"

    def find(self) -> TileGrid:
        """The grid and its files; nothing is opened."""
        found = self._listed() if self.tiles.lower().endswith(".csv") else self._named()
        rows, columns = (sorted({place[axis] for place, _ in found}) for axis in (0, 1))
        channels = self._channels(sorted({channel for _, channel in found}))
        places = [
            (row, column)
            for row in range(rows[0], rows[-1] + 1)
            for column in range(columns[0], columns[-1] + 1)
        ]
        lacking = [(p, c) for p in places for c in channels if (p, c) not in found]
        if lacking:
            names = "; ".join(_tile_name(place, channel) for place, channel in lacking[:NAMED])
            more = f", and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            raise BadInput(
                f"{self.tiles}: the grid of {rows[-1] - rows[0] + 1} rows and "
                f"{columns[-1] - columns[0] + 1} columns lacks {names}{more}."
            )
        if len(places) == 1:
            raise BadInput(
                f"{self.tiles} is one tile only, so there is nothing to stitch; chunkflow ingest takes it."
            )
        files = tuple(tuple(found[place, channel] for channel in channels) for place in places)
        return TileGrid(columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1, files)

    def files_read(self) -> list[Path]:
        """All that the tiles are read from, and the list of them where there is one; none is opened."""
        listed = [Path(self.tiles)] if self.tiles.lower().endswith(".csv") else []
        tiles = [tile for files in self.find().files for tile in files]
        return listed + [f for tile in tiles for f in ([tile] if tile.is_file() else source_files(str(tile)))]

    def _channels(self, found: list[str]) -> list[str]:
        """The channels that have files of their own, in the order of the images."""
        if found == [""]:
            return found
        if set(found) == set(self.images):
            return list(self.images)
        if len(found) != len(self.images):
            raise BadInput(
                f"{self.tiles} has {len(found)} channels ({', '.join(found)}), but {len(self.images)} images "
                f"are named ({', '.join(self.images)}): name one for each, in this order."
            )
        if not all(channel.isdigit() for channel in found):
            raise BadInput(
                f"{self.tiles} has the channels {', '.join(found)}: give the images these names, or number "
                "the channels."
            )
        return sorted(found, key=int)

    def _named(self) -> TileFiles:
        """The files whose names fit the pattern."""
        tokens = TOKEN.findall(self.tiles)
        by_number = "tile" in tokens
        if set(tokens) - {"channel"} not in ({"tile"}, {"row", "column"}):
            raise BadInput(
                f"tiles: {self.tiles} must be a .csv file, or a pattern with {{row}} and {{column}}, or with "
                "{tile}, and {channel} where every channel has a file of its own."
            )
        texts = TOKEN.split(self.tiles)[::2]
        pattern = "*".join(glob.escape(text) for text in texts)
        expression = re.escape(texts[0])
        for n, (token, text) in enumerate(zip(tokens, texts[1:], strict=True)):
            again = token in tokens[:n]
            expression += f"(?P={token})" if again else f"(?P<{token}>{GROUPS[token]})"
            expression += re.escape(text)
        matches = [(name, re.fullmatch(expression, name)) for name in sorted(glob.glob(pattern))]
        fitting = [(Path(name), match.groupdict()) for name, match in matches if match is not None]
        if not fitting:
            raise BadInput(f"No file is named as in {self.tiles}.")
        first = min(int(groups["tile"]) for _, groups in fitting) if by_number else 0
        return _one_each(
            (
                self._numbered(int(groups["tile"]) - first)
                if by_number
                else (int(groups["row"]), int(groups["column"])),
                groups.get("channel", ""),
                path,
            )
            for path, groups in fitting
        )

    def _numbered(self, number: int) -> GridPlace:
        """The place of the tile with a number, counted from 0."""
        if self.columns is None or self.rows is None:
            raise BadInput(f"{self.tiles} numbers its tiles: say the grid's columns and rows.")
        if number >= self.columns * self.rows:
            raise BadInput(
                f"{self.tiles} has a tile {number + 1} places from the first, beyond {self.columns} columns "
                f"and {self.rows} rows."
            )
        row, column = divmod(number, self.columns)
        return row, self.columns - 1 - column if self.order == "snake" and row % 2 else column

    def _listed(self) -> TileFiles:
        """The files of a CSV with the columns row, column, path, and channel where each has its own."""
        path = Path(self.tiles)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise BadInput(f"{path} cannot be read as CSV: {error}.") from error
        if not rows:
            raise BadInput(f"{path} lists no tiles.")
        missing = [name for name in ("row", "column", "path") if name not in rows[0]]
        if missing:
            raise BadInput(
                f"{path} lacks the column {missing[0]}: it must have row, column, path (and channel)."
            )
        return _one_each(
            (
                (_whole(path, number, row["row"]), _whole(path, number, row["column"])),
                (row.get("channel") or "").strip(),
                path.parent / (row["path"] or "").strip(),
            )
            for number, row in enumerate(rows, 2)
        )


def _whole(path: Path, line: int, text: str | None) -> int:
    if not re.fullmatch(r"\s*-?\d+\s*", text or ""):
        raise BadInput(f"{path}, line {line}: row and column must be whole numbers, not {text!r}.")
    return int(text or "")


def _one_each(files: Iterator[tuple[GridPlace, str, Path]]) -> TileFiles:
    found: TileFiles = {}
    for place, channel, path in files:
        other = found.setdefault((place, channel), path)
        if other != path:
            raise BadInput(f"{other} and {path.name} are both {_tile_name(place, channel)}.")
    return found


def _tile_name(place: GridPlace, channel: str) -> str:
    return f"the tile of row {place[0]}, column {place[1]}" + (f", channel {channel}" if channel else "")


@dataclass(frozen=True)
class TileGrid:
    """The tiles row by row, each as one file or as one a channel."""

    columns: int
    rows: int
    files: tuple[tuple[Path, ...], ...]

    def __len__(self) -> int:
        return len(self.files)

    def place(self, tile: int) -> GridPlace:
        return divmod(tile, self.columns)

    def pairs(self) -> list[tuple[int, int, int]]:
        """Two neighbours, and the axis along which they are so: each tile's right one, then its lower one."""
        found = []
        for tile in range(len(self)):
            row, column = self.place(tile)
            found += [(tile, tile + 1, 0)] if column + 1 < self.columns else []
            found += [(tile, tile + self.columns, 1)] if row + 1 < self.rows else []
        return found


class Tiles:
    """The tiles of a source, opened as they are asked for."""

    def __init__(self, source: TileSource) -> None:
        self.source, self.grid = source, source.find()
        self._stacks: dict[Path, Stack] = {}
        first = self._stack(self.grid.files[0][0])
        self.size, self.block = first.size, first.block
        self.dtype = made_dtype(str(self.grid.files[0][0]), first.dtype, "image")
        shown, wanted = max(first.channels, len(self.grid.files[0])), len(source.images)
        if shown != wanted or (first.channels > 1 and len(self.grid.files[0]) > 1):
            raise BadInput(
                f"{self.grid.files[0][0]} has {first.channels} channels in {len(self.grid.files[0])} files, "
                f"but {wanted} images are named ({', '.join(source.images)}): name one for each channel."
            )

    def check(self) -> int:
        """Look at all tiles' headers, and name the first that is damaged or unlike the first."""
        for path in (path for files in self.grid.files for path in files):
            self._stack(path).check()
        return len(self.grid)

    def read(self, tile: int, channel: int, box: Box) -> Array:
        """The voxels x, y, z of a box of one tile, in one channel; what is no number is 0."""
        files = self.grid.files[tile]
        own = len(files) > 1
        stack = self._stack(files[channel if own else 0])
        array = stack.read(box, 0 if own else channel)[..., 0].astype(self.dtype, copy=False)
        return np.nan_to_num(array, nan=0, posinf=0, neginf=0) if array.dtype.kind == "f" else array

    def _stack(self, path: Path) -> Stack:
        if path not in self._stacks:
            stack = open_stack(str(path), self.source.axes)
            first = self.grid.files[0][0]
            like = self._stacks.setdefault(first, stack)
            if _words(stack) != _words(like):
                raise BadInput(
                    f"{path} is {_words(stack)}, but {first.name} is {_words(like)}: all tiles must be alike."
                )
            self._stacks[path] = stack
        return self._stacks[path]


def _words(stack: Stack) -> str:
    size = " x ".join(str(n) for n in stack.size)
    channels = f" in {stack.channels} channels" if stack.channels > 1 else ""
    return f"{size} voxels (x, y, z) of {stack.dtype}{channels}"
