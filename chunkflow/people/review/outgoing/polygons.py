"""Polygons of a review as painted voxels, which networks learn classes from.

1. The polygons that count are scaled to the grid, each lying in one section (z).
2. Where people have outlined all there is, the mask `annotated` is 1: in polygons, in boxes without a class,
   and in whole sections that have polygons, but no such box.
3. Both are written storage chunk by storage chunk; no voxel is left out, so that any reader takes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon2mask

from chunkflow.chunk import Chunk
from chunkflow.data.atomic import refuse_existing
from chunkflow.data.describe import layer_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import LabelsInfo, TableInfo, full_url
from chunkflow.data.volume import files_of, layer_document
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, vec
from chunkflow.people.review.log.edits import DrawnShape, ReviewedObject
from chunkflow.people.review.objects import TableObjects
from chunkflow.people.review.reviewing import ReviewPlace
from chunkflow.people.review.shapes import bounds_of
from chunkflow.words import counted

LABELS, ANNOTATED = "labels", "annotated"
"""The layers, as folders."""
ACCEPTED = "accepted"
"""The class of polygons to which nobody gave one."""
PROPERTIES = "segment_properties"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PaintedSection:
    """A part of one section in which all voxels of a mask have a value."""

    box: Box
    mask: Mask
    """Along x and y."""
    value: int


@dataclass(frozen=True, repr=False)
class ExportedPolygons:
    """Layers of painted voxels that were written."""

    labels: str
    annotated: str
    classes: dict[str, int]
    """The value of each class; 0 is what was annotated and is none of them."""
    polygons: int
    sections: int
    """How many sections (z) are annotated."""
    edit: int
    """The last edit that is in it: with this number the same files are written again."""

    def __repr__(self) -> str:
        names = ", ".join(f"{value}: {name}" for name, value in self.classes.items())
        return (
            f"{self.labels} and {self.annotated} have {counted(self.polygons, 'polygon')} in "
            f"{counted(self.sections, 'annotated section')}, as of edit {self.edit}; classes {{{names}}}."
        )


def export_polygons(
    place: str | Path,
    to: str | Path,
    *,
    database: str | Path = "",
    edit: int | None = None,
    overwrite: bool = False,
) -> ExportedPolygons:
    """Write the polygons that people have drawn as the layers `labels` and `annotated` in a folder.

    `place` is WORK:TABLE, or WORK for the last table of its job. The layers are on the grid of the labels of
    the table, or of the table itself. Voxels of `labels` have the number of the class of the polygon that
    their centre lies in, from 1; of polygons that overlap, the one that was edited last counts, and rejected
    ones are 0. `annotated` is 1 in polygons, in boxes without a class (people draw them around what they have
    outlined in full), and in all of a section that has polygons, but no such box. `edit` is the number of the
    last edit that counts, by default the last there is.

    >>> log = folder / "painted.sqlite"
    >>> with review(work.url, database=log) as page:  # in which nobody has drawn anything
    ...     export_polygons(work.url, folder / "painted", database=log)
    Traceback (most recent call last):
    chunkflow.errors.BadInput: Nobody has drawn a polygon in the review of objects yet: draw some first.
    """
    refuse_existing(Path(to), overwrite)
    found = ReviewPlace.find(place)
    current, wanted = found.decided(database, edit)
    held = sorted(current.values(), key=lambda one: one.seq)
    drawn = [one for one in held if one.state.shape is not None and not one.state.deleted]
    polygons = [one for one in drawn if _shape(one).kind == "polygon"]
    if not polygons:
        raise BadInput(f"Nobody has drawn a polygon in the review of {found.name} yet: draw some first.")
    classes = _classes(found.objects, polygons)
    grid = _grid(found.info)
    ratios = np.array(found.info.voxel_size) / np.array(grid.voxel_size)
    painted = list(_painted(polygons, classes, grid.volume, ratios))
    known = [*_areas(drawn, grid.volume, ratios, {one.box.start[2] for one in painted}), *painted]
    url = full_url(str(to))
    labels = grid.model_copy(update={"url": f"{url}/{LABELS}", "dtype": "uint16"})
    mask = grid.model_copy(update={"url": f"{url}/{ANNOTATED}", "dtype": "uint8"})
    _write(labels, painted, classes)
    _write(mask, [replace(one, value=1) for one in known], {ANNOTATED: 1})
    sections = {z for one in known for z in range(one.box.start[2], one.box.stop[2])}
    return ExportedPolygons(
        f"{to}/{LABELS}", f"{to}/{ANNOTATED}", classes, len(polygons), len(sections), wanted
    )


def polygon_mask(corners: npt.NDArray[np.float64], box: Box) -> Mask:
    """Which voxels of a section have their centre in a polygon, by its corners along x and y."""
    mask: Mask = polygon2mask(box.size[:2], corners - np.array(box.start[:2]) - 0.5)
    return mask


def _shape(held: ReviewedObject) -> DrawnShape:
    assert held.state.shape is not None
    return held.state.shape


def _class_of(held: ReviewedObject) -> str:
    return held.state.of_class or ACCEPTED


def _classes(objects: TableObjects, polygons: Sequence[ReviewedObject]) -> dict[str, int]:
    """The number of each class: those of the table first, so that later reviews number them alike."""
    given = {_class_of(one) for one in polygons if one.state.status != "rejected"}
    names = [*objects.classes, *sorted(given - set(objects.classes))]
    return {name: number for number, name in enumerate(names, start=1)}


def _grid(info: TableInfo) -> LabelsInfo:
    """The voxels that are painted: those of the labels of a table, or its own."""
    if not info.labels:
        return LabelsInfo(volume=info.volume, voxel_size=info.voxel_size)
    layer = layer_at(info.labels)
    return LabelsInfo(volume=layer.volume, voxel_size=layer.voxel_size)


def _painted(
    polygons: Sequence[ReviewedObject],
    classes: dict[str, int],
    volume: Box,
    ratios: npt.NDArray[np.float64],
) -> Iterator[PaintedSection]:
    """The polygons as they cover each other: rejected ones below all others."""
    for one in sorted(polygons, key=lambda one: one.state.status != "rejected"):
        box = _covered(_shape(one), volume, ratios)
        corners = np.array(_shape(one).points)[:, :2] * ratios[:2]
        value = 0 if one.state.status == "rejected" else classes[_class_of(one)]
        if not box.empty:
            yield PaintedSection(box, polygon_mask(corners, box), value)


def _areas(
    drawn: Sequence[ReviewedObject], volume: Box, ratios: npt.NDArray[np.float64], sections: set[int]
) -> Iterator[PaintedSection]:
    """Where all there is was outlined, beside the polygons."""
    boxes = [
        _covered(_shape(one), volume, ratios)
        for one in drawn
        if _shape(one).kind == "box" and not one.state.of_class and one.state.status != "rejected"
    ]
    bounded = {z for box in boxes for z in range(box.start[2], box.stop[2])}
    for z in sections - bounded:
        boxes.append(Box(vec((*volume.start[:2], z)), vec((*volume.stop[:2], z + 1))))
    for box in boxes:
        if not box.empty:
            yield PaintedSection(box, np.ones(box.size[:2], bool), 1)


def _covered(shape: DrawnShape, volume: Box, ratios: npt.NDArray[np.float64]) -> Box:
    """The voxels that a shape reaches; a polygon those of one section, also at the last border."""
    low, high = bounds_of(shape) * ratios
    start = np.floor(low).astype(int)
    stop = np.ceil(high).astype(int)
    if shape.kind == "polygon":
        start[2] = min(start[2], volume.stop[2] - 1)
        stop[2] = start[2] + 1
    return Box(vec(start), vec(stop)).clip(volume)


def _write(info: LabelsInfo, painted: Sequence[PaintedSection], classes: dict[str, int]) -> None:
    """Write a layer whose voxels are 0 but where they are painted; its info comes last."""
    folder = Folder(info.url)
    grid = Grid.chunks(info.bounds, info.storage)
    for index in range(len(grid)):
        box = grid.box(index)
        array = np.zeros(box.size, info.dtype)
        for one in painted:
            _paint(array, box, one)
        for name, data in files_of(info, Chunk(array, box, info.voxel_size)):
            folder.put(name, data, "gzip" if info.gzipped else "")
    folder.put(f"{PROPERTIES}/info", json.dumps(_properties(classes)).encode())
    folder.put("info", json.dumps(layer_document([info], [PROPERTIES])).encode())


def _paint(array: npt.NDArray[Any], box: Box, one: PaintedSection) -> None:
    common = one.box.clip(box)
    if common.empty:
        return
    mask = one.mask[common.slices(one.box.start)[:2]]
    array[common.slices(box.start)][mask] = one.value


def _properties(classes: dict[str, int]) -> dict[str, Any]:
    """The names of the classes as Neuroglancer shows them."""
    named = {"id": "class", "type": "label", "values": list(classes)}
    inline = {"ids": [str(value) for value in classes.values()], "properties": [named]}
    return {"@type": "neuroglancer_segment_properties", "inline": inline}
