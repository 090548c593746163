"""Tuning of segment: its parameters from a few cells that a person marked in an image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from chunkflow.data.atomic import refuse_existing
from chunkflow.data.describe import info_of
from chunkflow.data.info import ImageInfo, LayerInfo, voxels_of
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.marked import marked_points
from chunkflow.geometry import Box
from chunkflow.jobs.locate import open_layer
from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.kernels.scoring.matching import Points
from chunkflow.kernels.scoring.scores import Interval, bootstrap_interval
from chunkflow.kernels.scoring.tuning import Ranked, ScoreSurface, readable
from chunkflow.people.evaluation.sides import refuse_no_distance
from chunkflow.people.learning.tune_pictures import surface_picture, where_picture
from chunkflow.people.learning.tune_region import Region, box_of_cells
from chunkflow.people.reports.pages import fragment, heading, page, paragraph, picture, verbatim
from chunkflow.words import counted

SEED = 0
STEPS_PER_OCTAVE = 4
DIAMETERS_UM = (4.0, 32.0)
MOST_DIAMETERS = 100
FEW_CELLS = 15


@dataclass(frozen=True, repr=False)
class Tuned:
    """The setting that does best in a region, and its scores there; in a notebook a report."""

    region: Region
    surface: ScoreSurface
    ranked: Ranked
    """The peaks of the diameter that was chosen."""
    contrast: float
    interval: Interval
    """Where F1 lies with a certainty of 95 %."""
    image: str
    channel: int
    points: str

    @classmethod
    def of(cls, region: Region, diameters: list[float], image: str, channel: int, points: str) -> Tuned:
        ranked = [region.ranked(diameter) for diameter in diameters]
        if not any(one.matches.any() for one in ranked):
            raise BadInput(
                f"No setting finds any of the {len(region.cells)} cells marked in {region.box}: are they "
                "cells of this image, and bright in it?"
            )
        surface = ScoreSurface.of(ranked, len(region.cells))
        diameter, contrast = surface.chosen()
        best = next(one for one in ranked if one.diameter == diameter)
        taken = best.heights >= np.float32(contrast)
        right = best.matches[taken]
        kinds = np.array([2, 1, 1]).repeat(
            [right.sum(), (best.inside[taken] & ~right).sum(), len(region.cells) - right.sum()]
        )
        interval = bootstrap_interval(lambda drawn: _f1(kinds[drawn]), len(kinds), SEED)
        return cls(region, surface, best, contrast, interval, image, channel, points)

    @property
    def counts(self) -> tuple[int, int]:
        """How many peaks the setting finds that are right, and that are wrong."""
        right, wrong = self.ranked.counts(np.array([self.contrast]))
        return int(right[0]), int(wrong[0])

    @property
    def f1(self) -> float:
        right, wrong = self.counts
        return 2 * right / (right + wrong + len(self.region.cells))

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of segment."""
        name = self.image.rstrip("/").rpartition("/")[2]
        given: dict[str, Any] = {"image": name, "diameter": readable(self.ranked.diameter)}
        given |= {"threshold": self.contrast / PEAK_RATIO, "contrast": self.contrast}
        return given | ({"channel": self.channel} if self.channel else {})

    def block(self) -> str:
        """The task as it stands in a job file."""
        text = yaml.safe_dump(
            [{"segment": self.parameters}], sort_keys=False, default_flow_style=None, width=100
        )
        return str(text).strip()

    def document(self) -> dict[str, Any]:
        """All numbers as plain JSON: the setting, its scores, and F1 of every setting tried."""
        right, wrong = self.counts
        surface = self.surface
        return {
            "image": self.image,
            "points": self.points,
            "box": str(self.region.box),
            "tolerance_um": self.region.tolerance,
            "cells": surface.cells,
            "parameters": self.parameters,
            "right": right,
            "wrong": wrong,
            "missed": surface.cells - right,
            "f1": self.f1,
            "f1_interval": [self.interval.low, self.interval.high],
            "diameters": surface.diameters.tolist(),
            "contrasts": surface.contrasts.tolist(),
            "f1_of_each": surface.f1.round(4).tolist(),
        }

    def write(self, to: str | Path, overwrite: bool = False) -> None:
        """Write a folder of the block (segment.yaml), the numbers (tuned.json) and a report (report.html)."""
        folder = Path(to)
        refuse_existing(folder, overwrite)
        report = page(self._title, self._parts())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "segment.yaml").write_text(self.block() + "\n")
        (folder / "tuned.json").write_text(json.dumps(self.document(), indent=1) + "\n")
        (folder / "report.html").write_text(report, encoding="utf-8")

    def __repr__(self) -> str:
        return "\n".join([*self._findings(), self.block()])

    def _repr_html_(self) -> str:
        return fragment(self._title, self._parts())

    @property
    def _title(self) -> str:
        return f"Tuned on {self.surface.cells} cells of {self.parameters['image']}"

    def _parts(self) -> list[str]:
        """What stands in the report, below its title."""
        return [
            *map(paragraph, self._findings()),
            heading("For the job file"),
            verbatim(self.block()),
            heading("What it finds"),
            picture(
                where_picture(self.region, self.ranked, self.contrast),
                "The brightest voxel along z, and along y, of the region (dotted) and what is around it. "
                "Circles have the diameter chosen; a cell that was found is drawn where its peak is.",
            ),
            heading("All settings"),
            picture(
                surface_picture(self.surface, self.ranked, self.contrast),
                "F1 in the region. The choice (red) is the middle of the settings that do best, weighted by "
                "how far so few cells can tell them apart.",
            ),
        ]

    def _findings(self) -> list[str]:
        """What was found, and what it can be trusted for, in sentences."""
        right, wrong = self.counts
        cells = len(self.region.cells)
        lines = [
            f"In {self.region.box} it finds {right} of {counted(cells, 'marked cell')} and "
            f"{counted(wrong, 'peak')} beside: F1 {self.f1:.2f} ({self.interval} with 95 % certainty). These "
            "cells chose it, so elsewhere expect somewhat less."
        ]
        if cells < FEW_CELLS:
            lines.append(
                f"Only {counted(cells, 'cell')} decided: mark some 20 for a choice that holds elsewhere."
            )
        edge = self.surface.diameters[[0, -1]]
        if self.ranked.diameter in edge:
            lines.append("The diameter is at the end of those tried: try other diameters.")
        return lines


