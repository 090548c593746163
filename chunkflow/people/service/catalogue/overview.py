"""Overviews of data sets for the catalogue: what it is, how far its job and its reviews are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chunkflow.data.folder import Folder
from chunkflow.data.tables import Table
from chunkflow.errors import ChunkflowError
from chunkflow.people.review.reviewing import can_be_reviewed
from chunkflow.people.service.catalogue.opened import OpenedDataSet
from chunkflow.words import counted

UNITS = ((1e6, "mm"), (1e3, "µm"), (1.0, "nm"))


@dataclass(frozen=True)
class TableOverview:
    """A finished table of a job, and how far its review is."""

    name: str
    rows: int
    reviewable: bool
    """Whether its rows have ids and places."""
    decided: int
    people: dict[str, int]
    """How many objects each person has decided."""


@dataclass(frozen=True)
class Overview:
    """What the catalogue tells of a data set."""

    name: str
    title: str
    fault: str = ""
    """Why it cannot be shown, in a sentence."""
    size: str = ""
    voxels: str = ""
    voxel_size: str = ""
    layers: tuple[tuple[str, str], ...] = ()
    """The names and kinds of the layers."""
    job: str = ""
    """How the job stands, in words; empty for a layer without a job."""
    done: float | None = None
    """The part of the job's chunks that is done."""
    tables: tuple[TableOverview, ...] = ()
    report: bool = False
    """Whether the job has written a report."""


def overview(opened: OpenedDataSet) -> Overview:
    """Look at a data set; one that cannot be read says why."""
    place = opened.place
    try:
        return _of(opened)
    except (ChunkflowError, OSError) as error:
        return Overview(place.name, place.title, fault=str(error))


def _of(opened: OpenedDataSet) -> Overview:
    dataset = opened.dataset()
    extent = dataset.extent
    voxels = extent.stop - extent.start
    status = opened.work.status() if opened.work else None
    chunks = sum(stage.chunks for stage in status.stages.values()) if status else 0
    done = sum(stage.done for stage in status.stages.values()) if status else 0
    return Overview(
        opened.place.name,
        opened.place.title,
        size=in_unit(voxels * extent.voxel_size),
        voxels=" × ".join(f"{int(n):,}" for n in voxels),
        voxel_size=in_unit(extent.voxel_size),
        layers=tuple(dataset.layers.items()),
        job=status.standing if status else "",
        done=done / chunks if chunks else None,
        tables=tuple(_table(name, table, opened.decided(name)) for name, table in opened.tables().items()),
        report=opened.work is not None and Folder(opened.work.url).exists("report.html"),
    )


def _table(name: str, table: Table, people: dict[str, int]) -> TableOverview:
    return TableOverview(name, len(table), can_be_reviewed(table), sum(people.values()), people)


def in_unit(nanometres: np.ndarray) -> str:
    """Three lengths in the largest unit in which the longest of them is one or more."""
    longest = float(np.max(nanometres))
    factor, unit = next(((size, name) for size, name in UNITS if longest >= size), UNITS[-1])
    return " × ".join(f"{n / factor:.4g}" for n in nanometres) + f" {unit}"


def progress_text(table: TableOverview) -> str:
    """How far the review of a table is, in words."""
    if not table.decided:
        return counted(table.rows, "row")
    people = ", ".join(f"{name} {count:,}" for name, count in sorted(table.people.items()))
    return f"{table.decided:,} of {table.rows:,} decided ({people})"
