"""Attack: one way to harm a job, done again and again, each round by the dice of its seed."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.chaos.trial import Trial

Outcome = Literal["identical", "said so"]
"""The job ended as an undisturbed one; or chunkflow said what was wrong, and it did so after the remedy."""


@dataclass(frozen=True)
class Attack:
    """A way to harm a job."""

    what: str
    harm: Callable[[Trial, random.Random], Outcome]
    """Runs a job in an empty folder, harms it, and judges what came of it; raises for any other end."""
    absent: str = ""
    """The reason for which it cannot be done here."""


@dataclass(frozen=True)
class Round:
    """What came of one round."""

    name: str
    """That of the attack."""
    seed: int
    outcome: Outcome | Literal["failed"]
    said: str = ""


def attacked(name: str, attack: Attack, trial: Trial, seed: int) -> Round:
    """Do one round of an attack."""
    try:
        with trial.begun():
            return Round(name, seed, attack.harm(trial, random.Random(seed)))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error).strip() or f"{type(error).__name__} in line {where.lineno} of {where.filename}"
        return Round(name, seed, "failed", said[:600])
