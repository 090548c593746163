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
from chunkflow.people.learning.networks.side_by_side import call_side_by_side, fit_unless_made

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
    counted = call_side_by_side(train_fold, calls, recipe, address, serial)
    return FoldsTested(
        tuple(_name(fold) for fold in folds),
        tuple(score_mistakes([one]) for one in counted),
        score_mistakes(counted),
    )


def train_fold(fold: Fold, to: str, overwrite: bool) -> Counted:
    """Train the network of one fold and test it; its thresholds are those of its own validation."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.training import predict_over

    tests, model = fold.opened_tests(), Path(to)
    fit_unless_made(fold.recipe, model, overwrite)
    return count_mistakes(fold.recipe, read_model(model), predict_over(fold.recipe, model, tests))


def _name(fold: Fold) -> str:
    parts: Sequence[str] = [
        f"{Path(volume.images[0]).name} {' '.join(volume.validation)}" for volume in fold.tests
    ]
    return ", ".join(part.removesuffix(" all") for part in parts)
