"""Places: which columns of a file say them, in which unit, and whether they lie in the volume."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.points.rows import Rows, first_not

Places = npt.NDArray[np.float64]
NANOMETRES = {"nm": 1.0, "um": 1e3, "mm": 1e6}
UNITS = ("voxels", *NANOMETRES)
_PLACE = re.compile(r"([xyz])(?:[ _]?[(\[]?(voxels|nm|um|µm|mm)[)\]]?)?", re.IGNORECASE)
_KEPT = re.compile(r"[xyz]_(nm|um|mm)")
"""Columns of tables, which stay beside the voxels made of them."""
_AXES = ("x", "y", "z")
CORNER = 0.1
"""What of the volume points must reach across for their unit to be plausible."""


def positions(points: pa.Table) -> Places:
    """x, y, z of each row."""
    return np.stack([points[axis].to_numpy() for axis in "xyz"], 1).astype(np.float64)


def inside(places: Places, layer: LayerInfo) -> npt.NDArray[np.bool_]:
    """Which places lie in the volume, its faces included."""
    start, stop = np.array(layer.volume.start), np.array(layer.volume.stop)
    return np.asarray(((places >= start) & (places <= stop)).all(axis=1))


@dataclass(frozen=True)
class Reading:
    """How a file's columns are read as places in a layer."""

    rows: Rows
    layer: LayerInfo
    columns: tuple[str, ...]
    """Those of x, y and z; none in a table of ids alone."""
    unit: str

    @classmethod
    def of(cls, rows: Rows, layer: LayerInfo, unit: str) -> Reading:
        wanted = "um" if unit == "µm" else unit
        if wanted and wanted not in UNITS:
            raise BadInput(f"The unit {unit!r} is unknown: it must be one of {', '.join(UNITS)}.")
        if wanted and rows.unit and wanted != rows.unit:
            raise BadInput(f"{rows.path} is in {rows.unit} by its format: leave the unit out.")
        found: dict[str, dict[str, str]] = {}
        for name in rows.schema.names:
            match = _PLACE.fullmatch(name)
            if match:
                of_unit = (match[2] or "").lower().replace("µ", "u")
                found.setdefault(of_unit, {}).setdefault(match[1].lower(), name)
        whole = {key: tuple(axes[a] for a in "xyz") for key, axes in found.items() if len(axes) == 3}
        for key in [wanted, ""] if wanted else ["", "voxels", "um", "nm", "mm"]:
            if key in whole:
                return cls(rows, layer, whole[key], key or wanted or rows.unit or "voxels")
        if found or "id" not in [name.lower() for name in rows.schema.names]:
            raise BadInput(_said_without_places(rows))
        return cls(rows, layer, (), "")

    def convert(self, piece: pa.Table, first: int) -> pa.Table:
        """A piece of the file, whose first row has this number, with its places in voxels."""
        names = piece.column_names
        made: dict[str, pa.ChunkedArray] = {}
        places: Sequence[npt.NDArray[np.float64]] = ()
        if self.columns:
            raw = [self._numbers(piece[name], name, first) for name in self.columns]
            places = [self._voxels(values, axis, self.unit) for axis, values in enumerate(raw)]
            self._check_microns(piece, places, first)
        for name in names:
            key = name.lower() if name.lower() in ("id", "class") and name.lower() not in names else name
            if name in self.columns:
                axis = self.columns.index(name)
                made["xyz"[axis]] = pa.chunked_array([places[axis]])
            if key == "id":
                made[key] = self._ids(piece[name], first)
            elif key == "class":
                made[key] = pc.cast(piece[name], pa.string())
            elif _KEPT.fullmatch(name) or not (name in self.columns or name.lower() in _AXES):
                made[name] = piece[name]
        return pa.table(made)

    def _voxels(self, values: npt.NDArray[np.float64], axis: int, unit: str) -> npt.NDArray[np.float64]:
        size = self.layer.voxel_size[axis]
        scaled = values if unit == "voxels" else values / (size / NANOMETRES[unit])
        return scaled + 0.5 if self.rows.centred else scaled

    def _numbers(self, column: pa.ChunkedArray, name: str, first: int) -> npt.NDArray[np.float64]:
        try:
            values = pc.cast(column, pa.float64()).to_numpy()
        except pa.ArrowException:
            row = first_not(column, pa.float64()) if pa.types.is_string(column.type) else 0
            raise BadInput(
                f"{self.rows.name_of(first + (row or 0))}: {name} is {column[row or 0].as_py()!r}, "
                "which is no number."
            ) from None
        finite = np.isfinite(values)
        if not finite.all():
            row = int(np.argmin(finite))
            raise BadInput(f"{self.rows.name_of(first + row)}: {name} has no number.")
        return np.asarray(values, np.float64)

    def _ids(self, column: pa.ChunkedArray, first: int) -> pa.ChunkedArray:
        row = None
        try:
            ids = pc.cast(column, pa.uint64())
            row = next((i for i in range(len(ids)) if not ids[i].is_valid), None) if ids.null_count else None
            if row is None:
                return ids
        except pa.ArrowInvalid:
            row = next(i for i in range(len(column)) if not _is_id(column[i]))
        raise BadInput(
            f"{self.rows.name_of(first + row)}: id is {column[row].as_py()!r}, not a whole number of 0 or "
            "more; let the column have another name if it names no objects."
        )

    def _check_microns(self, piece: pa.Table, places: Sequence[npt.NDArray[np.float64]], first: int) -> None:
        """Raise BadInput where the file's voxels are not those of the layer: its micrometres tell."""
        told = self.rows.centred or self.rows.unit  # points that may have been moved, their columns not
        if told or self.unit != "voxels" or not {f"{axis}_um" for axis in "xyz"} <= set(piece.column_names):
            return
        for axis, values in zip("xyz", places, strict=True):
            size = self.layer.voxel_size["xyz".index(axis)] / 1e3
            microns = self._numbers(piece[f"{axis}_um"], f"{axis}_um", first)
            wrong = np.abs(microns - values * size) > 0.01 * size + 1e-6 * np.abs(microns)
            if wrong.any():
                row = int(np.argmax(wrong))
                raise BadInput(
                    f"{self.rows.name_of(first + row)}: {axis}_um is {microns[row]:g}, but {axis} is "
                    f"{values[row]:g} voxels of {size:g} um in {self.layer.url}: its voxels are those of "
                    "another layer or mip. Name that one, or take its micrometres with unit um."
                )

    def said_outside(self, outside: int, count: int) -> str:
        """How many points lie outside, and what would bring them in."""
        fits: dict[tuple[str, str], int] = {}
        reach: dict[tuple[str, str], float] = {}
        start, size = np.array(self.layer.volume.start), np.array(self.layer.volume.size)
        for piece in self.rows.pieces():
            raw = [piece[name].cast(pa.float64()).to_numpy() for name in self.columns]
            for order in permutations(range(3)):
                for unit in [self.rows.unit] if self.rows.unit else UNITS:
                    places = [self._voxels(raw[column], axis, unit) for axis, column in enumerate(order)]
                    key = ("".join("xyz"[order.index(i)] for i in range(3)), unit)
                    made = np.stack(places, 1)
                    fits[key] = fits.get(key, 0) + int(inside(made, self.layer).sum())
                    furthest = float(((made - start) / size).max(initial=0))
                    reach[key] = max(reach.get(key, 0.0), furthest)
        # Too large a unit puts all points at the volume's first corner, where they lie inside, too.
        better = (key for key in fits if fits[key] > count - outside and reach[key] > CORNER)
        better = (key for key in better if key[0] == "xyz" or fits[key] > fits["xyz", key[1]])
        best = sorted(better, key=lambda key: (-fits[key], key[0] != "zyx"))[:4]
        said = [f"{fits[order, unit]} with {self._words(order, unit)}" for order, unit in best]
        hint = f" Inside would lie {', '.join(said)}." if said else ""
        return (
            f"{self.rows.path}: {outside} of {count} points lie outside of the volume {self.layer.volume} "
            f"(in {self.unit}).{hint}"
        )

    def _words(self, order: str, unit: str) -> str:
        """What to say for another order of axes or another unit."""
        bare = all(name.lower() in _AXES for name in self.columns)
        renamed = order != "xyz" or not (bare or unit == self.unit)
        words = [f"unit {unit}"] if unit != self.unit or (renamed and unit != "voxels") else []
        if renamed:
            new = dict(zip(self.columns, order, strict=True))
            words.append("columns " + ",".join(new.get(name, name) for name in self.rows.schema.names))
        return " and ".join(words)


def _is_id(value: pa.Scalar) -> bool:
    try:
        value.cast(pa.uint64())
    except pa.ArrowInvalid:
        return False
    return bool(value.is_valid)


def _said_without_places(rows: Rows) -> str:
    names = rows.schema.names
    example = ",".join([*"zyx", *names][: max(3, len(names))])
    return (
        f"{rows.path} has the columns {', '.join(names) or 'none'}; x, y, z (in voxels, or with a unit) or "
        f"x_um, y_um, z_um are needed. Name them all in the order of the file, as in columns {example}."
    )
