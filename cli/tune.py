"""Find a task's parameters from a few cells that a person marked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.console import Console

from chunkflow.data.describe import layer_at
from chunkflow.data.info import ImageInfo, LayerInfo, full_url
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.matching import Points
from chunkflow.kernels.scores import Interval, bootstrap_interval
from chunkflow.kernels.tuning import Ranked, Surface, readable
from chunkflow.words import counted, parse_box, parse_tolerance
from cli.places import marked_points
from cli.tune_pictures import surface_picture, where_picture
from cli.tune_region import Region, box_of_cells
from tasks.segment import PEAK_RATIO

SEED = 0
STEPS_PER_OCTAVE = 4
DIAMETERS = "4-32"
MOST_DIAMETERS = 100
FEW_CELLS = 15


What = Annotated[str, typer.Argument(metavar="TASK", help="The task whose parameters are wanted: segment.")]
Image = Annotated[str, typer.Argument(metavar="IMAGE", help="The image: path or URL, perhaps with @mip.")]
Marked = Annotated[
    Path, typer.Option(metavar="FILE", help="The centres of all cells in a region, in any points format.")
]
RegionBox = Annotated[
    str,
    typer.Option(help="The region, in voxels of IMAGE: X0-X1,Y0-Y1,Z0-Z1; else what the points span."),
]
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write what was found.")]
Tolerance = Annotated[
    str, typer.Option(help="How far a peak may lie from the centre of its cell, micrometres: 10um.")
]
Diameters = Annotated[str, typer.Option(metavar="LOW-HIGH", help="Diameters to try, micrometres.")]
Channel = Annotated[int, typer.Option(min=0, help="Which channel, where the image has several.")]
OfClass = Annotated[
    str, typer.Option("--class", help="Take only points of this class, or of this layer of a state.")
]
FileColumns = Annotated[str, typer.Option(help="The file's columns, where it does not name them: z,y,x")]
FileUnit = Annotated[str, typer.Option(help="The unit of x, y, z: voxels, nm, um or mm.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in FOLDER.")]


def tune(
    task: What,
    image: Image,
    points: Marked,
    box: RegionBox = "",
    to: Folder = Path("tuned"),
    tolerance: Tolerance = "10um",
    diameters: Diameters = DIAMETERS,
    channel: Channel = 0,
    of_class: OfClass = "",
    columns: FileColumns = "",
    unit: FileUnit = "",
    overwrite: Overwrite = False,
) -> None:
    """Find the diameter, threshold and contrast of segment from the cells marked in a small region.

    Mark all cells of a region, some 20 or more, as what is not marked there counts as no cell. Every setting
    is scored by its F1 there, and the middle of the best ones is written as the task's block for a job file,
    with a report that shows what it finds and misses.

    Example: chunkflow tune segment /data/dapi --points marked.csv --box 0-200,0-200,0-60
    """
    if task != "segment":
        raise BadInput(f"There is nothing to tune in {task!r}: only segment can be tuned.")
    distance = parse_tolerance(tolerance)
    sizes = parse_diameters(diameters)
    if to.exists() and not overwrite:
        raise BadInput(f"{to} exists already: name another folder, or say --overwrite.")
    layer = image_layer(image, channel)
    marked = marked_points(points, layer, columns, unit, of_class)
    part = region_box(box, marked, layer)
    region = Region.read(layer, channel, part, marked, distance, float(sizes[-1]))
    tuned = Tuned.of(region, sizes, image, channel)
    write(tuned, to, points)
    console = Console(soft_wrap=True)
    for line in tuned.said():
        console.print(line, highlight=False)
    console.print(tuned.block(), highlight=False, markup=False)
    console.print(
        f"It is in {to / 'segment.yaml'}, and how it was found in {to / 'report.html'}", highlight=False
    )


@dataclass(frozen=True)
class Tuned:
    """What was found in a region: the setting, and how well it does there."""

    region: Region
    surface: Surface
    ranked: Ranked
    """The peaks of the diameter that was chosen."""
    contrast: float
    interval: Interval
    image: str
    channel: int

    @classmethod
    def of(cls, region: Region, diameters: list[float], image: str, channel: int) -> Tuned:
        ranked = [region.ranked(diameter) for diameter in diameters]
        if not any(one.matches.any() for one in ranked):
            raise BadInput(
                f"No setting finds any of the {len(region.cells)} cells marked in {region.box}: are they "
                "cells of this image, and bright in it?"
            )
        surface = Surface.of(ranked, len(region.cells))
        diameter, contrast = surface.chosen()
        best = next(one for one in ranked if one.diameter == diameter)
        taken = best.heights >= np.float32(contrast)
        right = best.matches[taken]
        kinds = np.array([2, 1, 1]).repeat(
            [right.sum(), (best.inside[taken] & ~right).sum(), len(region.cells) - right.sum()]
        )
        interval = bootstrap_interval(lambda drawn: _f1(kinds[drawn]), len(kinds), SEED)
        return cls(region, surface, best, contrast, interval, image, channel)

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

    def said(self) -> list[str]:
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
            lines.append("The diameter is at the end of those tried: try others with --diameters.")
        return lines


def _f1(kinds: np.ndarray[Any, Any]) -> float:
    """F1 of items of which a pair counts 2, a point alone 1: what is in pairs, of all."""
    return float(kinds[kinds == 2].sum() / kinds.sum())


def image_layer(image: str, channel: int) -> ImageInfo:
    """The image at a place, which may end in @mip."""
    url, at, mip = image.rpartition("@")
    layer = layer_at(
        full_url(url if at and mip.isdigit() else image), int(mip) if at and mip.isdigit() else 0
    )
    if not isinstance(layer, ImageInfo):
        raise BadInput(f"{image} is a segmentation; segment is tuned on an image.")
    if channel >= layer.channels:
        raise BadInput(
            f"{image} has {counted(layer.channels, 'channel')}, counted from 0: there is no {channel}."
        )
    return layer


def region_box(text: str, marked: Points, layer: LayerInfo) -> Box:
    """The region as typed, or as the points tell."""
    box = parse_box(text)
    if box is None:
        return box_of_cells(marked, layer.volume)
    if box.clip(layer.volume).empty:
        raise BadInput(f"--box {text} lies outside of the image, which is {layer.volume}.")
    return box.clip(layer.volume)


def parse_diameters(text: str) -> list[float]:
    """Four diameters an octave, from the smallest to the largest."""
    low, dash, high = text.partition("-")
    try:
        smallest, largest = float(low), float(high if dash else low)
    except ValueError:
        raise BadInput(
            f"--diameters takes LOW-HIGH in micrometres, as in {DIAMETERS}, not {text!r}."
        ) from None
    if not 0 < smallest <= largest < np.inf:
        raise BadInput(f"--diameters {text}: they must go from a smaller one above 0 to a larger one.")
    count = int(np.floor(np.log2(largest / smallest) * STEPS_PER_OCTAVE + 1e-9)) + 1
    if count > MOST_DIAMETERS:
        raise BadInput(f"--diameters {text} are {count:,} to try: give a narrower range.")
    return [readable(smallest * 2.0 ** (step / STEPS_PER_OCTAVE)) for step in range(count)]


def write(tuned: Tuned, folder: Path, points: Path) -> None:
    """The block, the numbers and the report."""
    from cli.pages import heading, page, paragraph, picture, verbatim

    right, wrong = tuned.counts
    surface = tuned.surface
    numbers = {
        "image": tuned.image,
        "points": str(points),
        "box": str(tuned.region.box),
        "tolerance_um": tuned.region.tolerance,
        "cells": surface.cells,
        "parameters": tuned.parameters,
        "right": right,
        "wrong": wrong,
        "missed": surface.cells - right,
        "f1": tuned.f1,
        "f1_interval": [tuned.interval.low, tuned.interval.high],
        "diameters": surface.diameters.tolist(),
        "contrasts": surface.contrasts.tolist(),
        "f1_of_each": surface.f1.round(4).tolist(),
    }
    html = page(
        f"Tuned on {surface.cells} cells of {tuned.parameters['image']}",
        [
            *map(paragraph, tuned.said()),
            heading("For the job file"),
            verbatim(tuned.block()),
            heading("What it finds"),
            picture(
                where_picture(tuned.region, tuned.ranked, tuned.contrast),
                "The brightest voxel along z, and along y, of the region (dotted) and what is around it. "
                "Circles have the diameter chosen; a cell that was found is drawn where its peak is.",
            ),
            heading("All settings"),
            picture(
                surface_picture(surface, tuned.ranked, tuned.contrast),
                "F1 in the region. The choice (red) is the middle of the settings that do best, weighted by "
                "how far so few cells can tell them apart.",
            ),
        ],
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "segment.yaml").write_text(tuned.block() + "\n")
    (folder / "tuned.json").write_text(json.dumps(numbers, indent=1) + "\n")
    (folder / "report.html").write_text(html, encoding="utf-8")