def tune(
    image: str | Path | Volume | ImageInfo,
    points: str | Path,
    box: Box | None = None,
    *,
    tolerance_um: float = 10.0,
    diameters_um: tuple[float, float] = DIAMETERS_UM,
    channel: int = 0,
    of_class: str = "",
    columns: Sequence[str] = (),
    unit: str = "",
) -> Tuned:
    """Find the diameter, threshold and contrast of segment from cells marked in a region.

    Mark all cells of a region, some 20 or more, as what is not marked there counts as no cell. Every setting
    is scored by its F1 there, and the middle of the best ones is chosen.

    `image` is a layer's place, perhaps with @mip, of which `channel` is looked at. The file `points` has the
    centres of the cells, of the class `of_class` where it has several; `columns` (as in ["z", "y", "x"]) and
    `unit` (voxels, nm, um or mm) say what it does not. `box` is the region, in voxels of the image; by
    default what the points span. A peak may lie `tolerance_um` micrometres from the centre of its cell. Four
    diameters an octave are tried between the two of `diameters_um`. Nothing is written.

    >>> box = Box((0, 0, 0), (128, 128, 96))
    >>> tuned = tune(work.volume("dapi"), folder / "truth.csv", box, tolerance_um=5)
    >>> tuned.f1 > 0.9
    True
    >>> task = tuned.parameters  # for the job: {"image": …, "diameter": …, "threshold": …, "contrast": …}
    """
    refuse_no_distance(tolerance_um)
    diameters = diameters_between(*diameters_um)
    layer = image_layer(image, channel)
    marked = marked_points(Path(points), layer, columns, unit, of_class)
    part = region_box(box, marked, layer)
    region = Region.read(layer, channel, part, marked, tolerance_um, diameters[-1])
    return Tuned.of(region, diameters, _place_of(image), channel, str(points))


def diameters_between(smallest: float, largest: float) -> list[float]:
    """Diameters to try, in micrometres: four an octave, from the smallest to the largest."""
    if not 0 < smallest <= largest < np.inf:
        raise BadInput(
            f"Diameters go from a smaller one above 0 to a larger one, not from {smallest:g} to {largest:g}."
        )
    count = int(np.floor(np.log2(largest / smallest) * STEPS_PER_OCTAVE + 1e-9)) + 1
    if count > MOST_DIAMETERS:
        raise BadInput(
            f"From {smallest:g} to {largest:g} there are {count:,} diameters to try: give a narrower range."
        )
    return [readable(smallest * 2.0 ** (step / STEPS_PER_OCTAVE)) for step in range(count)]


def image_layer(image: str | Path | Volume | ImageInfo, channel: int) -> ImageInfo:
    """The image at a place, which may end in @mip."""
    layer = open_layer(image)
    if not isinstance(layer, ImageInfo):
        raise BadInput(f"{_place_of(image)} is a {layer.kind}; segment is tuned on an image.")
    if channel >= layer.channels:
        raise BadInput(
            f"{_place_of(image)} has {counted(layer.channels, 'channel')}, counted from 0: there is no "
            f"{channel}."
        )
    return layer


def _place_of(image: str | Path | Volume | ImageInfo) -> str:
    if isinstance(image, str | Path):
        return str(image)
    info = voxels_of(info_of(image))
    return f"{info.url}@{info.mip}" if info.mip else info.url


def region_box(box: Box | None, marked: Points, layer: LayerInfo) -> Box:
    """The region that was asked for, within the image, or as the points tell."""
    if box is None:
        return box_of_cells(marked, layer.volume)
    if box.clip(layer.volume).empty:
        raise BadInput(f"{box} lies outside of the image, which is {layer.volume}.")
    return box.clip(layer.volume)


def _f1(kinds: np.ndarray[Any, Any]) -> float:
    """F1 of items of which a pair counts 2, a point alone 1: what is in pairs, of all."""
    return float(kinds[kinds == 2].sum() / kinds.sum())
