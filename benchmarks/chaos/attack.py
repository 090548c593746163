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

    attack: Attack
    seed: int
    outcome: Outcome | Literal["failed"]
    said: str = ""


def attacked(attack: Attack, trial: Trial, seed: int) -> Round:
    """Do one round."""
    try:
        with trial.begun():
            return Round(attack, seed, attack.harm(trial, random.Random(seed)))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = str(error).strip() or f"{type(error).__name__} in line {where.lineno} of {where.filename}"
        return Round(attack, seed, "failed", said[:600])
