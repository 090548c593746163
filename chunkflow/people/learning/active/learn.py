"""Learning from what people decide, in rounds: train, choose what is looked at next, wait for it, go on.

1. A round trains on all that is decided, holds the model against that of the round before, and chooses a
   batch, which stands at the head of the review's queue.
2. The next round begins once its objects are decided, by whomever, in whatever order.
3. Without labels enough for a model, a given one (`start`) chooses; else the batch is spread over all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.errors import BadInput
from chunkflow.people.learning.active.batch import refuse_size
from chunkflow.people.learning.active.page import write_page
from chunkflow.people.learning.active.round import RoundMaker, round_maker
from chunkflow.people.learning.active.rounds import KeptRounds, Round, gain_expected, is_settled
from chunkflow.people.learning.active.strategies import DEFAULT_STRATEGY, QueryStrategy, strategy_named
from chunkflow.people.learning.estimator import DEFAULT, Recipe
from chunkflow.people.review.queries import TO_LEARN
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from chunkflow.words import refuse_one_text

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

POLL_SECONDS = 1.0
REMIND_SECONDS = 3600.0
UNTIL = 0.99


@dataclass(frozen=True)
class Awaited:
    """A batch that people have not decided yet."""

    left: int
    seconds: float
    """For which nobody has decided on any of it."""

    def __str__(self) -> str:
        if self.seconds < REMIND_SECONDS:
            return f"{self.left} objects wait for people to decide on them."
        return f"Nobody has decided for {self.seconds / 3600:.0f} h: {self.left} objects still wait."


@dataclass(frozen=True, repr=False)
class Learned:
    """The rounds of a learning, and what is to be made of them."""

    rounds: tuple[Round, ...]
    folder: Path
    until: float

    @property
    def model(self) -> Path | None:
        """The model of the last round that has one."""
        made = [one.model for one in self.rounds if one.model]
        return self.folder / made[-1] if made else None

    @property
    def page(self) -> Path:
        """How the scores rose."""
        return KeptRounds(self.folder).page

    @property
    def settled(self) -> bool:
        """Whether the last models agree so well that there is no need to go on."""
        return is_settled(self.rounds, self.until)

    def __repr__(self) -> str:
        lines = [str(one) for one in self.rounds[-3:]]
        gain = gain_expected(self.rounds)
        if gain is not None:
            lines.append(f"100 labels more can be expected to bring an F1 of {gain:.3f} more.")
        if self.settled:
            lines.append("The last models agree: more labels will hardly change anything.")
        return "\n".join(lines)


Hears = Callable[[Round | Awaited], None]


def learn(
    place: str | Path,
    *,
    batch: int = 20,
    strategy: str = DEFAULT_STRATEGY,
    rounds: int | None = None,
    until: float = UNTIL,
    wait: bool = True,
    features: Sequence[str] = (),
    estimator: str = "",
    positive: str = "",
    start: str | Path = "",
    database: str | Path = "",
    folder: str | Path = "",
    seed: int = 0,
    listeners: Sequence[Hears] = (),
) -> Learned:
    """Learn from what people decide on the objects of a table, and choose what they look at next.

    `place` is WORK:TABLE, or WORK for the last table of its job that has places. Each of the `rounds` trains
    a model, writes it and the page learning.html into WORK/learning (or `folder`), and puts a `batch` of
    objects at the head of the review's queue, a fifth of them at random, the others by the `strategy`. Before
    the next round it waits until they are decided; without `wait` it makes the round with what there is.
    Unless `rounds` are given, it ends once the mean kappa of the last three models is `until`.

    F1 is that of the class `positive`, whose threshold is chosen as well, else the mean over all classes.
    `start` is a model of another brain to begin with. Killed at any time, it goes on where it was; the same
    labels and `seed` give the same rounds. `listeners` hear of each round, and of what is waited for.

    >>> learnt = learn(work.url, rounds=1, database=folder / "learnt.sqlite", folder=folder / "learnt")
    >>> learnt.rounds[0].strategy, len(learnt.rounds[0].queue)
    ('coverage', 20)
    """
    refuse_one_text("features", features)
    refuse_size(batch)
    if rounds is not None and rounds < 1:
        raise BadInput(f"rounds are at least 1, not {rounds}.")
    recipe = Recipe.of(estimator or DEFAULT, {}, seed)
    chosen, found = strategy_named(strategy), ReviewPlace.find(place)
    with closing(open_log(found.database(database))) as log:
        generation = found.objects.generation
        table, kept = found.table_of(log, generation), KeptRounds.of(found, generation, folder)
        maker = round_maker(found.info, log, table, kept, recipe, features, positive, str(start), seed)
        made = _go_on(maker, found.name, chosen, batch, rounds, until, wait, listeners)
    return Learned(tuple(made), kept.folder, until)


def _go_on(
    maker: RoundMaker,
    name: str,
    strategy: QueryStrategy,
    batch: int,
    rounds: int | None,
    until: float,
    wait: bool,
    listeners: Sequence[Hears],
) -> list[Round]:
    """All rounds, with those that were made now."""
    log, table, made = maker.log, maker.table, maker.rounds.read()
    ends = None if rounds is None else len(made) + rounds
    while ends is None or len(made) < ends:
        if made:
            log.lists.put(table, TO_LEARN, list(map(int, made[-1].queue)))
            if wait:
                _await(log, table, made[-1], listeners)
        one = maker.make(made, strategy, batch)
        if made and one.number == made[-1].number:  # nothing was decided since
            break
        made.append(one)
        log.lists.put(table, TO_LEARN, list(map(int, one.queue)))
        write_page(maker.rounds.page, name, made, until)
        _tell(listeners, one)
        if not one.queue or (rounds is None and is_settled(made, until)):
            break
    return made


def _tell(listeners: Sequence[Hears], event: Round | Awaited) -> None:
    for listener in listeners:
        listener(event)


def _await(log: ReviewLog, table: int, last: Round, listeners: Sequence[Hears]) -> None:
    """Wait until a batch is decided."""
    asked = set(map(int, last.queue))
    seen, left = log.last(), len(left_of(log, table, last))
    began, reminded = time.monotonic(), 0
    if left:
        _tell(listeners, Awaited(left, 0.0))
    while left:
        time.sleep(POLL_SECONDS)
        edits = log.edits(table, since=seen)
        seen = edits[-1].seq if edits else seen
        if any(edit.object in asked for edit in edits):
            left = len(left_of(log, table, last))
            began, reminded = time.monotonic(), 0
        waited = time.monotonic() - began
        if left and waited >= (reminded + 1) * REMIND_SECONDS:
            reminded += 1
            _tell(listeners, Awaited(left, waited))


def left_of(log: ReviewLog, table: int, last: Round) -> list[int]:
    """The objects of a batch that nobody has decided on yet."""
    closed = {id for id, held in log.current(table).items() if held.state.status or held.state.deleted}
    return [id for id in map(int, last.queue) if id not in closed]
