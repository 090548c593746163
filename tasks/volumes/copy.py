"""A layer copied: a part of it, another mip, storage chunk or encoding."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator

from chunkflow.chunk import Chunk
from chunkflow.data.encodings import LOSSY
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.task import Cell, Layer, Layout, Out, Task


class Copy(Task):
    """Copy an image or labels, or a cut-out of them, into a layer of its own.

    Voxels keep their values, their place in space and their size; `source: name@mip` takes another mip. How
    the copy is stored is said by the job: its `storage` (the size of a storage chunk) and the target's
    `encoding` under `layers`. Unless an encoding is named there, the source's is kept if it loses nothing,
    else it is raw.
    """

    empty_from_empty: ClassVar[bool] = True

    source: Layer = Field(description="what to copy: name, or name@mip")
    target: Layer = Out("the copy")
    box: str | None = Field(
        None, description="the part to copy, in voxels of the source, as 0-512,0-512,0-128; all if left out"
    )

    @field_validator("box")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                empty = Box.parse(text).empty
            except ValueError:
                empty = True
            if empty:
                raise ValueError("write a box as 0-512,0-512,0-128 (x, y, z; from, to)")
        return text

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        source = layout.voxels("source")
        part = source.volume if self.box is None else Box.parse(self.box)
        if not source.volume.contains(part):
            raise BadInput(f"copy: the box {part} is not within {source.url}, which covers {source.volume}.")
        encoding = "raw" if source.encoding in LOSSY else source.encoding
        return {"target": source.over(part).model_copy(update={"encoding": encoding})}

    def map(self, cell: Cell, source: Chunk) -> Chunk:
        return source
