"""What few labels bring: networks trained on small parts of the data, from scratch and fine-tuned."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec
from chunkflow.networks.training.recipe import WHOLE, LearntVolume, NetworkRecipe
from chunkflow.networks.training.truths import CellsTruth
from chunkflow.people.learning.networks.scores import (
    Counted,
    NetworkScores,
    count_mistakes,
    score_mistakes,
)
from chunkflow.people.learning.networks.side_by_side import call_side_by_side, fit_unless_made
from chunkflow.people.reports.pages import heading, paragraph, picture, table
from chunkflow.people.reports.pictures import BLUE, GREY, TEAL, figure, png

if TYPE_CHECKING:
    from chunkflow.networks.training.volumes import OpenedVolume

EXACT = 1e-6


@dataclass(frozen=True)
class FewLabelsRow:
    """Scores of the networks that learnt from so many labels."""

    labels: int
    from_scratch: NetworkScores | None
    """None without labels."""
    fine_tuned: NetworkScores
    """Of the network that began with the model `start`; without labels of that model as it is."""


@dataclass(frozen=True)
class FewLabels:
    """What labels bring, from scratch and with the model `start` to begin with."""

    rows: tuple[FewLabelsRow, ...]
    """From no label to many."""
    points: int
    """All that the data have to learn from."""

    def lines(self) -> list[str]:
        """The scores in words."""
        return [
            f"With {row.labels} labels, F1: {_words(row.from_scratch)} from scratch, "
            f"{_words(row.fine_tuned)} fine-tuned"
            if row.from_scratch
            else f"Without labels, F1: {_words(row.fine_tuned)}"
            for row in self.rows
        ]


@dataclass(frozen=True)
class LabelledPart:
    """A recipe that learns from a part of the data, and how many points lie in that."""

    labels: int
    recipe: NetworkRecipe


def score_few_labels(
    recipe: NetworkRecipe, to: Path, labels: Sequence[int], address: str, serial: bool, overwrite: bool
) -> FewLabels:
    """Train two networks for each number of labels, and judge them by the validation of the recipe.

    They run as those of folds do. Their model files lie beside `to`, as
    cells.20-labels-fine-tuned.safetensors; one that the same training has made is used again.
    """
    from chunkflow.networks.training.volumes import open_volumes

    refuse_labels(recipe, labels)
    volumes = open_volumes(recipe)
    parts, points = parts_of(recipe, volumes, labels)
    start = _score_of_start(recipe, volumes)
    target, calls = to.absolute(), []
    for part in parts:
        scratch = part.recipe.model_copy(update={"start": "", "freeze": ()})
        for name, one in (("from-scratch", scratch), ("fine-tuned", part.recipe)):
            model = target.with_suffix(f".{part.labels}-labels-{name}.safetensors")
            calls.append((one, str(model), overwrite))
    scores = [score_mistakes([one]) for one in call_side_by_side(train_part, calls, recipe, address, serial)]
    rows = [
        FewLabelsRow(part.labels, *pair)
        for part, pair in zip(parts, zip(scores[::2], scores[1::2], strict=True), strict=True)
    ]
    return FewLabels((FewLabelsRow(0, None, start), *rows), points)


def train_part(recipe: NetworkRecipe, to: str, overwrite: bool) -> Counted:
    """Train a network on a part of the data, and count what it gets wrong on the validation."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.training import predict_over, regions_of

    model = Path(to)
    fit_unless_made(recipe, model, overwrite)
    return count_mistakes(recipe, read_model(model), predict_over(recipe, model, regions_of(recipe)))


def parts_of(
    recipe: NetworkRecipe, volumes: Sequence[OpenedVolume], labels: Sequence[int]
) -> tuple[list[LabelledPart], int]:
    """Recipes that learn from parts with so many points, as far as there are as many; and how many there are.

    Each part holds the ones before it. It goes through the volumes in their order, as somebody would annotate
    them slab by slab, along the axis that the most patches fill, and ends behind the voxel of the last point:
    others that lie no further count, too. What is judged stays the same.
    """
    from chunkflow.networks.training.volumes import fullest_axis

    ends: list[tuple[int, int]] = []
    for number, volume in enumerate(volumes):
        along = volume.points_where("learnt")[:, fullest_axis(volume.bounds, recipe.patch)]
        ends += [(number, floor(place) + 1) for place in np.sort(along)]
    if not ends or min(labels) > len(ends):
        raise BadInput(
            f"Only {len(ends)} points are learnt from, and at least {min(labels)} labels are asked for: give "
            "fewer in `labels`."
        )
    counts = sorted({bisect_right(ends, ends[count - 1]) for count in labels if count <= len(ends)})
    return [LabelledPart(count, _up_to(recipe, volumes, *ends[count - 1])) for count in counts], len(ends)


def _up_to(recipe: NetworkRecipe, volumes: Sequence[OpenedVolume], last: int, end: int) -> NetworkRecipe:
    """The recipe that learns from the volumes before the last one, and from that up to an end."""
    from chunkflow.networks.training.volumes import fullest_axis

    kept = []
    for number, (volume, given) in enumerate(zip(volumes, recipe.volumes, strict=True)):
        stop = list(volume.bounds.stop)
        if number == last:
            stop[fullest_axis(volume.bounds, recipe.patch)] = end
        slab = Box(volume.bounds.start, vec(stop))
        learnt = [box.clip(slab) for box in volume.boxes] if number <= last else []
        kept += _with_boxes(given, volume, learnt)
    return recipe.model_copy(update={"volumes": tuple(kept)})


