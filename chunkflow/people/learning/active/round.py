"""One round: from what is decided to a model, its scores, and what is asked for next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chunkflow.data.info import TableInfo
from chunkflow.data.tables import table_pieces
from chunkflow.errors import BadInput
from chunkflow.people.learning.active.batch import Batch, choose_batch, committee_of
from chunkflow.people.learning.active.effort import minutes_of
from chunkflow.people.learning.active.measures import (
    RoundScores,
    judge_examples,
    kappa,
    mean_f1,
    score_random,
)
from chunkflow.people.learning.active.models import learnable
from chunkflow.people.learning.active.reading import LabelledObjects, read_labelled, undecided_pieces
from chunkflow.people.learning.active.rounds import KeptRounds, Round
from chunkflow.people.learning.active.start import Start, classes_by
from chunkflow.people.learning.active.strategies import COLD, Known, QueryStrategy, strategy_named
from chunkflow.people.learning.active.undecided import Ints, Undecided
from chunkflow.people.learning.estimator import Recipe
from chunkflow.people.learning.features import Floats, choose_features, refuse_missing
from chunkflow.people.learning.model import Model, load, save
from chunkflow.people.learning.scores import Examples, Judged
from chunkflow.people.learning.train import describe
from chunkflow.people.review.labels import labels_of
from chunkflow.words import counted

if TYPE_CHECKING:
    from chunkflow.people.review.log.review_log import ReviewLog

MOST_ROUNDS = 10_000


@dataclass(frozen=True)
class Learnt:
    """A model of what is decided, and what each example was judged to be by the others."""

    model: Model
    examples: Examples
    rows: Ints
    """Of the examples among all that are labelled."""
    judged: Judged | None
    positive: int | None

    @property
    def f1(self) -> float:
        """The mean F1 on what it has not seen; 0 where that is not known."""
        names = range(len(self.examples.names)) if self.positive is None else [self.positive]
        return mean_f1(self.examples.classes, self.judged.decided, names) if self.judged else 0.0


@dataclass(frozen=True)
class RoundMaker:
    """What all rounds of a table have in common."""

    info: TableInfo
    log: ReviewLog
    table: int
    rounds: KeptRounds
    recipe: Recipe
    features: list[str]
    positive: str
    start: Start | None
    seed: int

    def make(self, before: Sequence[Round], strategy: QueryStrategy, batch: int) -> Round:
        """The next round; the last one where nothing was decided since."""
        edits = self.log.edits(self.table)
        edit = edits[-1].seq if edits else 0
        if before and before[-1].edit == edit:
            return before[-1]
        number, current = len(before) + 1, self.log.at(self.table, edit)
        closed = [id for id, held in current.items() if held.state.status or held.state.deleted]
        labelled, sample = read_labelled(self.info, self.features, labels_of(current), self.seed)
        learnt = self._learnt(labelled.examples)
        model, remarks = self._in_use(learnt, labelled, sample)
        if model is None and strategy.needs_model:
            strategy = strategy_named(COLD)
        asked = self._asked(number, learnt, model, closed, sample, strategy, batch)
        made = Round(
            number=number,
            edit=edit,
            labels=labelled.examples.counts,
            minutes=minutes_of(edits),
            seed=self.seed,
            strategy=strategy.name,
            chosen=tuple(map(str, asked.chosen)),
            random=tuple(map(str, asked.random)),
            queue=tuple(map(str, asked.ids)),
            model=self._kept(number, edit, learnt),
            kappa=self._kappa(before, learnt, sample),
            scores=self._scores(before, learnt, labelled),
            remarks=(*remarks, *_left_out(labelled, learnt), *self._disputed()),
        )
        return made if self.rounds.add(made) else self.rounds.read()[number - 1]

    def _learnt(self, labelled: Examples) -> Learnt | None:
        """A model of what is labelled; None where that is too little."""
        found = learnable(labelled)
        if found is None:
            return None
        examples, rows = found
        positive = examples.names.index(self.positive) if self.positive in examples.names else None
        judged = judge_examples(self.recipe, examples, positive, self.seed)
        named = self.positive if positive is not None else ""
        description = describe(examples, self.features, self.recipe, judged, named, self.seed, {})
        fitted = self.recipe.build(examples.smallest).fit(examples.features, examples.said)
        return Learnt(Model(fitted, description, ""), examples, rows, judged, positive)

    def _in_use(
        self, learnt: Learnt | None, labelled: LabelledObjects, sample: Undecided
    ) -> tuple[Model | None, list[str]]:
        """The model by which the next objects are chosen: that of the labels, unless the one to start from
        judges them better."""
        if self.start is None:
            return (learnt.model if learnt else None), []
        if learnt is not None and learnt.f1 >= self.start.f1(labelled.examples, self.positive):
            return learnt.model, []
        return self.start.model, [self.start.trust(sample.features)]

    def _asked(
        self,
        number: int,
        learnt: Learnt | None,
        model: Model | None,
        closed: Sequence[int],
        sample: Undecided,
        strategy: QueryStrategy,
        batch: int,
    ) -> Batch:
        """The objects of the next batch."""

        def judge(features: Floats) -> Floats:
            if model is None or not strategy.needs_model:
                return np.zeros((len(features), 0))
            return model.probabilities(features)

        seed = self.seed * MOST_ROUNDS + number
        examples = learnt.examples if learnt else None
        committee = committee_of(self.recipe, examples, seed) if examples and strategy.asks_committee else []
        known = Known(seed, sample.features, examples, committee)
        pieces = undecided_pieces(self.info, self.features, np.array(closed, np.uint64), judge)
        return choose_batch(pieces, strategy, batch, known)

    def _kept(self, number: int, edit: int, learnt: Learnt | None) -> str:
        """The name of the file into which a model was written; empty without a model."""
        if learnt is None:
            return ""
        file = self.rounds.model_file(number, edit)
        save(file, learnt.model.estimator, learnt.model.description)
        return file.name

    def _kappa(self, before: Sequence[Round], learnt: Learnt | None, sample: Undecided) -> float | None:
        """The agreement with the model of the round before on the sample."""
        file = self.rounds.folder / before[-1].model if before and before[-1].model else None
        if learnt is None or file is None or not file.exists():
            return None
        return kappa(*(classes_by(model, sample.features) for model in (load(str(file)), learnt.model)))

    def _scores(
        self, before: Sequence[Round], learnt: Learnt | None, labelled: LabelledObjects
    ) -> RoundScores | None:
        """Scores on the objects of all former rounds that were drawn at random."""
        if learnt is None or learnt.judged is None:
            return None
        drawn = np.array([int(id) for one in before for id in one.random], np.uint64)
        rows = np.flatnonzero(np.isin(labelled.ids[learnt.rows], drawn))
        return score_random(learnt.examples, learnt.judged, rows, learnt.positive, self.seed)

    def _disputed(self) -> list[str]:
        """What is to be told of objects on which people disagree."""
        disputed = self.log.lists.disagreed(self.table)
        if not disputed:
            return []
        listed = ", ".join(map(str, disputed[:5])) + (" …" if len(disputed) > 5 else "")
        return [f"People disagree on {counted(len(disputed), 'object')} ({listed}): the last word counts."]


def round_maker(
    info: TableInfo,
    log: ReviewLog,
    table: int,
    rounds: KeptRounds,
    recipe: Recipe,
    patterns: Sequence[str],
    positive: str,
    start: str,
    seed: int,
) -> RoundMaker:
    """Check what was asked for; with a model to start from, its features are those that are learnt on."""
    schema = next(table_pieces(info, info.grid.box(0))).schema
    known = Start(load(start), start) if start else None
    if known is not None and patterns:
        raise BadInput("The model to start from has features of its own: give `features` or `start`.")
    features = choose_features(schema, patterns) if known is None else known.model.description.features
    refuse_missing(features, schema, info.url, start)
    return RoundMaker(info, log, table, rounds, recipe, features, positive, known, seed)


def _left_out(labelled: LabelledObjects, learnt: Learnt | None) -> list[str]:
    """What is to be told of labels that are not learnt from."""
    remarks = []
    if labelled.missing:
        remarks.append(
            f"{counted(labelled.missing, 'label')} of objects that the table does not have left out."
        )
    if labelled.lacking:
        remarks.append(f"{counted(labelled.lacking, 'labelled object')} that lack a feature left out.")
    if learnt is None and labelled.examples.names:
        remarks.append("There are too few labels for a model: two classes with two objects each are needed.")
    elif learnt is not None:
        few = sorted(set(labelled.examples.names) - set(learnt.examples.names))
        remarks += [f"The class {name} has one object and is left out." for name in few]
    return remarks
