"""Training of a network by a recipe: the model file, and beside it a page of how good it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.data.atomic import refuse_existing, refuse_model, write_whole
from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import read_model
from chunkflow.networks.training.recipe import NetworkRecipe, read_recipe
from chunkflow.people.learning.networks.false_positives import Reviewed
from chunkflow.people.learning.networks.few_labels import FewLabels, refuse_labels, score_few_labels
from chunkflow.people.learning.networks.folds import FoldsTested, score_folds
from chunkflow.people.learning.networks.other_light import score_in_other_light
from chunkflow.people.learning.networks.page import network_parts
from chunkflow.people.learning.networks.rounds import Rounds, refuse_rounds, train_rounds
from chunkflow.people.learning.networks.scores import NetworkScores, count_mistakes, score_mistakes
from chunkflow.people.learning.networks.side_by_side import Heard, is_made_by
from chunkflow.people.reports.pages import fragment, page

if TYPE_CHECKING:
    from chunkflow.networks.training.state import Check
    from chunkflow.networks.training.training import Training

PURPOSE = "Training a network"
TITLE = "Training of a network"


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A trained network and its scores where it was judged; in a notebook a page of them."""

    path: Path
    """The model file."""
    recipe: NetworkRecipe
    training: Training
    scores: NetworkScores
    """On the validation."""
    before: tuple[NetworkScores, ...]
    """The same after each round before the last."""
    other_light: NetworkScores
    """On the same voxels, as another microscope might have given them."""
    folds: FoldsTested | None = None
    """Scores of networks that were tested on what they had not seen, where folds were asked for."""
    few_labels: FewLabels | None = None
    """Scores of networks that learnt from few labels, where `labels` were asked for."""

    @property
    def document(self) -> ModelDocument:
        """What the model file says of itself."""
        return self.training.document

    @property
    def checks(self) -> tuple[Check, ...]:
        """Each look at the validation: the step, the loss and the score."""
        return self.training.checks

    @property
    def f1(self) -> float:
        """F1 on the validation, in the mean over classes."""
        return self.scores.values["F1"]

    @property
    def report(self) -> Path:
        """The page of scores, beside the model."""
        return _report_of(self.path)

    def __repr__(self) -> str:
        lines = [
            *self.scores.lines(),
            *(f"In another light, {line}" for line in self.other_light.lines()),
            f"The best of {len(self.checks)} looks; see {self.report}.",
        ]
        if self.folds is not None:
            lines += [f"In {len(self.folds.names)} folds, {line}" for line in self.folds.pooled.lines()]
        if self.few_labels is not None:
            lines += self.few_labels.lines()
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return fragment(TITLE, self._parts())

    def _parts(self) -> list[str]:
        return network_parts(
            self.recipe,
            self.training,
            (*self.before, self.scores),
            self.other_light,
            self.folds,
            self.few_labels,
        )


def train_network(
    recipe: NetworkRecipe | str | Path,
    to: str | Path,
    *,
    folds: int = 0,
    rounds: int = 1,
    labels: Sequence[int] = (),
    address: str = "",
    serial: bool = False,
    listeners: Sequence[Callable[[Check], None]] = (),
    tensorboard: str | Path | None = None,
    overwrite: bool = False,
) -> TrainedNetwork:
    """Train a network by a recipe, and write the model file that the task `infer` runs.

    `recipe` is a YAML file, or what `read_recipe` has read. The model is written to `to` (.safetensors), with
    a page of scores and a table of all looks at the validation beside it (.html, .csv). `listeners` are
    called with each look. Events for TensorBoard go into the folder `tensorboard`.

    With `folds` as many networks more are trained first, side by side on Ray, on this machine or the cluster
    at `address` (or one by one, `serial`). Each is tested on a part of the data of which it has seen nothing:
    whole volumes where there are enough, else slabs of each.

    With 2 `rounds` the network goes on from what it got wrong where it had learnt: all cells that it missed,
    and half of its false positives, are seen more often in the second.

    False positives are written as points into a folder beside the model (.false-positives). Where the column
    `class` says that one is a cell, the next call (`overwrite`) adjusts scores, and trains nothing anew.

    `labels`, as (20, 50, 100), asks what few points bring: for each number two networks more are trained so,
    from scratch and from the model `start`, on a part of the data that holds so many.

    The same recipe gives the same bytes, on the same kind of CPU. The state is kept in a file beside the
    model (.training): a training that was killed goes on from there, and ends with the same bytes.

    >>> trained = train_network(folder / "cells.yaml", folder / "cells-net.safetensors")
    >>> trained.document.outputs[0].name, trained.f1 >= 0
    ('cell', True)
    """
    for package in ("torch", "safetensors"):
        optional_import(package, PURPOSE)
    recipe = recipe if isinstance(recipe, NetworkRecipe) else read_recipe(recipe)
    to = Path(to)
    _refuse(recipe, to, rounds, labels, overwrite)
    heard = _all_of([*_events(tensorboard), *listeners])
    tested = score_folds(recipe, to, folds, rounds, address, serial, overwrite) if folds else None
    few = score_few_labels(recipe, to, labels, address, serial, overwrite) if labels else None
    in_rounds = train_rounds(recipe, to, rounds, overwrite, heard)
    training = _last_training(in_rounds.last, to, heard, overwrite)
    return _scored(recipe, training, in_rounds, tested, few)


