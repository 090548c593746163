"""The rounds of a learning, each a file beside its model: whoever is killed goes on behind the last one.

A round is there once its file is, which is written whole and by one process alone. Models carry the number of
the edit up to which their labels count, so that two who make the same round do not take each other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from chunkflow.data.atomic import create_once
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.people.learning.active.batch import Batch
from chunkflow.people.learning.active.measures import RoundScores, outlook
from chunkflow.people.review.reviewing import ReviewPlace
from chunkflow.words import plain

FOLDER = "learning"
LOOKED_BACK = 3
"""Kappas whose mean says whether to stop."""
OUTLOOK = 100
"""The labels more for which a gain is told."""


class Round(BaseModel):
    """What one round has learnt, and what it asks for."""

    model_config = ConfigDict(frozen=True)

    number: int
    edit: int
    """The last edit whose labels count."""
    labels: dict[str, int]
    """How many objects of each class were learnt from."""
    minutes: float
    """That people spent on all decisions so far."""
    seed: int
    strategy: str
    chosen: tuple[str, ...]
    """The ids that the strategy chose, as texts."""
    random: tuple[str, ...]
    """Those drawn at random."""
    queue: tuple[str, ...]
    """All of them in the order in which they are looked at."""
    model: str = ""
    """The name of the model's file, in the same folder; empty where labels were too few for one."""
    kappa: float | None = None
    """With the model of the round before."""
    scores: RoundScores | None = None
    remarks: tuple[str, ...] = ()

    @property
    def labelled(self) -> int:
        return sum(self.labels.values())

    @property
    def batch(self) -> Batch:
        return Batch(tuple(map(int, self.chosen)), tuple(map(int, self.random)))

    def __str__(self) -> str:
        learnt = ", ".join(f"{count} {name}" for name, count in self.labels.items()) or "no labels yet"
        scored = f"; F1 {self.scores.f1}" if self.scores else ""
        agreed = f"; kappa {self.kappa:.3f}" if self.kappa is not None else ""
        asked = f"{len(self.queue)} objects are next, by {self.strategy}" if self.queue else "nothing is left"
        return f"Round {self.number}: {learnt}{scored}{agreed}; {asked}."


class KeptRounds:
    """All rounds in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, place: ReviewPlace, generation: str, folder: str | Path = "") -> KeptRounds:
        """The rounds of a table as it is now: one that is made anew begins anew, beside the former ones."""
        if not folder and not place.work.url.startswith("file://"):
            raise BadInput(
                f"{place.work.url} is no folder of this machine, where models could lie: give `folder`."
            )
        root = Path(folder or Path(plain(place.work.url)) / FOLDER)
        return cls(root / f"{place.name}-{generation[:8]}")

    def read(self) -> list[Round]:
        """All rounds, in their order."""
        found = []
        for number in range(1, 1_000_000):
            file = self._file(number)
            try:
                found.append(Round.model_validate_json(file.read_bytes()))
            except FileNotFoundError:
                return found
            except ValidationError as error:
                raise DamagedInput(f"The round {file} cannot be read: move its folder away.") from error
        return found

    def add(self, made: Round) -> bool:
        """Keep a round; whether no other process has kept one of its number before."""
        return create_once(self._file(made.number), made.model_dump_json(indent=1).encode())

    def model_file(self, number: int, edit: int) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"round-{number:04d}-edit-{edit}.skops"

    @property
    def page(self) -> Path:
        return self.folder / "learning.html"

    def _file(self, number: int) -> Path:
        return self.folder / f"round-{number:04d}.json"


class ComparedRound(Protocol):
    """A round whose model was held against that of the round before."""

    @property
    def kappa(self) -> float | None: ...


def is_settled(rounds: Sequence[ComparedRound], until: float) -> bool:
    """Whether the last models agree so well that more labels would hardly change anything."""
    kappas = [one.kappa for one in rounds[-LOOKED_BACK:]]
    known = [value for value in kappas if value is not None]
    return len(known) == LOOKED_BACK and sum(known) / LOOKED_BACK >= until - 1e-9


def gain_expected(rounds: Sequence[Round]) -> float | None:
    """The F1 that the next labels would bring; None before it can be told."""
    scored = [one for one in rounds if one.scores is not None]
    return outlook(
        [one.labelled for one in scored], [one.scores.f1.value for one in scored if one.scores], OUTLOOK
    )
