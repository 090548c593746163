"""Rounds of a training: a network goes on from what it got wrong where it had learnt.

All cells that it missed, and half of what it took for cells and is none, are seen more often in the next
round: half of the rare examples are taken around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chunkflow.data.atomic import write_whole
from chunkflow.errors import BadInput
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.truths import CellsTruth, Floats
from chunkflow.people.learning.networks.scores import Counted, count_mistakes
from chunkflow.people.learning.networks.side_by_side import Heard, fit_unless_made, unheard

if TYPE_CHECKING:
    from chunkflow.networks.training.regions import JudgedRegion, RankedPlaces


@dataclass(frozen=True)
class Rounds:
    """The rounds before the last one, and what is trained in that."""

    before: tuple[tuple[NetworkRecipe, Path], ...]
    """Their recipes and model files."""
    last: NetworkRecipe

    def count(self, regions: Sequence[JudgedRegion]) -> list[Counted]:
        """What each round before the last one gets wrong in some regions."""
        from chunkflow.networks.loading import read_model
        from chunkflow.networks.training.training import predict_over

        return [
            count_mistakes(recipe, read_model(model), predict_over(recipe, model, regions))
            for recipe, model in self.before
        ]


def train_rounds(
    recipe: NetworkRecipe,
    to: Path,
    rounds: int,
    overwrite: bool,
    heard: Heard = unheard,
) -> Rounds:
    """Train the networks of all rounds but the last.

    Their model files lie beside `to`, as cells.round-1.safetensors, with a table for each volume of what is
    to be seen again. One that the same training has made is used again.
    """
    refuse_rounds(recipe, rounds)
    before = []
    for number in range(1, rounds):
        model = to.absolute().with_suffix(f".round-{number}.safetensors")
        fit_unless_made(recipe, model, overwrite, heard)
        before.append((recipe, model))
        recipe = _next_round(recipe, model, number)
    return Rounds(tuple(before), recipe)


def refuse_rounds(recipe: NetworkRecipe, rounds: int) -> None:
    """Raise BadInput for a number of rounds that cannot be trained."""
    if rounds < 1:
        raise BadInput(f"rounds are at least 1, not {rounds}.")
    if rounds > 1 and not isinstance(recipe.truth, CellsTruth):
        raise BadInput(f"rounds go on from missed cells, and the truth of the recipe is {recipe.truth.kind}.")


def _next_round(recipe: NetworkRecipe, model: Path, number: int) -> NetworkRecipe:
    """The recipe that goes on from a model, with its mistakes where it had learnt."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.regions import learnt_regions, ranked_in
    from chunkflow.networks.training.training import predict_over
    from chunkflow.networks.training.volumes import open_volumes

    truth = recipe.truth
    assert isinstance(truth, CellsTruth)
    threshold = read_model(model).outputs[0].taken_from
    opened = open_volumes(recipe)
    asked: dict[int, list[RankedPlaces]] = {}
    for one in predict_over(recipe, model, learnt_regions(opened)):
        asked.setdefault(id(one.region.volume), []).append(ranked_in(one, truth, threshold))
    volumes = []
    for index, (volume, given) in enumerate(zip(opened, recipe.volumes, strict=True), start=1):
        again = ""
        if volume.learns:
            found = asked[id(volume)]
            size, ratios = np.array(volume.space.voxel_size) / 1000, np.array(volume.space.ratios)
            missed = np.concatenate([_missed(one, size, truth.tolerance) for one in found])
            wrong = np.concatenate([one.places[one.taken & ~one.is_cell] for one in found])
            random = np.random.default_rng((recipe.seed, number, index))
            kept = np.sort(random.permutation(len(wrong))[: -(-len(wrong) // 2)])
            file = model.with_suffix(f".volume-{index}.csv")
            _write(file, truth.name, missed * ratios, wrong[kept] * ratios)
            again = str(file)
        volumes.append(given.model_copy(update={"again": again}))
    return recipe.model_copy(update={"start": str(model), "volumes": tuple(volumes)})


def _missed(asked: RankedPlaces, size: Floats, tolerance: float) -> Floats:
    """Cells that were not taken for such: where they were asked about, and the points where they were not."""
    known = asked.places[asked.is_cell]
    alone = np.ones(len(asked.points), bool)
    alone[matched_pairs(known * size, asked.points * size, tolerance)[:, 1]] = False
    return np.concatenate([asked.places[asked.is_cell & ~asked.taken], asked.points[alone]])


def _write(path: Path, name: str, cells: Floats, others: Floats) -> None:
    """The places of a volume, in voxels of its images, and what each is."""
    lines = ["x,y,z,class"]
    for kind, places in ((name, cells), (f"no {name}", others)):
        lines += [",".join([*(f"{value:.3f}" for value in place), kind]) for place in places]
    write_whole(path, ("\n".join(lines) + "\n").encode())
