"""Judging: what a network says of the patch around each row of a table.

1. `middles` (judged_rows.py): each row's place is sent to the cell of the images that it lies in, wherever
   the table has the row.
2. `judgements`: the patches around these places are cut out of the images and judged, in batches that are
   filled up; the answers are sent to the files of the table that asked.
3. `rows` (judged_rows.py): each row gets the answer to its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, around, held_within, vec
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.networks.channels import box_read, channels_over
from chunkflow.networks.judging import BATCH, field_of, judge_patches, patches_around
from chunkflow.networks.loading import known_model, load_judge
from chunkflow.networks.models.named import NetworkModel
from chunkflow.networks.prediction import Predictor
from chunkflow.task import (
    Cell,
    Image,
    Layout,
    Objects,
    Out,
    Result,
    SentRows,
    Task,
    WindowTooSmall,
)
from tasks.networks.judged_rows import JudgedRows, Middles, files_over, middles_within, names_of
from tasks.networks.running import RunsNetwork, loaded_bytes

KINDS = ("probability", "class")


class Judge(RunsNetwork):
    """Judge each row of a table by the patch around it, through a trained network.

    The model is of the architecture `patches`. Its patch is laid around the voxel that holds the row's x, y
    and z; beyond the faces of the volume lies the mirror image.

    `judged` is the table with these columns more: `class`; `probability`, that of this class; and `p_NAME`
    for each output of the model, from 0 to 1 in steps of 1/65535. Where the model tells one probability, the
    class is NAME from the threshold on that its training has found (a half if none), else `no NAME`; of
    several classes it is the likeliest. Columns of these names of an earlier decision give way.

    Images are normalised and their voxels checked as `infer` does. No answer depends on the chunks, nor on
    which rows are judged together. In a run on a part, rows that lie beyond it have no answer, and are
    counted.
    """

    images: list[Image] = Field(min_length=1, description="what the network takes, in the order of its model")
    objects: Objects = Field(description="the table, whose x, y and z are the places of its rows")
    model: NetworkModel = Field(
        description="the model file, .safetensors, of the architecture patches, or the name of one that "
        "comes along"
    )
    batch: int | Literal["auto"] = Field("auto", description=f"patches at a time; auto is {BATCH}")
    judged: Objects = Out("the table with what the network says")

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        field_of(known_model(self.model).document, self.model)
        judged = self.judged or "judged"
        middles, judgements = f"{judged}.middles", f"{judged}.judgements"
        given: dict[str, Any] = {"images": self.images, "model": self.model, "resample": self.resample}
        runs = {name: getattr(self, name) for name in RunsNetwork.model_fields}
        return [
            ("middles", Middles(objects=self.objects, middles=middles, **given)),
            (
                "judgements",
                Judgements(
                    middles=middles,
                    objects=self.objects,
                    images=self.images,
                    judgements=judgements,
                    **runs,
                ),
            ),
            ("rows", JudgedRows(objects=self.objects, judgements=judgements, judged=judged, **given)),
        ]


class Judgements(RunsNetwork):
    """The answers to the patches around given voxels, sent to the files of the table that asked."""

    shape = SentRows()

    middles: Objects
    objects: Objects
    images: list[Image]
    judgements: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        document = known_model(self.model).document
        other = next((output for output in document.outputs if output.kind not in KINDS), None)
        if other is not None:
            raise BadInput(
                f"{self.model} gives {other.name}, which is of the kind {other.kind}: judge takes "
                f"models whose outputs are of the kinds {' and '.join(KINDS)}."
            )
        self._check_images(layout, self.images)
        objects = layout.table("objects")
        return {"judgements": objects.as_table(objects.cell)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        middles = layout.table("middles")
        return files_over(middles, region.clip(middles.bounds))

    def gathers(self, layout: Layout, region: Box) -> Grid:
        return files_over(layout.table("objects"), region)

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """Images are read where there are rows: at first there is but a voxel of them."""
        if field != "images":
            return [box] if field == "middles" else []
        document, space = known_model(self.model).document, self._space(layout)
        whole = box_read(document.input, space, self._window(layout, box))
        return [Box.of_size((1, 1, 1), whole.start), whole]

    def _window(self, layout: Layout, box: Box) -> Box:
        """The network's voxels that hold all patches with their middles in `box`."""
        space = self._space(layout)
        field = field_of(known_model(self.model).document, self.model)
        near = middles_within(box, layout.table("middles"), space)
        return held_within(near.grow(vec(side // 2 for side in field)), space.volume)

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        """A model that cannot be run is refused before the first patch is judged."""
        self.setup(layout)
        return self._decided(layout, samples, self._batch_size)

    @property
    def _batch_size(self) -> int:
        return BATCH if self.batch == "auto" else self.batch

    def setup(self, layout: Layout) -> Predictor:
        return load_judge(self.model, self._setting(layout))

    def map(self, cell: Cell, middles: pa.Table, images: list[Chunk]) -> Result:
        if not len(middles):
            return None
        judge: Predictor = cell.loaded
        document, space = judge.document, self._space(cell.layout)
        ids, which = np.unique(middles["id"].to_numpy(), return_inverse=True)
        voxels = id_voxels(ids, space.volume.size) + np.array(space.volume.start)
        patches = patches_around(voxels, field_of(document, self.model))
        window = around(patches)
        if not images[0].box.contains(box_read(document.input, space, window)):
            raise WindowTooSmall
        channels = channels_over(document.input, space, cell.values["channels"], images, window)
        steps = judge_patches(judge, channels, window, patches, cell.values["batch"])[which]
        columns = {name: steps[:, number] for number, name in enumerate(names_of(document))}
        asked = self._asked(cell, middles["file"].to_numpy())
        return pa.table({"cell": asked, "id": middles["id"].to_numpy(), **columns})

    def _asked(self, cell: Cell, files: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The cells that answers to these files of the table go to, counted within what the job covers."""
        table, grid = cell.layout.table("objects"), self.gathers(cell.layout, cell.bounds)
        whole = files_over(table, table.volume)
        known, which = np.unique(files, return_inverse=True)
        return np.array([next(grid.indexes_meeting(whole.box(file))) for file in known.tolist()])[which]

    def finish(self, cell: Cell, rows: pa.Table) -> pa.Table:
        return rows.sort_by("id") if len(rows) else self.no_rows(cell.layout)

    def no_rows(self, layout: Layout) -> pa.Table:
        names = names_of(known_model(self.model).document)
        return pa.schema([("id", pa.uint64()), *((name, pa.uint16()) for name in names)]).empty_table()

    def memory(self, layout: Layout, box: Box, voxels: int) -> int:
        """The network and its packages, a batch within it, the channels over the window of all patches."""
        file = known_model(self.model)
        judged = self._batch_size * prod(field_of(file.document, self.model))
        alike = -(-judged // prod(file.document.patch))  # patches of infer with as many voxels
        window = self._window(layout, box).voxels * (len(file.document.input.channels) + 1)
        return loaded_bytes(file, self.precision, alike) + 4 * window
