"""A step: one task (or one part of a composite task) bound to the layers that its fields name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from chunkflow.data.info import (
    FolderInfo,
    LabelsInfo,
    LayerInfo,
    RoleKind,
    TableInfo,
    VoxelsInfo,
    table_of,
    voxels_of,
)
from chunkflow.engine.planning.stages import StageKind
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.shapes import RowByRow, Shape, Voxels
from chunkflow.task import Layout, Task

Describe = Callable[[str, int, RoleKind], LayerInfo]
"""What exists at a URL and mip: asked for every input that the job does not make."""
Key = tuple[str, int]


@dataclass(frozen=True)
class CellSizes:
    """How large the cells of a plan's steps are."""

    chunk: Vec
    """The size of the job's chunks."""
    own: Mapping[str, Vec] = field(default_factory=dict)
    """Those of steps that have a size of their own, by name."""

    def of(self, step: str) -> Vec:
        return self.own.get(step, self.chunk)


@dataclass(frozen=True)
class Product:
    """A layer at one mip, a table or a folder of files."""

    name: str
    mip: int
    info: LayerInfo
    maker: int | None
    """The step that makes it; None for what was there before."""

    @property
    def voxels(self) -> VoxelsInfo:
        """The description of an image or labels."""
        return voxels_of(self.info)

    @property
    def table(self) -> TableInfo:
        """The description of a table."""
        return table_of(self.info)


@dataclass(frozen=True)
class Step:
    """One task (or one part of a composite task) bound to its layers."""

    index: int
    name: str
    entry: str
    """The task of the job file that this step belongs to."""
    task: Task
    layout: Layout
    inputs: dict[str, tuple[Product, ...]]
    outputs: dict[str, Product]
    region: Box
    grid: Grid
    volume: Box

    @cached_property
    def shape(self) -> Shape:
        """Its task's shape; that of voxels where nothing is made that rows could go into."""
        of_rows = any(isinstance(product.info, TableInfo | FolderInfo) for product in self.outputs.values())
        return self.task.shape if of_rows else Voxels()

    @property
    def table_stage(self) -> StageKind:
        """The stage whose cells write the files of its tables."""
        return "map" if isinstance(self.shape, RowByRow) else "finish"

    @property
    def layer_outputs(self) -> list[tuple[str, Product]]:
        return [(field, p) for field, p in self.outputs.items() if isinstance(p.info, VoxelsInfo)]

    @property
    def is_masked(self) -> bool:
        """The mask holds for what comes from outside; what the job makes is masked already."""
        first = next(iter(self.inputs.values()), ())
        return bool(first) and first[0].maker is None and not isinstance(first[0].info, TableInfo)

    @property
    def leaves_parts(self) -> bool:
        """Whether its cells leave parts: rows, or the names of files."""
        files = any(isinstance(product.info, FolderInfo) for product in self.outputs.values())
        return self.shape.leaves_rows or files

    @property
    def rows_are_final_early(self) -> bool:
        """Whether an object that crosses no face of a block is known to have no piece elsewhere.

        That is so of rows found in connected labels; rows made from a table are whatever their task says.
        """
        return finds_whole_objects(self.inputs)


def finds_whole_objects(inputs: dict[str, tuple[Product, ...]]) -> bool:
    """Whether the first labels that a step reads are connected, and its rows made from them."""
    read = [products[0].info for products in inputs.values()]
    if any(isinstance(info, TableInfo) for info in read[:1]):
        return False
    labels = next((info for info in read if isinstance(info, LabelsInfo)), None)
    return labels is not None and labels.connected
