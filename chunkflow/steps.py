"""A step: one task (or one part of a composite task) bound to the layers that its fields name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chunkflow.geometry import Box, Grid, Vec
from chunkflow.roles import RoleKind
from chunkflow.shapes import RowByRow, Shape, Voxels
from chunkflow.stages import StageKind
from chunkflow.task import Layout, Task
from chunkflow.volume import LayerInfo

Describe = Callable[[str, int, RoleKind], LayerInfo]
"""What exists at a URL and mip: asked for every input that the job does not make."""
Key = tuple[str, int]


@dataclass(frozen=True)
class Product:
    """A layer at one mip, a table or a folder of files."""

    name: str
    mip: int
    info: LayerInfo
    maker: int | None
    """The step that makes it; None for what was there before."""


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

    @property
    def shape(self) -> Shape:
        """Its task's shape; that of voxels where nothing is made that rows could go into."""
        made = {product.info.kind for product in self.outputs.values()}
        return self.task.shape if made & {"table", "folder"} else Voxels()

    @property
    def table_stage(self) -> StageKind:
        """The stage whose cells write the files of its tables."""
        return "map" if isinstance(self.shape, RowByRow) else "finish"

    @property
    def layer_outputs(self) -> list[tuple[str, Product]]:
        return [(field, p) for field, p in self.outputs.items() if p.info.kind in ("image", "segmentation")]

    @property
    def is_masked(self) -> bool:
        """The mask holds for what comes from outside; what the job makes is masked already."""
        first = next(iter(self.inputs.values()), ())
        return bool(first) and first[0].maker is None and first[0].info.kind != "table"

    @property
    def leaves_parts(self) -> bool:
        """Whether its cells leave parts: rows, or the names of files."""
        made = (product.info.kind for product in self.outputs.values())
        return self.shape.leaves_rows or "folder" in made

    @property
    def rows_are_final_early(self) -> bool:
        """Whether an object that crosses no face of a block is known to have no piece elsewhere.

        That is so of rows found in connected labels; rows made from a table are whatever their task says.
        """
        return finds_whole_objects(self.inputs)


def finds_whole_objects(inputs: dict[str, tuple[Product, ...]]) -> bool:
    """Whether the first labels that a step reads are connected, and its rows made from them."""
    if any(products[0].info.kind == "table" for products in list(inputs.values())[:1]):
        return False
    labels = (products[0].info for products in inputs.values() if products[0].info.kind == "segmentation")
    first = next(labels, None)
    return first is not None and first.connected


def finish_cell(cell: Vec) -> Vec:
    """A cube with a power of two as its side, of a few chunks: a range of ids, as ids are Morton codes."""
    side = 1 << (4 * max(cell) - 1).bit_length()
    return side, side, side
