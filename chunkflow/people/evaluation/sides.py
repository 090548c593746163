"""Sides of a comparison: points of a file or table, or labels, whose objects are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.data.describe import Known, info_of
from chunkflow.data.info import ImageInfo, LabelsInfo, LayerInfo, TableInfo, table_of
from chunkflow.data.tables import read_table
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import positions, read_points
from chunkflow.formats.points.marked import of_one_class
from chunkflow.geometry import Box
from chunkflow.jobs.locate import find_layer
from chunkflow.kernels.scoring.matching import Points

DEFAULT_SCORE = "probability"
Compared = str | Path | Known
"""A file of points, a layer by its place, a table of a job as WORK:TABLE; or a table or labels as known."""


@dataclass(frozen=True)
class SideSource:
    """Source of one side of a comparison: a file of points, or a layer (labels or a table)."""

    location: str
    layer: LabelsInfo | TableInfo | None

    @property
    def is_labels(self) -> bool:
        return isinstance(self.layer, LabelsInfo)

    @classmethod
    def of(cls, compared: Compared) -> SideSource:
        """The layer or the file that is meant."""
        if not isinstance(compared, str | Path):
            return cls(compared.url, _compared(info_of(compared)))
        if Path(compared).is_file():
            return cls(str(compared), None)
        found = find_layer(compared)
        if found is None:
            raise BadInput(
                f"{compared} is neither a file of points, nor labels, nor a table (of a job: WORK:TABLE)."
            )
        return cls(str(compared), _compared(found))


def _compared(layer: LayerInfo) -> LabelsInfo | TableInfo:
    match layer:
        case LabelsInfo() | TableInfo():
            return layer
        case ImageInfo():
            raise BadInput(f"{layer.url} is an image: points, a table or labels are compared.")
    raise BadInput(f"{layer.url} is a folder of files: points, a table or labels are compared.")


def refuse_no_distance(tolerance_um: float) -> None:
    """Raise BadInput for a tolerance within which nothing could lie, or everything would."""
    if not 0 < tolerance_um < float("inf"):
        raise BadInput(f"A tolerance is a distance above 0, in micrometres, not {tolerance_um:g}.")


@dataclass(frozen=True)
class Side:
    """Points with their ids, in voxels of a layer; a score of each where there is one."""

    ids: npt.NDArray[np.uint64]
    voxels: Points
    scores: npt.NDArray[np.float64] | None = None
    score: str = ""
    classed: bool = False
    """Whether what they were taken from tells classes."""

    def within(self, box: Box | None) -> Side:
        if box is None:
            return self
        kept = ((self.voxels >= np.array(box.start)) & (self.voxels < np.array(box.stop))).all(axis=1)
        scores = None if self.scores is None else self.scores[kept]
        return replace(self, ids=self.ids[kept], voxels=self.voxels[kept], scores=scores)


def points_of(
    place: SideSource, layer: LayerInfo, columns: Sequence[str], unit: str, of_class: str, score: str | None
) -> Side:
    """The points of a file or a table, as places in the layer; of one class alone, where classes are told."""
    if place.layer is None:
        rows = read_points(Path(place.location), layer, columns, unit)
    else:
        refuse_unlike(place, layer)
        rows = read_table(table_of(place.layer), place.layer.bounds)
    missing = [axis for axis in "xyz" if axis not in rows.column_names]
    if missing:
        raise BadInput(f"{place.location} has no places: columns x, y and z are needed.")
    classed = "class" in rows.column_names
    kept = of_one_class(rows, of_class, place.location) if classed else rows
    return replace(side_of_rows(kept, place.location, score), classed=classed)


def refuse_no_classes(found: Side, true: Side, of_class: str) -> None:
    """Raise BadInput where one class is asked for and neither side tells classes."""
    if of_class and not (found.classed or true.classed):
        raise BadInput(f"Neither what was found nor the truth tells classes: leave the class {of_class} out.")


def side_of_rows(rows: pa.Table, name: str, score: str | None) -> Side:
    """Points of rows with x, y, z; numbered where they have no ids. They are ranked by the column `score`, by
    their probability where that is empty, and not at all where it is None."""
    places = positions(rows)
    if not np.isfinite(places).all():
        raise BadInput(
            f"{name}: {int((~np.isfinite(places)).any(axis=1).sum())} rows have no number as place."
        )
    numbered = pa.array(np.arange(1, len(rows) + 1, dtype=np.uint64))
    ids = (rows["id"] if "id" in rows.column_names else numbered).to_numpy().astype(np.uint64)
    scored = DEFAULT_SCORE if score == "" and DEFAULT_SCORE in rows.column_names else score
    if not scored:
        return Side(ids, places)
    if scored not in rows.column_names:
        raise BadInput(f"{name} has no column {scored}; it has {', '.join(rows.column_names)}.")
    try:
        values = pc.cast(rows[scored], pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise BadInput(f"{name}: the column {scored} holds no numbers to rank points by.") from None
    if not np.isfinite(values).all():
        raise BadInput(f"{name}: {scored} is not a number in {int((~np.isfinite(values)).sum())} rows.")
    return Side(ids, places, values, scored)


def refuse_unlike(place: SideSource, layer: LayerInfo) -> None:
    assert place.layer is not None
    if not np.allclose(place.layer.voxel_size, layer.voxel_size, rtol=1e-6):
        raise BadInput(
            f"{place.location} has voxels of {_size(place.layer)} nm, {layer.url} of {_size(layer)} nm: "
            "compare what has the same voxels."
        )


def _size(layer: LayerInfo) -> str:
    return " x ".join(f"{size:g}" for size in layer.voxel_size)
