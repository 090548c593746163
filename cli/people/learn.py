"""The command that learns from what people decide, and chooses what they look at next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chunkflow.errors import BadInput
from chunkflow.people.learning.active.learn import UNTIL, Awaited
from chunkflow.people.learning.active.learn import learn as learn_from
from chunkflow.people.learning.active.rounds import Round
from chunkflow.people.learning.active.simulation import LearningCurve, simulate_learning
from chunkflow.people.learning.active.simulation_page import write_simulation
from chunkflow.people.learning.active.strategies import DEFAULT_STRATEGY, STRATEGIES
from cli.people.review import DatabasePlace

SIMULATED_ROUNDS, SEEDS = 20, 5


LearntTable = Annotated[
    str, typer.Argument(metavar="WORK[:TABLE]", help="The table of a job that people review.")
]
BatchSize = Annotated[int, typer.Option(min=2, help="Objects of a round; a fifth of them at random.")]
StrategyNames = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        show_default=DEFAULT_STRATEGY,
        help=f"{', '.join(STRATEGIES)}, or skactiveml.pool:CLASS; to simulate, once for each.",
    ),
]
RoundCount = Annotated[
    int | None,
    typer.Option(
        min=1, show_default=f"until it is settled; simulated {SIMULATED_ROUNDS}", help="How many rounds."
    ),
]
Until = Annotated[
    float, typer.Option(min=0, max=1, help="End once the mean kappa of three models is so high.")
]
Now = Annotated[bool, typer.Option("--now", help="Make a round of what is decided, and wait for nothing.")]
LearntFeatures = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", show_default="all", help="Columns to learn from; once for each."),
]
LearntEstimator = Annotated[
    str,
    typer.Option(
        metavar="MODULE:CLASS",
        show_default="support vector machine",
        help="A classifier of scikit-learn.",
    ),
]
PositiveClass = Annotated[
    str,
    typer.Option(metavar="CLASS", show_default="the mean over all", help="The class whose F1 counts."),
]
StartModel = Annotated[
    str, typer.Option(metavar="MODEL", show_default=False, help="A model of another brain to begin with.")
]
LearningFolder = Annotated[
    str,
    typer.Option(metavar="FOLDER", show_default="learning in the work folder", help="For models and pages."),
]
LearningSeed = Annotated[int, typer.Option(min=0, help="For all that is drawn at random.")]
SimulatedTable = Annotated[
    str,
    typer.Option(
        metavar="TABLE", show_default=False, help="Try strategies on a table whose classes are known."
    ),
]
TruthColumn = Annotated[
    str,
    typer.Option(metavar="COLUMN", show_default=False, help="Its column that says what each object is."),
]
SeedCount = Annotated[int, typer.Option(min=1, help="How often each strategy is simulated.")]
SimulationPage = Annotated[Path, typer.Option(metavar="FILE", help="The page of what was simulated.")]


def learn(
    place: LearntTable = "",
    batch: BatchSize = 20,
    strategy: StrategyNames = None,
    rounds: RoundCount = None,
    until: Until = UNTIL,
    now: Now = False,
    features: LearntFeatures = None,
    estimator: LearntEstimator = "",
    positive: PositiveClass = "",
    start: StartModel = "",
    database: DatabasePlace = "",
    folder: LearningFolder = "",
    seed: LearningSeed = 0,
    simulate: SimulatedTable = "",
    truth: TruthColumn = "",
    seeds: SeedCount = SEEDS,
    to: SimulationPage = Path("simulation.html"),
) -> None:
    """Learn from what people decide in the review, in rounds, and choose what they look at next.

    Each round trains a classifier on all decisions, and puts what it has most to learn from at the head of
    the review's queue; the next one begins once that is decided. End it at any time: it goes on where it was.

    Example: chunkflow learn work/rat
    """
    console = Console(soft_wrap=True, highlight=False)
    _refuse(place, simulate, truth, strategy)
    if simulate:
        _simulate(console, simulate, truth, strategy, batch, rounds, seeds, positive, features, estimator, to)
        return
    learned = learn_from(
        place,
        batch=batch,
        strategy=strategy[0] if strategy else DEFAULT_STRATEGY,
        rounds=1 if now and rounds is None else rounds,
        until=until,
        wait=not now,
        features=features or (),
        estimator=estimator,
        positive=positive,
        start=start,
        database=database,
        folder=folder,
        seed=seed,
        listeners=[lambda event: _tell(console, event)],
    )
    console.print(
        f"The model is {learned.model or 'still to come'}; how the scores rose is in {learned.page}."
    )


def _refuse(place: str, simulate: str, truth: str, strategies: Sequence[str] | None) -> None:
    if bool(simulate) == bool(place):
        raise BadInput("Give the table to learn (WORK[:TABLE]), or one to try strategies on (--simulate).")
    if simulate and not truth:
        raise BadInput("Say which column of the table has the classes (--truth).")
    if not simulate and strategies and len(strategies) > 1:
        raise BadInput("A review has one strategy: give --strategy once; several can be simulated.")


def _tell(console: Console, event: Round | Awaited) -> None:
    console.print(str(event))
    for remark in event.remarks if isinstance(event, Round) else ():
        console.print(remark)


def _simulate(
    console: Console,
    table: str,
    truth: str,
    strategies: list[str] | None,
    batch: int,
    rounds: int | None,
    seeds: int,
    positive: str,
    features: list[str] | None,
    estimator: str,
    to: Path,
) -> None:
    def tell(curve: LearningCurve) -> None:
        last = curve.rounds[-1]
        console.print(f"{curve.strategy}, seed {curve.seed}: F1 {last.f1:.3f} with {last.labels} labels")

    tried = simulate_learning(
        table,
        truth,
        strategies=strategies or ("random", DEFAULT_STRATEGY),
        batch=batch,
        rounds=rounds or SIMULATED_ROUNDS,
        seeds=seeds,
        positive=positive,
        features=features or (),
        estimator=estimator,
        listeners=[tell],
    )
    write_simulation(tried, to)
    console.print(str(tried))
    console.print(f"The curves are in {to}.")
