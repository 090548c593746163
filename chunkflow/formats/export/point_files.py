"""Rows that have places as files of other programs: napari's points, cellfinder's markers, Neuroglancer's
annotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.export.row_files import CsvWriter, is_text, plain
from chunkflow.formats.points.cellfinder import ROOT, TYPES
from chunkflow.formats.points.neuroglancer import FLAGS, NOTHING, SEGMENT, property_name

MOST_DRAWN = 10_000
"""Annotations that a browser still handles where they lie in its state."""
MOVED = ("x", "y", "z", "x_um", "y_um", "z_um")
"""What a point that is moved in another program would leave behind, wrong."""
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32")
MARKER = "   <Marker><MarkerX>%d</MarkerX><MarkerY>%d</MarkerY><MarkerZ>%d</MarkerZ></Marker>\n"


def check_places(schema: pa.Schema, program: str) -> None:
    lacking = [axis for axis in "xyz" if axis not in schema.names]
    if lacking:
        raise BadInput(f"{program} shows points: the table has no column {lacking[0]}.")


class NapariWriter:
    """napari's points: z, y, x of each, counted from the middle of the first voxel; all else as features."""

    def __init__(self, path: Path, schema: pa.Schema, info: LayerInfo) -> None:
        check_places(schema, "napari")
        self._first = 0
        self._csv = CsvWriter(path, self._table(schema.empty_table()).schema)

    def write(self, rows: pa.Table) -> None:
        self._csv.write(self._table(rows))
        self._first += len(rows)

    def close(self) -> None:
        self._csv.close()

    def _table(self, rows: pa.Table) -> pa.Table:
        columns: dict[str, Any] = {"index": pa.array(range(self._first, self._first + len(rows)), pa.int64())}
        columns |= {f"axis-{n}": pc.subtract(rows[axis], 0.5) for n, axis in enumerate("zyx")}
        return pa.table(columns | {n: rows[n] for n in rows.column_names if n not in MOVED})


class CellfinderWriter:
    """cellfinder's XML: the voxel of each row, by its class; rows without are candidates."""

    def __init__(self, path: Path, schema: pa.Schema, info: LayerInfo) -> None:
        check_places(schema, "cellfinder")
        self._type = 0
        self._file = path.open("w", encoding="utf-8")
        name = escape(info.url.rpartition("/")[2])
        self._file.write(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<{ROOT}>\n <Image_Properties>\n'
            f"  <Image_Filename>{name}</Image_Filename>\n </Image_Properties>\n"
            " <Marker_Data>\n  <Current_Type>1</Current_Type>\n"
        )

    def write(self, rows: pa.Table) -> None:
        types = np.array([self._type_of(name) for name in _classes(rows)], np.int64)
        voxels = np.floor(np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)).astype(np.int64)
        for row in np.argsort(types, kind="stable"):
            if types[row] != self._type:
                self._end_type()
                self._type = int(types[row])
                self._file.write(f"  <Marker_Type>\n   <Type>{self._type}</Type>\n")
            self._file.write(MARKER % tuple(voxels[row]))

    def close(self) -> None:
        self._end_type()
        self._file.write(f" </Marker_Data>\n</{ROOT}>\n")
        self._file.close()

    def _end_type(self) -> None:
        if self._type:
            self._file.write("  </Marker_Type>\n")

    def _type_of(self, name: str | None) -> int:
        if name is not None and name not in TYPES:
            raise BadInput(
                f"cellfinder knows the classes {', '.join(TYPES)}, not {name}: leave the column class out "
                "(and choose rows by it), or write another format."
            )
        return TYPES[name or "unknown"]


def _classes(rows: pa.Table) -> list[str | None]:
    if "class" not in rows.column_names:
        return [None] * len(rows)
    classes: list[str | None] = pc.cast(rows["class"], pa.string()).to_pylist()
    return classes


class NeuroglancerWriter:
    """An annotation layer for a state of Neuroglancer: points that can be edited in the browser."""

    def __init__(self, path: Path, schema: pa.Schema, info: LayerInfo) -> None:
        check_places(schema, "Neuroglancer")
        self._path, self._info, self._rows = path, info, schema.empty_table()

    def write(self, rows: pa.Table) -> None:
        self._rows = pa.concat_tables([self._rows, rows])
        if len(self._rows) > MOST_DRAWN:
            raise BadInput(
                f"The table has more than {MOST_DRAWN:,} rows, too many for points that can be edited in a "
                "browser: choose some, or show them all as a layer made by annotate."
            )

    def close(self) -> None:
        """What was gathered is written; the file is thrown away where writing failed."""
        rows = self._rows
        shown = [n for n in rows.column_names if n not in ("id", *MOVED)]
        properties = [_property(name, rows[name]) for name in shown]
        drawn = zip(
            rows["id"].to_pylist() if "id" in rows.column_names else range(1, len(rows) + 1),
            zip(*(rows[axis].to_pylist() for axis in "xyz"), strict=True),
            zip(*(values for _, values in properties), strict=True) if properties else [()] * len(rows),
            strict=True,
        )
        document = {
            "type": "annotation",
            "name": self._info.url.rpartition("/")[2],
            "source": {
                "url": "local://annotations",
                "transform": {"outputDimensions": dimensions(self._info)},
            },
            "annotationProperties": [described for described, _ in properties],
            "annotationRelationships": [SEGMENT],
            "annotations": [
                {"type": "point", "id": str(i), "point": place, "segments": [[str(i)]], "props": list(values)}
                for i, place, values in drawn
            ],
        }
        self._path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def dimensions(info: LayerInfo) -> dict[str, Any]:
    """The voxels of a layer as Neuroglancer says them."""
    return {axis: [float(f"{v}e-9"), "m"] for axis, v in zip("xyz", info.voxel_size, strict=True)}


def _property(name: str, column: pa.ChunkedArray) -> tuple[dict[str, Any], list[Any]]:
    """How a column is described, and its values: text and flags by number, each number with its name."""
    described: dict[str, Any] = {"id": property_name(name), "description": name}
    if is_text(column.type) or pa.types.is_boolean(column.type):
        texts = [FLAGS[v] if isinstance(v, bool) else NOTHING if v is None else v for v in column.to_pylist()]
        flags = pa.types.is_boolean(column.type) and NOTHING not in texts
        labels = FLAGS if flags else sorted({*texts} or {NOTHING})
        numbers = {text: number for number, text in enumerate(labels)}
        described |= {"type": "uint16", "enum_values": list(numbers.values()), "enum_labels": labels}
        return described, [numbers[text] for text in texts]
    kind = str(column.type)
    if kind in ("int64", "uint64"):
        low, high = (pc.min_max(column)[end].as_py() or 0 for end in ("min", "max"))
        kind = next((k for k in ("int32", "uint32") if _holds(k, low, high)), "float32")
    values = [plain(value) for value in column.to_pylist()]
    if None in values:
        raise BadInput(
            f"The column {name} has rows without a number, for which Neuroglancer has no word: choose the "
            "other columns."
        )
    return described | {"type": kind if kind in INTEGERS else "float32"}, values


def _holds(kind: str, low: int, high: int) -> bool:
    limits = np.iinfo(kind)
    return bool(limits.min <= low and high <= limits.max)
