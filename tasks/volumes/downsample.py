"""Coarser mips of a layer, so that it can be looked at, and worked on, from far away."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LabelsInfo, LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec
from chunkflow.kernels.images.pooling import mip_factors, pool
from chunkflow.task import Cell, Layer, Layout, Out, Task
from chunkflow.words import split_mip

Factor = tuple[int, int, int]


class Downsample(Task):
    """Make the mips of a layer, each from the one before: one or more, until all fits one storage chunk.

    Images are averaged (whole numbers rounded half up), labels get the id that most voxels have (of several
    such the smallest). Each mip halves the finest axes until voxels are near cubes, then all; `factor`
    overrides that. Blocks count from voxel 0; those at the border pool what exists.
    """

    layer: Layer = Field(description="what to downsample: name, or name@mip to begin from a mip")
    target: Layer = Out(
        "a layer of its own for the mips, its first being the coarser of `layer`; by default they are "
        "further mips of `layer`, which the job must then make"
    )
    mips: int | None = Field(
        None, ge=1, le=24, description="how many mips to make; until all fits one storage chunk if left out"
    )
    factor: Factor | None = Field(None, description="the same for every mip, as in [2, 2, 1]")
    method: Literal["mean", "mode"] | None = Field(
        None, description="mean for images and mode for labels if left out"
    )

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        info = layout.info("layer")
        if self.factor is not None and (min(self.factor) < 1 or max(self.factor) == 1):
            raise BadInput(
                f"downsample: the factor {list(self.factor)} makes nothing coarser; one as [2, 2, 1] does."
            )
        factors = mip_factors(
            info.voxel_size, info.volume.start, info.volume.stop, layout.storage, self.mips, self.factor
        )
        name, level = split_mip(self.layer)
        source, first = self.layer, (level or 0) + 1
        if self.target:
            name, first = self.target, 0
        steps: list[tuple[str, Task]] = []
        for mip, factor in enumerate(factors, first):
            target = f"{name}@{mip}"
            steps.append(
                (f"mip{mip}", Coarser(layer=source, target=target, factor=factor, method=self.method))
            )
            source = target
        return steps


class Coarser(Task):
    """One mip from the one before."""

    empty_from_empty: ClassVar[bool] = True

    layer: Layer
    target: Layer = Out()
    factor: Factor
    method: Literal["mean", "mode"] | None = None

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        finer = layout.voxels("layer")
        x, y, z = (v * f for v, f in zip(finer.voxel_size, self.factor, strict=True))
        return {"target": finer.over(finer.volume.coarsen(self.factor), (x, y, z))}

    def reads(self, field: str, box: Box, layout: Layout) -> list[Box]:
        return [box.refine(self.factor)]

    def map(self, cell: Cell, layer: Chunk) -> Chunk:
        of_labels = isinstance(cell.layout.info("layer"), LabelsInfo)
        method = self.method or ("mode" if of_labels else "mean")
        pooled = pool(layer.array, layer.box.start, vec(self.factor), method)
        return Chunk(pooled, layer.box.coarsen(self.factor), cell.voxel_size)
