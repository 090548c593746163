"""What a cell reads: boxes of layers, rows of tables, the mask."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.data.info import LabelsInfo, TableInfo
from chunkflow.data.tables import read_table, table_pieces
from chunkflow.data.volume import Volume
from chunkflow.engine.planning.plan import Plan, Product, Step
from chunkflow.geometry import Box, ratios
from chunkflow.task import Cell


class Inputs:
    """Reads for the steps of one plan; keeps the volumes open."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._volumes: dict[tuple[str, int], Volume] = {}
        self._mask_volume: Volume | None = None
        self._mask_lock = threading.Lock()  # what is read, and what is written, are masked in two threads

    def read(self, step: Step, cell: Cell, attempt: int, without: str = "") -> tuple[dict[str, Any], int]:
        """What `map` gets: for each field a chunk, rows, or a list of them; and the bytes read.

        `attempt` says which of the boxes of `reads` is wanted: 0 for the smallest. The field `without` is
        left out.
        """
        inputs: dict[str, Any] = {}
        size = 0
        many = {role.name for role in step.task.roles() if role.many}
        for name, products in step.inputs.items():
            boxes = step.task.reads(name, cell.box, step.layout)
            if not boxes or name == without:
                continue
            box = boxes[min(attempt, len(boxes) - 1)]
            values = [self._one(step, product, box) for product in products]
            size += sum(int(v.nbytes if isinstance(v, pa.Table) else v.array.nbytes) for v in values)
            inputs[name] = values if name in many else values[0]
        return inputs, size

    def rows(self, product: Product, box: Box) -> Iterator[pa.Table]:
        """The rows of a table's files that meet `box`, in pieces; of each file one at least."""
        return table_pieces(product.table, box)

    def samples(self, step: Step) -> Iterator[Any]:
        """What `prepare` decides from, read one at a time: a chunk, rows, or a list of them, as for `map`."""
        many = {role.name for role in step.task.roles() if role.many}
        for name, box in step.task.samples(step.layout):
            values = [self._one(step, product, box) for product in step.inputs[name]]
            yield values if name in many else values[0]

    def widest(self, step: Step, box: Box) -> int:
        """How many windows `map` may ask for."""
        return max((len(step.task.reads(name, box, step.layout)) for name in step.inputs), default=1)

    def masked_out(self, step: Step, cell: Cell) -> bool:
        """Whether the mask is 0 in all that a cell's results come of.

        Voxels are masked where they are written, but rows and files come of all that is read: half of the
        surface of an object in the next block may lie in this one.
        """
        if not self._masks(step):
            return False
        box, voxel_size = cell.box, cell.voxel_size
        if step.leaves_parts:
            field, (first, *_) = next(iter(step.inputs.items()))
            boxes = step.task.reads(field, cell.box, step.layout)
            if boxes:
                box, voxel_size = boxes[-1].clip(first.info.bounds), first.info.voxel_size
        return not self._mask(box, voxel_size).any()

    def apply_mask(self, step: Step, chunk: Chunk) -> Chunk:
        """The chunk with 0 where the mask is 0, for steps that read from outside the job."""
        if not self._masks(step):
            return chunk
        keep = self._mask(chunk.box, chunk.voxel_size)
        keep = keep if chunk.array.ndim == 3 else keep[..., np.newaxis]
        return chunk.like(np.where(keep, chunk.array, np.zeros((), chunk.array.dtype)))

    def _one(self, step: Step, product: Product, box: Box) -> Chunk | pa.Table:
        if isinstance(product.info, TableInfo):
            return read_table(product.info, box)
        chunk = self._volume(product).read(box.clip(product.info.bounds))
        if product.maker is None and isinstance(product.info, LabelsInfo):
            return self.apply_mask(step, chunk)
        return chunk

    def _volume(self, product: Product) -> Volume:
        """What the job itself makes must be there, whatever its inputs may lack."""
        key = (product.info.url, product.mip)
        if key not in self._volumes:
            fill = self._plan.job.fill_missing and product.maker is None
            self._volumes[key] = Volume(product.voxels, fill)
        return self._volumes[key]

    def _masks(self, step: Step) -> bool:
        return self._plan.mask is not None and step.is_masked

    def _mask(self, box: Box, voxel_size: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
        """The mask at each voxel of `box`: its own may be larger, or smaller, and then any of them keeps the
        voxel that they lie in. Beyond the mask all is 0."""
        mask = self._plan.mask
        assert mask is not None
        larger, smaller = ratios(mask.voxel_size, voxel_size)
        own = box.refine(smaller).coarsen(larger)
        inside = own.clip(mask.bounds)
        kept = np.zeros(own.size, bool)
        if not inside.empty:
            with self._mask_lock:
                if self._mask_volume is None:
                    self._mask_volume = Volume(mask, self._plan.job.fill_missing)
                kept[inside.slices(own.start)] = self._mask_volume.read(inside).array != 0
        for axis in range(3):
            if smaller[axis] > 1:
                kept = np.logical_or.reduceat(kept, np.arange(0, kept.shape[axis], smaller[axis]), axis)
            if larger[axis] > 1:
                places = np.arange(box.start[axis], box.stop[axis]) // larger[axis] - own.start[axis]
                kept = np.take(kept, places, axis)
        return kept
