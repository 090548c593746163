"""Tasks that do nothing, for measuring what the engine itself costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, Vec, VoxelSize
from chunkflow.task import Cell, Image, Layout, Out, Task


class Nothing(Task):
    """Reads nothing, writes nothing: what is left is scheduling, handing out and recording."""

    image: Image

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return []

    def map(self, cell: Cell) -> Chunk | pa.Table | None:
        return None


class Copy(Task):
    """Makes one layer from another, for planning alone: a simulated worker maps nothing."""

    image: Image
    copied: Image = Out()

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        return image


class Near(Copy):
    """Waits for a chunk and all that touch it."""

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        return [(1, 1, 1)]


class Sections(Copy):
    """Waits for the section before, too."""

    after: ClassVar[Sequence[Vec]] = ((0, 0, -1),)


class Sleep(Task):
    """Takes two seconds and no core."""

    image: Image
    copied: Image = Out()

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return []

    def map(self, cell: Cell) -> None:
        time.sleep(2.0)
