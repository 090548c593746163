"""Points marked in a file, as places in a layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import positions, read_points
from chunkflow.kernels.scoring.matching import Points


def marked_points(path: Path, layer: LayerInfo, columns: Sequence[str], unit: str, of_class: str) -> Points:
    """The places (voxels of the layer) of a file's points, of one class where one is named."""
    rows = of_one_class(read_points(path, layer, columns, unit), of_class, str(path))
    if "x" not in rows.column_names:
        raise BadInput(f"{path} has ids but no places: columns x, y and z are needed.")
    if not len(rows):
        raise BadInput(f"{path} has no points.")
    places = positions(rows)
    if len(np.unique(places, axis=0)) < len(places):
        raise BadInput(f"{path} has points that lie in the same place: keep one of each.")
    return places


def of_one_class(rows: pa.Table, name: str, where: str) -> pa.Table:
    """The rows of a class; all where none is named, but not where there are several to choose from.

    A table with probabilities of a class knows it, even where no row is of it.
    """
    if "class" not in rows.column_names:
        if name:
            raise BadInput(f"{where} has no classes, so no class {name}.")
        return rows
    found = sorted(value for value in pc.unique(rows["class"]).to_pylist() if value is not None)
    if name and name not in found and f"p_{name}" not in rows.column_names:
        raise BadInput(f"{where} has no class {name!r}; it has {', '.join(map(repr, found)) or 'none'}.")
    if not name and len(found) > 1:
        raise BadInput(f"{where} has points of several classes ({', '.join(found)}): name one of them.")
    return rows.filter(pc.equal(rows["class"], name)) if name else rows
