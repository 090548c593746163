"""Tasks that do nothing, for measuring what the engine itself costs."""

from __future__ import annotations

import pyarrow as pa

from chunkflow.chunk import Chunk
from chunkflow.task import Cell, Image, Out, Task


class Nothing(Task):
    """Reads nothing, writes nothing: what is left is scheduling, handing out and recording."""

    image: Image

    def reads(self, field: str, box: object, layout: object) -> list[object]:  # type: ignore[override]
        return []

    def map(self, cell: Cell) -> Chunk | pa.Table | None:  # type: ignore[override]
        return None


class Copy(Task):
    """Makes one layer from another, for planning alone: a simulated worker maps nothing."""

    image: Image
    copied: Image = Out()

    def map(self, cell: Cell, image: Chunk) -> Chunk:  # type: ignore[override]
        return image