def _scored(
    recipe: NetworkRecipe,
    training: Training,
    rounds: Rounds,
    folds: FoldsTested | None,
    few_labels: FewLabels | None,
) -> TrainedNetwork:
    """The network with its scores, written beside it with its false positives."""
    to, document = training.path, training.document
    counted = count_mistakes(recipe, document, training.predicted)
    before = rounds.count([one.region for one in training.predicted])
    other_light = score_in_other_light(recipe, to, document)
    reviewed = Reviewed.read(recipe, to)
    reviewed.write(recipe, to, [("validation", counted), *(folds.last if folds else [])])
    scores = [score_mistakes([reviewed.applied(one)]) for one in (*before, counted)]
    folds = folds.reviewed(reviewed) if folds else None
    trained = TrainedNetwork(
        to, recipe, training, scores[-1], tuple(scores[:-1]), other_light, folds, few_labels
    )
    write_whole(trained.report, page(TITLE, trained._parts()).encode())
    return trained


def _last_training(recipe: NetworkRecipe, to: Path, heard: Heard, overwrite: bool) -> Training:
    """The network of the last round; one that the same training has made is used again."""
    from chunkflow.networks.training.training import (
        Training,
        fit_network,
        predict_over,
        regions_of,
        state_file,
    )

    table = _table_of(to)
    if table.exists() and is_made_by(recipe, to):
        return Training(to, read_model(to), _checks_of(table), predict_over(recipe, to, regions_of(recipe)))
    training = fit_network(recipe, to, heard, overwrite or state_file(to).exists())
    write_whole(table, _table(training.checks).encode())
    return training


def _refuse(recipe: NetworkRecipe, to: Path, rounds: int, labels: Sequence[int], overwrite: bool) -> None:
    """Raise BadInput for what would be refused only after hours of training."""
    _refuse_files(recipe, to, overwrite)
    refuse_rounds(recipe, rounds)
    if labels:
        refuse_labels(recipe, labels)
    Reviewed.read(recipe, to)


def _refuse_files(recipe: NetworkRecipe, model: Path, overwrite: bool) -> None:
    """Raise BadInput where a model, its page or its table would take the place of what is there.

    A model without its page is one whose training was killed while it was scored: that is gone on with.
    """
    from chunkflow.networks.training.training import state_file

    report, table = _report_of(model), _table_of(model)
    read = {Path(place.removeprefix("file://")).resolve() for place in recipe.places}
    for file in (model, report, table):
        if file.resolve() in read:
            raise BadInput(f"{file} is read by the recipe, and would be overwritten: name another model.")
    begun = table.exists() or state_file(model).exists()
    unfinished = model.exists() and begun and not report.exists()
    refuse_model(model, ".safetensors", overwrite or unfinished)
    for beside in (report, table):
        refuse_existing(beside, overwrite or unfinished)


def _all_of(listeners: Sequence[Heard]) -> Heard:
    """One listener that calls all."""

    def heard(check: Check) -> None:
        for listener in listeners:
            listener(check)

    return heard


def _report_of(model: Path) -> Path:
    return model.with_suffix(".html")


def _table_of(model: Path) -> Path:
    return model.with_suffix(".csv")


def _table(checks: Sequence[Check]) -> str:
    """All looks at the validation, as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["step", "rate", "loss", "F1", "threshold"])
    for check in checks:
        rows.writerow([check.step, check.rate, check.loss, check.score, *check.thresholds])
    return text.getvalue()


def _checks_of(table: Path) -> tuple[Check, ...]:
    """All looks, from the table that was written."""
    from chunkflow.networks.training.state import Check

    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return tuple(
        Check(int(step), float(rate), float(loss), float(score), tuple(map(float, thresholds)))
        for step, rate, loss, score, *thresholds in rows
    )


def _events(folder: str | Path | None) -> list[Callable[[Check], None]]:
    """A listener that writes what TensorBoard shows."""
    if folder is None:
        return []
    writer = optional_import("tensorboardX", "Writing events for TensorBoard").SummaryWriter(str(folder))

    def write(check: Check) -> None:
        writer.add_scalar("loss", check.loss, check.step)
        writer.add_scalar("rate", check.rate, check.step)
        writer.add_scalar("validation F1", check.score, check.step)
        writer.flush()

    return [write]
