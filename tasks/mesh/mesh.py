"""Meshes: marching cubes, then fewer triangles, in blocks whose surfaces join (see `mesh_blocks`), in one of
two formats."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from chunkflow.task import Labels, Layout, Meshes, Out, Task
from tasks.mesh.fragments import Fragments
from tasks.mesh.levels import MeshLevels


class Mesh(Task):
    """Make a surface of every object of `labels`, as CloudVolume and Neuroglancer read them.

    Surfaces are closed where the volume ends. They are simplified as far as `error` allows, a block at a
    time, whatever the chunks of the job; fragments of blocks join without cracks. By default they are made in
    three levels of detail (fewer where the block cannot be halved), the coarser ones with three and nine
    times the error, and compressed; a viewer loads what it shows of them. There is a file for each
    512 x 512 x 512 voxels of the volume, however many objects there are. The format `legacy` has only the
    finest level, and a file for each object and for each block that it reaches into.
    """

    labels: Labels = Field(description="the objects: name, or name@mip for coarser meshes")
    meshes: Meshes = Out("the folder of meshes; by default `mesh` in the labels' own")
    error: float | None = Field(
        None,
        ge=0,
        description="how far a patch as wide may lie off the voxels' surface, nm; 1.1 voxels if left out",
    )
    block: tuple[int, int, int] = Field(
        (256, 256, 256), description="voxels of a block, whose parts of the surfaces are simplified together"
    )
    format: Literal["multires", "legacy"] = Field(
        "multires", description="multires: levels of detail, in few files; legacy: one level, many files"
    )

    @field_validator("block")
    @classmethod
    def _is_a_block(cls, block: tuple[int, int, int]) -> tuple[int, int, int]:
        if min(block) < 1:
            raise ValueError("each side must be at least one voxel")
        return block

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        values = {"labels": self.labels, "meshes": self.meshes, "error": self.error, "block": self.block}
        return [("", (MeshLevels if self.format == "multires" else Fragments).model_validate(values))]
