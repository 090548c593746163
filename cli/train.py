"""Train a classifier on labelled objects: cross-validated, calibrated, kept as one file that runs no code."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.words import counted
from cli.train_estimator import DEFAULT, Recipe
from cli.train_examples import Gathered, gather
from cli.train_page import training_page
from cli.train_scores import Judged, best_threshold, cross_validate, refuse_few, score
from tasks.class_features import FEATURES
from tasks.classifier import Description, save, versions

TASKS = ("classify",)


What = Annotated[str, typer.Argument(metavar="TASK", help="What to train: classify.")]
Objects = Annotated[
    list[str],
    typer.Argument(
        metavar="OBJECTS...", help="Tables: WORK (its `objects`), WORK:TABLE, or a table's own path."
    ),
]
Labels = Annotated[
    list[Path],
    typer.Option(metavar="FILE", help="What objects are, by id or place; once for each table."),
]
Model = Annotated[Path, typer.Option(metavar="MODEL", help="The model to write, as in cells.skops.")]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="PATTERN",
        show_default=", ".join(FEATURES),
        help="Columns to learn from; once for each.",
    ),
]
Estimator = Annotated[str, typer.Option(metavar="MODULE:CLASS", help="A classifier of scikit-learn.")]
Parameters = Annotated[str, typer.Option(metavar="JSON", help="Its parameters, as in '{\"C\": 10}'.")]
Positive = Annotated[
    str, typer.Option(metavar="CLASS", help="The class to be found: choose the threshold for its F1.")
]
Folds = Annotated[int, typer.Option(min=2, max=100, help="How many folds to cross-validate in.")]
Group = Annotated[
    str,
    typer.Option(metavar="COLUMN", help="Objects alike in it share a fold; `work`: those of a table."),
]
Unit = Annotated[str, typer.Option(help="Of x, y, z in FILE: um, nm, mm; voxels if it says nothing.")]
Seed = Annotated[int, typer.Option(min=0, help="For all that is drawn at random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace MODEL where it exists.")]


def train(
    task: What,
    objects: Objects,
    labels: Labels,
    to: Model,
    features: Features = None,
    estimator: Estimator = DEFAULT,
    parameters: Parameters = "",
    positive: Positive = "",
    folds: Folds = 5,
    group: Group = "",
    unit: Unit = "",
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train the model of the task `classify` on objects that people have labelled.

    FILE has a column `class` and either ids of objects or places: CSV, JSON, HDF5, Parquet, or annotations as
    Neuroglancer, napari and cellfinder save them. By default a support vector machine learns from volume,
    diameter, and the mean, std, skew and kurtosis of each image, and its probabilities are calibrated.
    Everything is judged by cross-validation; a page of scores is written beside the model.

    Example: chunkflow train classify work/rat1 work/rat2 --labels rat1.csv --labels rat2.csv --to cells.skops
    """
    _refuse(task, to, overwrite)
    recipe = Recipe.of(estimator, parameters, seed)
    gathered = gather(objects, labels, features or FEATURES, group, unit)
    examples, console = gathered.examples, Console(soft_wrap=True, highlight=False)
    refuse_few(examples, folds)
    if positive and positive not in examples.names:
        raise BadInput(f"--positive {positive}: no label is of this class, but {', '.join(examples.names)}.")
    number = examples.names.index(positive) if positive else None
    for remark in gathered.remarks:
        console.print(remark)
    try:
        judged = cross_validate(recipe.build, examples, folds, seed, number)
    except (ValueError, TypeError) as error:  # an estimator looks at its parameters when it is fitted
        raise BadInput(f"{recipe} cannot be trained: {' '.join(str(error).split())}") from error
    known = _described(gathered, str(recipe), judged, positive, seed, {"folds": folds, "group": group})
    fitted = recipe.build(examples.smallest).fit(
        examples.features, np.array(examples.names)[examples.classes]
    )
    save(to, fitted, known)
    beside = to.with_suffix(".html")
    how = f"Judged in {folds} folds" + (
        f", the objects of one {group} never in two of them." if group else "."
    )
    beside.write_text(training_page(known, examples, judged, how), encoding="utf-8")
    _say(console, known, to, beside)


def _described(
    gathered: Gathered, estimator: str, judged: Judged, positive: str, seed: int, how: dict[str, Any]
) -> Description:
    """What the model's file says of it."""
    examples = gathered.examples
    number = examples.names.index(positive) if positive else None
    return Description(
        features=gathered.features,
        classes=list(examples.names),
        positive=positive,
        threshold=0.0
        if number is None
        else best_threshold(judged.probabilities[:, number], examples, number),
        estimator=estimator,
        seed=seed,
        examples=_counts(examples.names, examples.classes),
        data=gathered.fingerprint,
        scores=score(examples, judged, seed) | how,
        versions=versions(),
        trained=datetime.now(UTC).date().isoformat(),
    )


def _refuse(task: str, to: Path, overwrite: bool) -> None:
    if task not in TASKS:
        raise BadInput(f"There is nothing to train for {task}: only {', '.join(TASKS)} has a model.")
    if to.suffix != ".skops":
        raise BadInput(f"{to} must end in .skops, as in cells.skops.")
    if not to.resolve().parent.is_dir():
        raise BadInput(f"There is no folder {to.resolve().parent} to write {to.name} into.")
    if not overwrite:
        for path in (to, to.with_suffix(".html")):
            if path.exists():
                raise BadInput(f"{path} exists already: name another file, or say --overwrite.")


def _counts(names: tuple[str, ...], classes: np.ndarray) -> dict[str, int]:
    return {name: int((classes == number).sum()) for number, name in enumerate(names)}


def _say(console: Console, known: Description, to: Path, beside: Path) -> None:
    for name, found in known.scores["classes"].items():
        auc, low, high = found["roc_auc"]
        precision, recall, f1 = (found[measure][0] for measure in ("precision", "recall", "f1"))
        console.print(
            f"{name}: ROC AUC {auc:.3f} ({low:.3f}–{high:.3f}), precision {precision:.3f}, "
            f"recall {recall:.3f}, F1 {f1:.3f}; {counted(known.examples[name], 'example')}"
        )
    console.print(f"The model is in {to}, its scores in {beside}.")
