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
from chunkflow.data.info import ImageInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.marked import marked_points
from chunkflow.geometry import Box
from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.kernels.scoring.paired import SURE, Gain
from chunkflow.kernels.scoring.scores import Interval
from chunkflow.kernels.scoring.tuning import Prior, Ranked, ScoreSurface, readable
from chunkflow.people.evaluation.sides import refuse_no_distance
from chunkflow.people.learning.automatic import Automatic, automatic_contrast
from chunkflow.people.learning.settings import COLUMNS, Setting
from chunkflow.people.learning.tune_pictures import surface_picture, where_picture
from chunkflow.people.learning.tune_region import Region, image_layer, place_of, region_box
from chunkflow.people.reports.pages import fragment, heading, page, paragraph, picture, table, verbatim
from chunkflow.words import counted

STEPS_PER_OCTAVE = 4
DIAMETER_UM = 8.0
"""The diameter of segment where none is given."""
DIAMETERS_UM = (4.0, 32.0)
MOST_DIAMETERS = 100
FEW_CELLS = 15


@dataclass(frozen=True, repr=False)
class Tuned:
    """The setting proposed for segment: the one that marked cells chose, if they show that it is better than
    the automatic one, else that; in a notebook a report."""

    region: Region
    surface: ScoreSurface
    chosen: Setting
    """The setting that the cells chose."""
    automatic: Setting
    """The diameter given, and the contrast that segment decides for it."""
    gain: Gain
    """F1 of the setting chosen above that of the automatic one."""
    doubt: str
    """What segment itself says of its automatic threshold."""
    image: str
    channel: int
    points: str

    @classmethod
    def of(
        cls, region: Region, ranked: list[Ranked], automatic: Automatic, image: str, channel: int, points: str
    ) -> Tuned:
        surface = ScoreSurface.of(ranked, len(region.cells))
        diameter, contrast = surface.chosen(Prior(automatic.diameter, automatic.contrast))
        peaks = {one.diameter: one for one in ranked}
        chosen = Setting(region, peaks[diameter], contrast)
        given = Setting(region, peaks[automatic.diameter], automatic.contrast)
        gain = chosen.gain_over(given)
        return cls(region, surface, chosen, given, gain, automatic.warning, image, channel, points)

    @property
    def proposed(self) -> Setting:
        """The better one of both, as far as the cells can tell."""
        return self.chosen if self.gain.shown else self.automatic

    @property
    def f1(self) -> float:
        """F1 of the setting proposed, in the region."""
        return self.proposed.f1

    @property
    def interval(self) -> Interval:
        """Where it lies with a certainty of 95 %."""
        return self.proposed.interval

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of segment."""
        name = self.image.rstrip("/").rpartition("/")[2]
        given: dict[str, Any] = {"image": name, "diameter": readable(self.proposed.diameter)}
        if self.gain.shown:
            given |= {"threshold": self.chosen.contrast / PEAK_RATIO, "contrast": self.chosen.contrast}
        else:
            given |= {"threshold": "auto"}
        return given | ({"channel": self.channel} if self.channel else {})

    def block(self) -> str:
        """The task as it stands in a job file."""
        text = yaml.safe_dump(
            [{"segment": self.parameters}], sort_keys=False, default_flow_style=None, width=100
        )
        return str(text).strip()

    def document(self) -> dict[str, Any]:
        """All numbers as plain JSON: the setting, its scores, and F1 of every setting tried."""
        surface, proposed = self.surface, self.proposed.document()
        return {
            "image": self.image,
            "points": self.points,
            "box": str(self.region.box),
            "tolerance_um": self.region.tolerance,
            "cells": surface.cells,
            "proposed": "chosen" if self.gain.shown else "automatic",
            "parameters": self.parameters,
            **{key: proposed[key] for key in ("right", "wrong", "missed", "f1", "f1_interval")},
            "chosen": self.chosen.document(),
            "automatic": self.automatic.document(),
            "gain": {
                "f1": self.gain.difference,
                "f1_at_least": self.gain.least,
                "certainty": SURE,
                "share_of_draws_better": self.gain.share,
            },
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
            heading("Chosen by the cells, and automatic"),
            table(COLUMNS, [self.chosen.row("chosen"), self.automatic.row("automatic")]),
            heading("What the setting proposed finds"),
            picture(
                where_picture(self.proposed),
                "The brightest voxel along z, and along y, of the region (dotted) and what is around it. "
                "Circles have the diameter proposed; a cell that was found is drawn where its peak is.",
            ),
            heading("All settings"),
            picture(
                surface_picture(self.surface, self.chosen, self.automatic),
                "F1 in the region. The choice (circle) is the middle of the settings that do best, as far "
                "as so few cells can tell them apart, drawn to the automatic setting (square).",
            ),
        ]

    def _findings(self) -> list[str]:
        """What was found, and what it can be trusted for, in sentences."""
        auto, gain, cells = self.automatic, self.gain, self.surface.cells
        lines = [
            f"In {self.region.box} the diameter {self.chosen.diameter:.3g} µm with contrast "
            f"{self.chosen.contrast:.4g}, chosen by these cells, {self.chosen.finds()}.",
            f"Diameter {auto.diameter:.3g} µm with threshold: auto, which is a contrast of "
            f"{auto.contrast:.4g} here, {auto.finds()}.",
            f"On the same cells the setting chosen is {_above(gain)} (at least {gain.least:+.2f} "
            f"with {100 * SURE:.0f} % certainty; better in {100 * gain.share:.0f} % of draws). "
            + (
                "So it is proposed. These cells chose it: elsewhere expect somewhat less."
                if gain.shown
                else "That does not show that it is better, so threshold: auto is proposed."
            ),
            "How certain it is was reckoned from these cells: it holds where the image is like here.",
        ]
        if self.doubt:
            lines.append(f"Of the automatic threshold segment says: {self.doubt}.")
        if cells < FEW_CELLS:
            lines.append(
                f"Only {counted(cells, 'cell')} decided: mark some 20 for a choice that holds elsewhere."
            )
        if self.gain.shown and self.chosen.diameter in self.surface.diameters[[0, -1]]:
            lines.append("The diameter is at the end of those tried: try other diameters.")
        return lines


def tune(
    image: str | Path | Volume | ImageInfo,
    points: str | Path,
    box: Box | None = None,
    *,
    diameter_um: float = DIAMETER_UM,
    tolerance_um: float = 10.0,
    diameters_um: tuple[float, float] = DIAMETERS_UM,
    channel: int = 0,
    of_class: str = "",
    columns: Sequence[str] = (),
    unit: str = "",
) -> Tuned:
    """Find the diameter, threshold and contrast of segment from cells marked in a region.

    Mark all cells of a region, some 20 or more, as what is not marked there counts as no cell. Every setting
    is scored by its F1 there, and the middle of the best ones is chosen, drawn towards `diameter_um` and the
    contrast that segment decides for it by itself, from a sample of the whole image. Where the cells do not
    show that their choice is better than `threshold: auto`, that is proposed.

    `image` is a layer's place, perhaps with @mip, of which `channel` is looked at. The file `points` has the
    centres of the cells, of the class `of_class` where it has several; `columns` (as in ["z", "y", "x"]) and
    `unit` (voxels, nm, um or mm) say what it does not. `box` is the region, in voxels of the image; by
    default what the points span. A peak may lie `tolerance_um` micrometres from the centre of its cell. Four
    diameters an octave are tried between the two of `diameters_um`, beside `diameter_um`. Nothing is written.

    >>> box = Box((0, 0, 0), (128, 128, 96))
    >>> tuned = tune(work.volume("dapi"), folder / "truth.csv", box, tolerance_um=5)
    >>> tuned.f1 > 0.9
    True
    >>> better = tuned.gain.shown  # than `threshold: auto`, whose F1 is tuned.automatic.f1
    >>> task = tuned.parameters  # for the job: {"image": …, "diameter": …, "threshold": …, "contrast": …}
    """
    refuse_no_distance(tolerance_um)
    diameters = diameters_around(diameter_um, *diameters_um)
    layer = image_layer(image, channel)
    marked = marked_points(Path(points), layer, columns, unit, of_class)
    part = region_box(box, marked, layer)
    region = Region.read(layer, channel, part, marked, tolerance_um, diameters[-1])
    ranked = region.ranked_by(diameters)
    automatic = automatic_contrast(layer, channel, readable(diameter_um))
    return Tuned.of(region, ranked, automatic, place_of(image), channel, str(points))


def diameters_around(given: float, smallest: float, largest: float) -> list[float]:
    """Diameters to try: those between two, and the one given."""
    if not 0 < given < np.inf:
        raise BadInput(f"The diameter of a cell is a number of micrometres above 0, not {given:g}.")
    return sorted({readable(given), *diameters_between(smallest, largest)})


def _above(gain: Gain) -> str:
    """A difference of F1 in words."""
    if abs(gain.difference) < 0.005:
        return "as good"
    return f"{'better' if gain.difference > 0 else 'worse'} by {abs(gain.difference):.2f}"


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