def _with_boxes(given: LearntVolume, volume: OpenedVolume, learnt: Sequence[Box]) -> list[LearntVolume]:
    """The volume learnt from in these boxes alone and judged as before; none where nothing is left of it."""
    if not volume.learns:
        return [given]
    judged = [box.clip(one) for box in volume.boxes for one in volume.validation]
    counting = _texts(volume, [*learnt, *judged])
    if any(not box.empty for box in learnt):
        update: dict[str, Any] = {"boxes": counting, "validation": _texts(volume, volume.validation)}
    else:
        update = {"boxes": counting, "validation": WHOLE}
    return [given.model_copy(update=update)] if counting else []


def _texts(volume: OpenedVolume, boxes: Sequence[Box]) -> tuple[str, ...]:
    """Boxes of the network's voxels as a recipe says them: in voxels of the images, which are no larger."""
    ratios = volume.space.ratios
    return tuple(
        str(
            Box(
                vec(ceil(a * ratio - EXACT) for a, ratio in zip(box.start, ratios, strict=True)),
                vec(floor(b * ratio + EXACT) for b, ratio in zip(box.stop, ratios, strict=True)),
            )
        )
        for box in boxes
        if not box.empty
    )


def _score_of_start(recipe: NetworkRecipe, volumes: Sequence[OpenedVolume]) -> NetworkScores:
    """Scores of the model that is begun with, as it is, at its own threshold."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.regions import judged_regions
    from chunkflow.networks.training.training import first_network
    from chunkflow.networks.training.validation import Validation

    network = first_network(recipe)
    validation = Validation(recipe, network, judged_regions(volumes))
    validation.refuse_nothing()
    predicted = validation.predict(network.state_dict())
    return score_mistakes([count_mistakes(recipe, read_model(recipe.start), predicted)])


def refuse_labels(recipe: NetworkRecipe, labels: Sequence[int]) -> None:
    """Raise BadInput where few labels cannot be told from many."""
    if min(labels) < 1:
        raise BadInput(f"`labels` are at least 1, not {min(labels)}.")
    if not isinstance(recipe.truth, CellsTruth):
        raise BadInput(f"`labels` counts points, and the truth of the recipe is {recipe.truth.kind}.")
    if not recipe.start:
        raise BadInput(
            "`labels` compares fine-tuning with training from scratch: say in the recipe with which model to "
            "begin (`start`)."
        )


def few_labels_parts(recipe: NetworkRecipe, few: FewLabels, scores: NetworkScores) -> list[str]:
    """What the page says of few labels; `scores` are those of the network that learnt from all."""
    rows = [
        [str(row.labels), *_cells(row.from_scratch), *_cells(row.fine_tuned)]
        for row in (*few.rows, FewLabelsRow(few.points, None, scores))
    ]
    start = Path(recipe.start).name
    return [
        heading("Few labels"),
        paragraph(
            f"What labels bring, from scratch and with {start} to begin with. Each row is two networks more, "
            f"trained on a slab that holds so many of the points. Without labels it is {start} as it is, at "
            "its own threshold; the last row is the network of this page. All are judged on the same "
            "validation. Those that were trained also stop by it and take their threshold from it, so its "
            "labels come on top. Differences that the intervals span say little, as each is of one network."
        ),
        table(["labels", "from scratch, F1", "95 % certain", "fine-tuned, F1", "95 % certain"], rows),
        picture(_curve(few, scores), "F1 over the number of labels; bars are 95 % certain."),
    ]


def _cells(scores: NetworkScores | None) -> list[str]:
    if scores is None:
        return ["", ""]
    return [f"{scores.values['F1']:.3f}", str(scores.intervals["F1"])]


def _words(scores: NetworkScores) -> str:
    value, interval = _cells(scores)
    return f"{value} ({interval})"


def _curve(few: FewLabels, scores: NetworkScores) -> bytes:
    drawn = figure(6, 3.6)
    axes = drawn.subplots()
    tuned = [(row.labels, row.fine_tuned) for row in few.rows]
    scratch = [(row.labels, row.from_scratch) for row in few.rows if row.from_scratch is not None]
    for name, found, colour in (("fine-tuned", tuned, TEAL), ("from scratch", scratch, BLUE)):
        places, values = [labels for labels, _ in found], [one.values["F1"] for _, one in found]
        ends = [one.intervals["F1"] for _, one in found]
        low = [max(value - end.low, 0) for value, end in zip(values, ends, strict=True)]
        high = [max(end.high - value, 0) for value, end in zip(values, ends, strict=True)]
        axes.errorbar(
            places, values, (low, high), fmt="o-", color=colour, markersize=4, capsize=3, label=name
        )
    axes.axhline(scores.values["F1"], color=GREY, linestyle="--", label=f"all {few.points} labels")
    axes.set(xlabel="labels", ylabel="F1", ylim=(0, 1.03), xticks=[row.labels for row in few.rows])
    axes.legend(loc="lower right")
    return png(drawn)
