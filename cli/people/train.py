"""The commands that train: a classifier on labelled objects, a network on images and what is true of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.people.learning.train import Trained
from chunkflow.people.learning.train import train as train_model
from cli.options import Address, Serial

if TYPE_CHECKING:
    from chunkflow.networks.training.state import Check

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
ModelArgument = Annotated[Path, typer.Option(metavar="MODEL", help="The model to write, as in cells.skops.")]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="PATTERN",
        show_default="all; with a group, those that carry over",
        help="Columns to learn from; once for each.",
    ),
]
Estimator = Annotated[
    str,
    typer.Option(
        metavar="MODULE:CLASS",
        show_default="support vector machine; with a group, logistic regression",
        help="A classifier of scikit-learn.",
    ),
]
Parameters = Annotated[str, typer.Option(metavar="JSON", help="Its parameters, as in '{\"C\": 10}'.")]
Positive = Annotated[
    str, typer.Option(metavar="CLASS", help="The class to be found: choose the threshold for its F1.")
]
Folds = Annotated[
    int | None,
    typer.Option(
        min=2,
        max=100,
        show_default="5, or a group each",
        help="How many folds to cross-validate in.",
    ),
]
Group = Annotated[
    str,
    typer.Option(metavar="COLUMN", help="Objects alike in it share a fold; `work`: those of a table."),
]
Unit = Annotated[str, typer.Option(help="Of x, y, z in FILE: um, nm, mm; voxels if it says nothing.")]
Seed = Annotated[int, typer.Option(min=0, help="For all that is drawn at random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace MODEL where it exists.")]
RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, in YAML.")]
NetworkFile = Annotated[
    Path, typer.Option("--to", metavar="MODEL", help="The model to write, as in cells.safetensors.")
]
NetworkFolds = Annotated[
    int,
    typer.Option(
        min=0,
        max=100,
        help="Train so many networks more, each tested on a part that it has not seen.",
    ),
]
NetworkLabels = Annotated[
    list[int] | None,
    typer.Option(
        "--labels",
        metavar="N",
        min=1,
        show_default=False,
        help="Try what N points bring, from scratch and from `start`; once for each.",
    ),
]
NetworkRounds = Annotated[
    int, typer.Option(min=1, max=10, help="Rounds; each goes on from what the one before got wrong.")
]
EventFolder = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", show_default=False, help="Write events for TensorBoard into it."),
]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def train() -> None:
    """Train the model of `classify` on labelled objects, or a network that `infer` runs."""


@app.command()
def classify(
    objects: Objects,
    labels: Labels,
    to: ModelArgument,
    features: Features = None,
    estimator: Estimator = "",
    parameters: Parameters = "",
    positive: Positive = "",
    folds: Folds = None,
    group: Group = "",
    unit: Unit = "",
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Train the model of the task `classify` on objects that people have labelled.

    FILE has a column `class` and either ids of objects or places: CSV, JSON, HDF5, Parquet, or annotations as
    Neuroglancer, napari and cellfinder save them. By default a support vector machine learns from all columns
    of size and intensity that `measure` has made, and its probabilities are calibrated. With several brains,
    say `--group work`: a logistic regression learns from what means the same in the next brain (diameter,
    roundness, skew, kurtosis and the contrast-to-noise ratios that come of `contrasts`), and the threshold is
    the best in the mean over brains, each judged by the others. Everything is judged by cross-validation; a
    page of scores is written beside the model.

    Example: chunkflow train classify work/rat1 work/rat2 --labels rat1.csv --labels rat2.csv --to cells.skops
    """
    given = _parse_parameters(parameters)
    trained = train_model(
        objects,
        labels,
        to,
        features=features or (),
        estimator=estimator,
        parameters=given,
        positive=positive,
        folds=folds,
        group=group,
        unit=unit,
        seed=seed,
        overwrite=overwrite,
    )
    show_trained(trained)


@app.command()
def network(
    recipe: RecipeFile,
    to: NetworkFile,
    folds: NetworkFolds = 0,
    rounds: NetworkRounds = 1,
    labels: NetworkLabels = None,
    address: Address = "",
    serial: Serial = False,
    tensorboard: EventFolder = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a network by a recipe: images, points or painted labels, and how to learn from them.

    The recipe says what the network is, at which size of voxels it learns, where people marked everything,
    and where it is judged. Training stops when the score on what it has not learnt from gets no better. A
    page of scores and a table of all looks lie beside MODEL. Killed at any time and begun again, it goes on,
    and ends with the same bytes.

    Example: chunkflow train network cells.yaml --to cells.safetensors
    """
    from chunkflow.people.learning.networks.train import train_network

    console = Console(soft_wrap=True, highlight=False)

    def tell(check: Check) -> None:
        console.print(f"step {check.step:,}: loss {check.loss:.4f}, F1 {check.score:.3f}")

    trained = train_network(
        recipe,
        to,
        folds=folds,
        rounds=rounds,
        labels=labels or (),
        address=address,
        serial=serial,
        listeners=[tell],
        tensorboard=tensorboard,
        overwrite=overwrite,
    )
    console.print(str(trained))
    console.print(f"The model is in {trained.path}.")


def show_trained(trained: Trained) -> None:
    """Print the scores of a model, what was left out, and where it is."""
    console = Console(soft_wrap=True, highlight=False)
    for remark in trained.remarks:
        console.print(remark)
    console.print(str(trained))
    console.print(f"The model is in {trained.path}, its scores in {trained.report}.")


def _parse_parameters(text: str) -> dict[str, Any]:
    """The parameters of an estimator as typed: a JSON object."""
    try:
        given = json.loads(text or "{}")
    except ValueError as error:
        raise BadInput(f"--parameters takes JSON, as in '{{\"C\": 10}}', not {text!r}.") from error
    if not isinstance(given, dict):
        raise BadInput(f"--parameters takes a JSON object, as in '{{\"C\": 10}}', not {text!r}.")
    return given
