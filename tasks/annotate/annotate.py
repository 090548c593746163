"""Annotations: an object table as a precomputed annotation layer, indexed by place, by id and by what each is
related to.

1. `count` counts annotations in the cells of each level, and notes which texts their columns hold.
2. `levels` decides how large a share of the annotations each level shows, and how texts become numbers.
3. `cells` sends each annotation to the blocks of space that it meets, and writes the cells of each block.
4. `by_id` and one step for each relationship send them by hashed id, and write the files of their index.
"""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import Field, model_validator

from chunkflow.kernels.precomputed.crossings import AnnotationKind
from chunkflow.task import Annotations, Layout, Objects, Out, Task
from tasks.annotate.columns import Value
from tasks.annotate.files import ById, Related, SpatialCells
from tasks.annotate.levels import CountByLevel, Share
from tasks.annotate.rows import RELATIONSHIP, Chosen


class Annotate(Task):
    """Show the objects of a table in Neuroglancer: points at their centroids, or lines, boxes, ellipsoids.

    A layer is of one kind. A `point` lies at x, y, z; a `line` goes on to x2, y2, z2, or to the columns of
    `to`; a `box` is that of x_min to z_max; an `ellipsoid` has the radii r_x, r_y, r_z in voxels, and without
    these columns is a ball of diameter_um.

    Columns of the table are shown as properties: numbers (those of 64 bits rounded to float32), yes and no,
    texts such as classes as named values, and colours (#ff0000, #ff000080, red) in a column named color, or
    that `color` names. `where` chooses rows, so that neurons and glia become layers of their own, each in its
    `color`. Selecting a segment in Neuroglancer selects what is related to it.

    The layer is indexed in levels, so that a viewer loads only what it shows, about `limit` annotations in a
    cell. It has few files, however many annotations there are, and no step holds all of them at once.
    """

    objects: Objects = Field(description="the table: id, x, y, z, and the columns to show")
    annotations: Annotations = Out("the annotation layer")
    kind: AnnotationKind = Field("point", description="what each object is shown as")
    to: list[str] = Field([], description="columns with the other end of lines; by default x2, y2, z2")
    where: dict[str, Value | list[Value]] = Field(
        {}, description="which rows: columns, and the value or values wanted, as in {class: neuron}"
    )
    properties: list[str] = Field(
        [],
        description="columns to show; by default class, combination, probability, volume_um3, diameter_um, "
        "color, every image's mean and every channel's yes or no",
    )
    color: str = Field("", description="a colour for all, as red or #ff0000, or a column of colours")
    relationships: dict[str, str] = Field(
        {RELATIONSHIP: "id"},
        description="what objects are related to: names, and for each a column of ids, or of lists of ids",
    )
    limit: int = Field(1000, ge=1, description="annotations in a cell of the spatial index, about")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.to and (self.kind != "line" or len(self.to) != 3):
            raise ValueError("`to` names the three columns of a line's other end, for kind: line")
        for name in self.relationships:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name == "by_id":
                raise ValueError(f"{name!r} cannot name a relationship; use letters, digits, _ and -")
        return self

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        counts, levels = f"{self.annotations}.counts", f"{self.annotations}.levels"
        chosen = Chosen.model_validate(self.model_dump(exclude={"objects", "annotations"}))
        shared: dict[str, Any] = {"objects": self.objects, "chosen": chosen}
        decided = {**shared, "levels": levels}
        index = f"{self.annotations}/index"
        return [
            ("count", CountByLevel(counts=counts, **shared)),
            ("levels", Share(counts=counts, **decided)),
            ("cells", SpatialCells(annotations=self.annotations, **decided)),
            ("by_id", ById(annotations=f"{index}/by_id", **decided)),
            *(
                (f"related_{name}", Related(annotations=f"{index}/{name}", relationship=name, **decided))
                for name in self.relationships
            ),
        ]
