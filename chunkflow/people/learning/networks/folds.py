"""Folds of a training: each part of the data tested by a network that has not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.errors import BadInput
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.scores import (
    Counted,
    NetworkScores,
    count_mistakes,
    score_mistakes,
)
from chunkflow.registry import from_cluster

if TYPE_CHECKING:
    from chunkflow.networks.training.folds import Fold


@dataclass(frozen=True)
class FoldsTested:
    """What networks got right and wrong in parts that they had not seen: by fold, and taken together."""

    names: tuple[str, ...]
    """What each fold was tested on."""
    by_fold: tuple[NetworkScores, ...]
    pooled: NetworkScores


def score_folds(
    recipe: NetworkRecipe, to: Path, count: int, address: str, serial: bool, overwrite: bool
) -> FoldsTested:
    """Train as many networks as there are folds, and test each on the part that it has not seen.

    Each is one task of Ray, with a device of its own; with `serial` they are trained one after the other in
    this process. Their model files lie beside `to`, as cells.fold-1.safetensors; one that the same training
    has made is used again.
    """
    from chunkflow.networks.training.folds import folds_of

    if count < 2:
        raise BadInput(f"folds are at least 2, not {count}.")
    folds = folds_of(recipe, count)
    target = to.absolute()
    calls = [
        (fold, str(target.with_suffix(f".fold-{fold.number + 1}.safetensors")), overwrite) for fold in folds
    ]
    if serial:
        counted = [train_fold(*call) for call in calls]
    else:
        gpus = 1 if recipe.device == "cuda" else 0
        counted = from_cluster("side by side")(train_fold, calls, recipe.threads, gpus, address)
    return FoldsTested(
        tuple(_name(fold) for fold in folds),
        tuple(score_mistakes([one]) for one in counted),
        score_mistakes(counted),
    )


def train_fold(fold: Fold, to: str, overwrite: bool) -> Counted:
    """Train the network of one fold and test it; its thresholds are those of its own validation."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.training import fit_network, predict_over, training_fingerprint

    tests, model = fold.opened_tests(), Path(to)
    same = training_fingerprint(fold.recipe)
    if not (model.exists() and read_model(model).made.training == same):
        fit_network(fold.recipe, model, overwrite=overwrite)
    return count_mistakes(fold.recipe, read_model(model), predict_over(fold.recipe, model, tests))


def _name(fold: Fold) -> str:
    parts: Sequence[str] = [
        f"{Path(volume.images[0]).name} {' '.join(volume.validation)}" for volume in fold.tests
    ]
    return ", ".join(part.removesuffix(" all") for part in parts)
