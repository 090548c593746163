"""Counting: objects by region of an atlas, by side, and by what their rows say of them.

1. `areas` counts the atlas's voxels in each region, as far as the objects' volume goes.
2. `members` finds the region of each object, by its centroid's place in micrometres, and counts.
3. `table` names the regions, and adds what lies in them to those that they are parts of.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from chunkflow.task import File, Labels, Layout, Objects, Out, Report, Task
from tasks.count.brainreg import files_used
from tasks.count.steps import Areas, FolderAreas, Members, Total


class Count(Task):
    """Count the objects of a table by region of an atlas, and by class or any other column.

    The atlas may differ from the objects' volume in voxel size, offset and extent: places are compared. It is
    a labels layer (`regions`), or a folder that brainreg wrote, read as it is (`brainreg`). A row of the
    result is a region, a side and a group: `own` counts the objects that lie in this region and in none of
    its parts, so that all rows of `own` add up to the number of objects, those in `no region` included;
    `count`, `volume_mm3`, `density_per_mm3` and the means are of the region with all its parts. Without an
    atlas the whole volume counts as one. Where `by` has class, `expected` is the number by the probabilities
    of all objects, which mistakes that go more often one way than the other do not shift. A CSV of the table
    and a picture are in the report's folder; `chunkflow count` puts several brains into one table.
    """

    objects: Objects = Field(description="the table: id, x, y, z, and the columns to count by")
    regions: Labels = Field("", description="the atlas: a labels layer in the place of the objects' volume")
    hemispheres: Labels = Field("", description="1 on the left, 2 on the right; voxels as those of `regions`")
    brainreg: File = Field(
        "", description="instead: a folder with registered_atlas.tiff, as brainreg wrote it"
    )
    orientation: str = Field(
        "", description="how the sample lay for brainreg, as in psl; by default what brainreg.json says"
    )
    atlas_voxel_um: float = Field(
        0.0,
        ge=0,
        description="size of brainreg's atlas voxels, micrometres; by default what brainreg.json says",
    )
    names: File = Field(
        "", description="the regions' table, CSV or JSON: id, name, acronym, parent or structure_id_path"
    )
    by: list[str] = Field([], description="columns to count by apart, as class")
    counts: Objects = Out("the table: a row a region, side and group")
    report: Report = Out("a CSV of the table, and a picture")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.regions and self.brainreg:
            raise ValueError("give `regions` or `brainreg`, not both")
        if (self.regions or self.brainreg) and not self.names:
            raise ValueError(
                "`names` must say where the table of the regions' names is: a CSV with id and name"
            )
        if self.hemispheres and not self.regions:
            raise ValueError("`hemispheres` goes with `regions`")
        return self

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        """Of brainreg's folder what is used of it."""
        found = super().files_read()
        return {**found, "brainreg": files_used(Path(self.brainreg))} if self.brainreg else found

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        areas, members = (f"{self.counts or 'counts'}.{name}" for name in ("areas", "members"))
        found = Members(
            objects=self.objects,
            regions=self.regions,
            hemispheres=self.hemispheres,
            brainreg=self.brainreg,
            orientation=self.orientation,
            atlas_voxel_um=self.atlas_voxel_um,
            by=self.by,
            members=members,
        )
        steps: list[tuple[str, Task]] = []
        if self.regions:
            within = Areas(
                regions=self.regions, hemispheres=self.hemispheres, objects=self.objects, areas=areas
            )
            steps.append(("areas", within))
        elif self.brainreg:
            folder = FolderAreas(
                objects=self.objects,
                brainreg=self.brainreg,
                orientation=self.orientation,
                atlas_voxel_um=self.atlas_voxel_um,
                areas=areas,
            )
            steps.append(("areas", folder))
        total = Total(
            members=members,
            areas=areas if steps else "",
            names=self.names,
            by=self.by,
            counts=self.counts,
            report=self.report,
        )
        return [*steps, ("members", found), ("table", total)]
