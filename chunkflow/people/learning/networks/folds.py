"""Folds of a training: each part of the data tested by a network that has not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.errors import BadInput
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.people.learning.networks.false_positives import Reviewed
from chunkflow.people.learning.networks.rounds import train_rounds
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
    counted: tuple[tuple[Counted, ...], ...]
    """What each fold got wrong in each round, the last one last."""

    @property
    def last(self) -> list[tuple[str, Counted]]:
        """What each fold got wrong after the last round, by its name."""
        return [(f"fold {number}", rounds[-1]) for number, rounds in enumerate(self.counted, start=1)]

    def reviewed(self, said: Reviewed) -> FoldsTested:
        """The same, with what a reviewer said of false positives."""
        counted = tuple(tuple(said.applied(one) for one in rounds) for rounds in self.counted)
        return FoldsTested(self.names, counted)

    @property
    def by_fold(self) -> tuple[NetworkScores, ...]:
        """After the last round."""
        return self.of_round(-1)

    @property
    def pooled(self) -> NetworkScores:
        """All folds together, after the last round."""
        return self.pooled_of_round(-1)

    @property
    def rounds(self) -> int:
        """How many rounds each network was trained in."""
        return len(self.counted[0])

    def of_round(self, number: int) -> tuple[NetworkScores, ...]:
        """The scores of each fold after a round."""
        return tuple(score_mistakes([rounds[number]]) for rounds in self.counted)

    def pooled_of_round(self, number: int) -> NetworkScores:
        """The scores of all folds together after a round."""
        return score_mistakes([rounds[number] for rounds in self.counted])


def score_folds(
    recipe: NetworkRecipe, to: Path, count: int, rounds: int, address: str, serial: bool, overwrite: bool
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
        (fold, str(target.with_suffix(f".fold-{fold.number + 1}.safetensors")), rounds, overwrite)
        for fold in folds
    ]
    counted = call_side_by_side(train_fold, calls, recipe, address, serial)
    return FoldsTested(tuple(_name(fold) for fold in folds), tuple(counted))


def train_fold(fold: Fold, to: str, rounds: int, overwrite: bool) -> tuple[Counted, ...]:
    """Train the network of one fold, and test it after each round at the threshold of its own validation."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.regions import judged_regions
    from chunkflow.networks.training.training import predict_over

    tests, model = judged_regions(fold.opened_tests()), Path(to)
    trained = train_rounds(fold.recipe, model, rounds, overwrite)
    fit_unless_made(trained.last, model, overwrite)
    predicted = predict_over(fold.recipe, model, tests)
    return *trained.count(tests), count_mistakes(fold.recipe, read_model(model), predicted)


def _name(fold: Fold) -> str:
    parts: Sequence[str] = [
        f"{Path(volume.images[0]).name} {' '.join(volume.validation)}" for volume in fold.tests
    ]
    return ", ".join(part.removesuffix(" all") for part in parts)
