"""Rows that are judged: the voxels that they lie in, sent to where images are read, and the answers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import LayerInfo, TableInfo
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.geometry import Box, Grid, vec
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import known_model
from chunkflow.networks.models.named import NetworkModel
from chunkflow.networks.placement import FULL, least_step
from chunkflow.networks.prediction import Steps
from chunkflow.networks.space import Space
from chunkflow.people.learning.classes import class_columns, with_columns
from chunkflow.task import Cell, Counts, Image, Layout, Objects, Out, RowByRow, SentRows, Task
from tasks.networks.running import space_of


class LocatesRows(Task):
    """What the first and the last step have in common: they tell the voxels that rows lie in."""

    objects: Objects
    images: list[Image]
    model: NetworkModel
    resample: bool

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [] if field == "images" else [box]

    def _middles(
        self, layout: Layout, objects: pa.Table
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
        """The voxels of the table that the rows lie in, and the ids of those of the network."""
        table, space = layout.table("objects"), space_of(layout, self.model, self.resample)
        places = self._places(objects)
        moved = places * np.array(ratios_of(table, space))
        inside = _within(places, table.volume) & _within(moved, space.volume)
        if not inside.all():
            row = int(np.argmin(inside))
            raise BadInput(
                f"judge: object {objects['id'][row].as_py()} lies at {places[row].tolist()}, outside of the "
                "volume: leave it out of the table."
            )
        voxels = _voxels(moved, space.volume) - np.array(space.volume.start)
        return _voxels(places, table.volume), voxel_ids(voxels, space.volume.size)

    def _places(self, objects: pa.Table) -> npt.NDArray[np.float64]:
        for axis in "xyz":
            if axis not in objects.column_names:
                raise BadInput(
                    f"judge: the table {self.objects} has no column {axis} to tell the places of its rows; "
                    f"it has {', '.join(objects.column_names)}."
                )
            kind = objects[axis].type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise BadInput(f"judge: the column {axis} of {self.objects} holds {kind}, not numbers.")
        return np.stack([objects[axis].to_numpy().astype(np.float64) for axis in "xyz"], 1)


class Middles(LocatesRows):
    """The network's voxels that rows lie in, filed by where the images are read."""

    shape = SentRows(row_by_row=True)

    middles: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        """As large as the job's chunks are in voxels of the images."""
        table, image = layout.table("objects"), layout.images("images")[0]
        sizes = zip(layout.chunk, image.voxel_size, table.voxel_size, strict=True)
        return {"middles": table.as_table(vec(max(round(n * i / t), 1) for n, i, t in sizes))}

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return files_over(layout.table("middles"), region)

    def map(self, cell: Cell, objects: pa.Table) -> pa.Table:
        voxels, ids = self._middles(cell.layout, objects)
        here = _covered(voxels, cell.bounds)
        grid, table = self.gathers(cell.layout, cell.bounds), cell.layout.table("objects")
        cells = (voxels[here] - np.array(grid.anchor)) // np.array(grid.cell) - np.array(grid.first)
        nx, ny, _ = grid.shape
        file = next(files_over(table, table.volume).indexes_meeting(cell.box))
        return pa.table(
            {
                "cell": cells[:, 0] + nx * (cells[:, 1] + ny * cells[:, 2]),
                "id": ids[here],
                "file": np.full(len(cells), file, np.int64),
            }
        )

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        if not len(rows):
            return self.no_rows(cell.layout)
        return rows.sort_by([("id", "ascending"), ("file", "ascending")])

    def no_rows(self, layout: Layout) -> pa.Table:
        return pa.schema([("id", pa.uint64()), ("file", pa.int64())]).empty_table()


class JudgedRows(LocatesRows):
    """The rows of the table, each with the answer to its place."""

    shape = RowByRow()
    version: ClassVar[int] = 2

    judgements: Objects
    judged: Objects = Out()

    def map(self, cell: Cell, objects: pa.Table, judgements: pa.Table) -> tuple[pa.Table, Counts]:
        voxels, ids = self._middles(cell.layout, objects)
        known = judgements["id"].to_numpy()
        number = np.searchsorted(known, ids)
        found = number < len(known)
        found[found] = known[number[found]] == ids[found]
        if (_covered(voxels, cell.bounds) & ~found).any():
            url = cell.layout.table("judgements").url
            raise DamagedInput(f"The table {url} lacks the answers to some rows of {self.objects}.")
        document = known_model(self.model).document
        names = names_of(document)
        steps = np.zeros((len(objects), len(names)), np.uint16)
        for output, name in enumerate(names):
            steps[found, output] = judgements[name].to_numpy()[number[found]]
        columns, counts = _decided(document, steps, found)
        for output, name in enumerate(names):
            columns[name] = pa.array(steps[:, output] / np.float32(FULL), mask=~found)
        if not found.all():
            counts["without an answer, as they lie beyond the part"] = int((~found).sum())
        return with_columns(objects, columns), Counts(counts)


def _decided(
    document: ModelDocument, steps: Steps, found: npt.NDArray[np.bool_]
) -> tuple[dict[str, pa.Array], dict[str, int]]:
    """The class of each row, and how many are of each; several outputs that are no classes decide nothing."""
    outputs = document.outputs
    if [output.kind for output in outputs] == ["probability"]:
        classes = [outputs[0].name, f"no {outputs[0].name}"]
        steps = np.concatenate([steps, FULL - steps], axis=1)
        chosen = (steps[:, 0] < least_step(outputs[0].taken_from)).astype(np.int64)
    elif len(document.indexes_of_classes) == len(outputs):
        classes = [output.name for output in outputs]
        chosen = steps.argmax(axis=1)
    else:
        return {}, {}
    return class_columns(classes, chosen, steps / np.float32(FULL), found)


def names_of(document: ModelDocument) -> list[str]:
    """The columns of a model's outputs."""
    return [f"p_{output.name}" for output in document.outputs]


def files_over(table: TableInfo, bounds: Box) -> Grid:
    """The files of a table, if `bounds` were all that it covers."""
    return table.model_copy(update={"bounds": bounds}).grid


def ratios_of(table: TableInfo, space: Space) -> tuple[float, float, float]:
    """How many times as large a table's voxels are as those of a network."""
    x, y, z = (a / b for a, b in zip(table.voxel_size, space.voxel_size, strict=True))
    return x, y, z


def middles_within(box: Box, table: TableInfo, space: Space) -> Box:
    """The network's voxels that rows of a table may lie in whose places are in `box`, and a voxel more, as
    products are rounded."""
    sides = list(zip(box.start, box.stop, ratios_of(table, space), strict=True))
    start = vec(floor(a * ratio) for a, _, ratio in sides)
    return Box(start, vec(ceil(b * ratio) + 1 for _, b, ratio in sides))


def _within(places: npt.NDArray[np.float64], volume: Box) -> npt.NDArray[np.bool_]:
    """Which places lie in a volume, its faces with it."""
    return np.asarray(((places >= np.array(volume.start)) & (places <= np.array(volume.stop))).all(axis=1))


def _voxels(places: npt.NDArray[np.float64], volume: Box) -> npt.NDArray[np.int64]:
    """The voxels that places lie in; the end of a volume is in its last."""
    return np.asarray(np.minimum(np.floor(places).astype(np.int64), np.array(volume.stop) - 1))


def _covered(voxels: npt.NDArray[np.int64], box: Box) -> npt.NDArray[np.bool_]:
    return np.asarray(((voxels >= np.array(box.start)) & (voxels < np.array(box.stop))).all(axis=1))
