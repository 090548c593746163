"""Pictures of the places where a network is most wrong: the image, what is true, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, vec
from chunkflow.networks.placement import FULL
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import NO_CLASS, CellsTruth, ClassesTruth
from chunkflow.people.reports.pictures import figure, png

if TYPE_CHECKING:
    from chunkflow.networks.training.regions import JudgedCandidates, Prediction
    from chunkflow.networks.training.training import Training

SIDE = 48
"""Of a picture, in voxels."""
MOST = 6


def worst_places(recipe: NetworkRecipe, training: Training) -> tuple[bytes, str] | None:
    """The picture and its caption; None where the network is nowhere wrong."""
    from chunkflow.networks.training.regions import JudgedCandidates, voxelwise

    if recipe.judges:
        assert isinstance(recipe.truth, CellsTruth)
        judged = [one for one in training.predicted if isinstance(one, JudgedCandidates)]
        return _worst_candidates(judged, recipe.truth)
    predicted = voxelwise(training.predicted)
    found = sorted(
        (place for number, one in enumerate(predicted) for place in _places(recipe, one, number)),
        key=lambda place: -place[0],
    )[:MOST]
    if not found:
        return None
    drawn = figure(1.7 * len(found), 5.2)
    rows = drawn.subplots(3, len(found), squeeze=False)
    for column, (_, number, start) in enumerate(found):
        shown = _panels(recipe, predicted[number], start)
        for axes, panel, name in zip(rows[:, column], shown, ("image", "truth", "network"), strict=True):
            if name == "image":
                _show_image(axes, panel)
            else:
                axes.imshow(panel.T, cmap="viridis", vmin=0)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name)
        box = predicted[number].region.box
        place = [a + b for a, b in zip(start, box.start, strict=True)]
        rows[0, column].set_title(", ".join(map(str, place)), fontsize=8)
    caption = (
        f"The parts of {SIDE} x {SIDE} voxels of single sections in which the network is furthest from the "
        "truth, worst first, with the voxel where each begins (x, y, z). What people left out is seen, too."
    )
    return png(drawn), caption


def _worst_candidates(judged: list[JudgedCandidates], truth: CellsTruth) -> tuple[bytes, str] | None:
    """The candidates that are judged the most wrongly, each in the middle of a part of its section."""
    from chunkflow.networks.training.regions import ranked_in

    found = []
    for one in judged:
        asked = ranked_in(one, truth, 0.5)
        wrong = np.abs(asked.chances - asked.is_cell)
        for row in np.argsort(-wrong, kind="stable")[:MOST]:
            said = f"{'a cell' if asked.is_cell[row] else 'no cell'}: {asked.chances[row]:.2f}"
            found.append((float(wrong[row]), one, np.floor(asked.places[row]).astype(int), said))
    found = sorted(found, key=lambda place: -place[0])[:MOST]
    if not found:
        return None
    drawn = figure(1.7 * len(found), 2.2)
    for axes, (_, one, voxel, said) in zip(
        drawn.subplots(1, len(found), squeeze=False)[0], found, strict=True
    ):
        box = Box.of_size((SIDE, SIDE, 1), vec(voxel - (SIDE // 2, SIDE // 2, 0)))
        _show_image(axes, one.region.volume.channels.over(box)[0, ..., 0])
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{said}\n{', '.join(map(str, voxel))}", fontsize=8)
    return png(drawn), (
        f"The candidates that are judged the most wrongly, in the middle of {SIDE} x {SIDE} voxels of their "
        "sections: what each is, how likely the network takes it for a cell, and its voxel (x, y, z)."
    )


def _show_image(axes: Any, panel: npt.NDArray[Any]) -> None:
    """In grey; the few darkest and brightest voxels, as of what was not imaged, do not decide the scale."""
    low, high = np.percentile(panel, (1, 99.5))
    axes.imshow(panel.T, cmap="gray", vmin=low, vmax=high)


def _wrong(recipe: NetworkRecipe, one: Prediction) -> npt.NDArray[np.float32]:
    """How far the network is from the truth in each voxel, from 0 to 1."""
    truth = one.region.volume.truth.over(one.region.box)[0]
    said = one.steps.astype(np.float32) / FULL
    if isinstance(recipe.truth, ClassesTruth):
        known = truth != NO_CLASS
        chosen = np.where(known, truth, 0).astype(np.int64)[..., None]
        far = 1 - np.take_along_axis(said, chosen, axis=-1)[..., 0]
        return np.asarray(np.where(known & one.region.judged, far, 0), np.float32)
    return np.asarray(np.abs(said[..., 0] - truth) * one.region.judged, np.float32)


def _places(
    recipe: NetworkRecipe, one: Prediction, number: int
) -> list[tuple[float, int, tuple[int, int, int]]]:
    """The worst part of each section of a region, and how wrong it is."""
    wrong = _wrong(recipe, one)
    sums = wrong.cumsum(axis=0).cumsum(axis=1)
    sums = np.pad(sums, ((1, 0), (1, 0), (0, 0)))
    width, height = (min(SIDE, n) for n in wrong.shape[:2])
    totals = sums[width:, height:] - sums[:-width, height:] - sums[width:, :-height] + sums[:-width, :-height]
    found: list[tuple[float, int, tuple[int, int, int]]] = []
    for z in np.argsort(-totals.max(axis=(0, 1)), kind="stable")[:64]:
        x, y = np.unravel_index(int(totals[..., z].argmax()), totals.shape[:2])
        near = any(abs(int(z) - place[2][2]) < 4 for place in found)  # the same thing, a section on
        if totals[x, y, z] > 0 and not near:
            found.append((float(totals[x, y, z]), number, (int(x), int(y), int(z))))
        if len(found) == MOST:
            break
    return found


def _panels(recipe: NetworkRecipe, one: Prediction, start: tuple[int, int, int]) -> list[npt.NDArray[Any]]:
    """The image, the truth and the answer over one part of a section."""
    x, y, z = start
    part = (slice(x, x + SIDE), slice(y, y + SIDE), z)
    image = one.region.volume.channels.over(one.region.box)[0][part]
    truth = one.region.volume.truth.over(one.region.box)[0][part].astype(np.float32)
    if isinstance(recipe.truth, ClassesTruth):
        return [image, np.where(truth == NO_CLASS, np.nan, truth), one.steps[part].argmax(axis=-1)]
    return [image, truth, one.steps[(*part, 0)] / FULL]
