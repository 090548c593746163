"""cellfinder's XML: markers by type, each a whole voxel counted from 0.

Type 2 is a cell. Type 1 is a candidate of which nothing is known, as long as no marker is of type 2; once
there are, the file has been classified, and type 1 is no cell. -1 is an artefact.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.formats.points.rows import BATCH, Rows

ROOT = "CellCounter_Marker_File"
CLASSES = {-1: "artefact", 1: "no cell", 2: "cell"}
TYPES = {name: number for number, name in CLASSES.items()} | {"unknown": 1}


def open_cellfinder(path: Path) -> Rows:
    """The markers of a file."""
    types: set[int] = set()
    for kind, _ in _markers(path):
        types.add(kind)
    fields = [(axis, pa.float64()) for axis in "xyz"]
    if types - {1}:  # candidates alone have no class
        fields.append(("class", pa.string()))
    schema = pa.schema(fields)

    def pieces() -> Iterator[pa.Table]:
        batch: list[tuple[int, tuple[float, ...]]] = []
        for marker in _markers(path):
            batch.append(marker)
            if len(batch) == BATCH:
                yield _table(batch, schema)
                batch = []
        if batch:
            yield _table(batch, schema)

    return Rows(path, schema, pieces, "voxels", True, "marker")


def _table(batch: list[tuple[int, tuple[float, ...]]], schema: pa.Schema) -> pa.Table:
    places = np.array([place for _, place in batch], np.float64).reshape(-1, 3)
    columns: list[Any] = [places[:, axis] for axis in range(3)]
    if len(schema) > 3:
        columns.append([CLASSES.get(kind, f"type {kind}") for kind, _ in batch])
    return pa.table(columns, schema=schema)


def _markers(path: Path) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Type and place of each marker; what was read is let go of, so that a file may have millions."""
    kind, number = 0, 0
    parents: list[ElementTree.Element] = []
    try:
        for event, element in ElementTree.iterparse(path, ("start", "end")):
            if event == "start":
                if not parents and element.tag != ROOT:
                    raise BadInput(f"{path} is XML, but not cellfinder's: it begins with <{element.tag}>.")
                parents.append(element)
                continue
            parents.pop()
            if element.tag == "Type":
                kind = int(element.text or "")
            elif element.tag == "Marker":
                place = tuple(float(element.findtext(f"Marker{axis}") or "nan") for axis in "XYZ")
                number += 1
                yield kind, place
                parents[-1].remove(element)
    except ElementTree.ParseError as error:
        raise BadInput(f"{path} is not whole XML: {error}.") from None
    except ValueError as error:
        raise BadInput(f"{path}, marker {number + 1}: {error}.") from None
