"""Stitch: a grid of overlapping microscope tiles becomes one volume a channel.

1. `links` finds how each two neighbours lie against each other, and how alike they are there.
2. `place` finds where all tiles lie from all links at once, and leaves out links that do not fit.
3. `sample`, `light`, `seen`, `even` find how uneven the light is; `overlaps`, `balance` how bright each tile.
4. `report` writes the links, the places and the light for people.
5. `fuse` makes each channel's volume, chunk by chunk, from the parts of tiles that meet the chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from chunkflow.roles import Located
from chunkflow.task import File, Image, Layout, Out, Report, Task
from chunkflow.words import parse_voxel_size
from tasks.stitch.fuse import Fuse
from tasks.stitch.light import Balance, Even, Light, OverlapBrightness, Sample
from tasks.stitch.links import Links, PlaceTiles
from tasks.stitch.report import Summary
from tasks.stitch.tiles import TileSource


class Stitch(Task):
    """Put the overlapping tiles of a microscope together into one volume for each channel.

    `tiles` is a pattern in file names, as in /data/tile_{row}_{column}_c{channel}.tif, or with {tile} where
    tiles are numbered through (then give columns, rows and order), or a CSV file with the columns row,
    column, path, and channel where every channel has a file of its own. Rows go along y and columns along x,
    counted from whatever the first number is. A tile may be any file or folder that ingest reads (FILE:NAME
    in a CSV only), of two or three axes; all must be alike and none may be missing.

    Neighbours are compared where they may overlap, in the channel `register_on`: of deep stacks in three
    slabs of depth. All places are then found at once by least squares, and links that do not fit the others
    are left out. Where tiles overlap they are blended; they are laid at whole voxels, so that noise stays
    what it is. Light is evened out before: the field of view's own from sampled planes, each tile's gain and
    offset from the overlaps. The report has the links, the places with their files, a picture of both, and
    shading.npz, which may be given as `shading` for the next sample from the same microscope.

    The volume is as large as the grid at the least overlap with `jitter` on all sides, as its size must be
    known before tiles are compared. Tiles begin at its first voxel; what no tile shows
    is given the grey of the nearest tile, as an edge to 0 would be taken for cells.
    """

    tiles: File = Field(description="a pattern of file names with {row} and {column}, or a CSV file of them")
    images: list[Image] = Field(
        description="the images to make, one for each channel in order",
        json_schema_extra={"output": True},
    )
    voxel_size: str = Field(description="size of a voxel along x, y, z with its unit: 0.227,0.227,1um")
    report: Report = Out("links, places and light, as lists and pictures")
    columns: int | None = Field(
        None, ge=1, description="columns of the grid, where tiles are numbered through"
    )
    rows: int | None = Field(None, ge=1, description="rows of the grid, where tiles are numbered through")
    order: Literal["row-major", "snake"] = Field(
        "row-major", description="how numbered tiles follow: snake where every other row runs backwards"
    )
    axes: str = Field("", pattern="^[xyzc]*$", description="order of a tile's axes, as in zyx or czyx")
    register_on: int = Field(0, ge=0, description="the channel that tiles are compared in, counted from 0")
    method: Literal["phase", "overlap-search"] = Field(
        "phase",
        description="how neighbours are compared: by phase correlation, or by the overlap with the least "
        "difference, along one axis only (Michaleas et al., HPEC 2020)",
    )
    overlap: float = Field(0.1, gt=0, le=0.5, description="the most that neighbours share, of a tile's size")
    least_overlap: float = Field(0.03, ge=0, le=0.5, description="the least that neighbours share")
    jitter: tuple[int, int, int] = Field(
        (16, 16, 4), description="how far a tile may lie from its place in the grid: voxels along x, y, z"
    )
    least_correlation: float = Field(
        0.2, gt=0, lt=1, description="links whose two sides are less alike than this have no weight"
    )
    shading: Annotated[str, Located(("estimate", "none"))] = Field(
        "estimate", description="estimate, none, or an .npz file with the light (shading.npz of a report)"
    )

    @field_validator("voxel_size")
    @classmethod
    def _with_unit(cls, value: str) -> str:
        parse_voxel_size(value)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.images:
            raise ValueError("images: name one for each channel")
        if len(set(self.images)) < len(self.images):
            raise ValueError("images: every channel needs an image of its own")
        if self.register_on >= len(self.images):
            raise ValueError(f"register_on: {len(self.images)} channels are counted from 0")
        if self.least_overlap > self.overlap:
            raise ValueError("least_overlap must not be larger than overlap")
        if min(self.jitter) < 0:
            raise ValueError("jitter must not be negative")
        return self

    @property
    def source(self) -> TileSource:
        return TileSource(
            tiles=self.tiles,
            images=tuple(self.images),
            axes=self.axes,
            columns=self.columns,
            rows=self.rows,
            order=self.order,
        )

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        return {**super().files_read(), "tiles": self.source.files_read()}

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        names = ("links", "places", "planes", "found", "seen", "light", "overlaps", "gains")
        table = {name: f"{self.images[0]}.{name}" for name in names}
        search = {"overlap": self.overlap, "least_overlap": self.least_overlap, "jitter": self.jitter}
        room = {"least_overlap": self.least_overlap, "jitter": self.jitter}
        compared = {"register_on": self.register_on, "method": self.method}
        alike = {"least_correlation": self.least_correlation}
        evened = _some(table, "light", "gains") if self.shading != "none" else {}
        steps = [
            ("links", self._step(Links, _some(table, "links"), compared, search)),
            ("place", self._step(PlaceTiles, _some(table, "links", "places"), alike)),
        ]
        if self.shading == "estimate":
            first = {"light": table["found"], "overlaps": table["seen"]}
            second = {"overlaps": table["seen"]}
            steps += [
                ("sample", self._step(Sample, _some(table, "planes"))),
                ("light", self._step(Light, _some(table, "planes"), {"light": table["found"]})),
                ("seen", self._step(OverlapBrightness, _some(table, "places"), first)),
                ("even", self._step(Even, _some(table, "places", "found", "light"), second)),
            ]
        elif evened:
            steps.append(("light", self._step(Light, _some(table, "light"), {"file": self.shading})))
        if evened:
            steps += [
                ("overlaps", self._step(OverlapBrightness, _some(table, "places", "light", "overlaps"))),
                ("balance", self._step(Balance, _some(table, "overlaps", "gains"))),
            ]
        named = {"report": self.report}
        steps.append(("report", self._step(Summary, _some(table, "links"), evened, alike, room, named)))
        for channel, image in enumerate(self.images):
            own = {"image": image, "channel": channel}
            steps.append((f"fuse-{image}", self._step(Fuse, _some(table, "places"), evened, search, own)))
        return steps

    def _step(self, kind: type[Task], *fields: dict[str, Any]) -> Task:
        values: dict[str, Any] = {"source": self.source, "voxel_size": parse_voxel_size(self.voxel_size)}
        for some in fields:
            values |= some
        return kind.model_validate(values)


def _some(table: dict[str, str], *names: str) -> dict[str, str]:
    return {name: table[name] for name in names}
