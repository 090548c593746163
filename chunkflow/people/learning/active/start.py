"""A model of another brain to begin with, and how far it is to be trusted in this one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chunkflow.people.learning.active.measures import mean_f1
from chunkflow.people.learning.features import Floats
from chunkflow.people.learning.model import Model
from chunkflow.people.learning.scores import Examples

SURE = 0.9
STRANGE = 4.0
"""Standard deviations of what a model learnt from: what lies farther off is unlike all of it."""


@dataclass(frozen=True)
class Start:
    """A model that was trained elsewhere."""

    model: Model
    path: str

    def f1(self, examples: Examples, positive: str) -> float:
        """The mean F1 on labels of this brain, of which it has seen none."""
        if not len(examples.classes):
            return 0.0
        true = examples.said
        said = classes_by(self.model, examples.features)
        names = sorted({*true.tolist(), *said.tolist()})
        counted = [names.index(positive)] if positive in names else range(len(names))
        return mean_f1(np.searchsorted(names, true), np.searchsorted(names, said), counted)

    def trust(self, features: Floats) -> str:
        """How sure the model is of objects of this brain, and how many are unlike all it knows."""
        sure = float((self.model.probabilities(features).max(axis=1) >= SURE).mean())
        text = f"{Path(self.path).name} chooses: it is sure ({SURE:g}) of {sure:.0%} of the objects"
        strange = self._strange(features)
        return f"{text}." if strange is None else f"{text}, and {strange:.0%} are unlike all it learnt from."

    def _strange(self, features: Floats) -> float | None:
        """The share of objects far from what was learnt; None where the model does not tell."""
        scaler = getattr(self.model.estimator, "named_steps", {}).get("standardscaler")
        if scaler is None:
            return None
        away = np.abs((np.arcsinh(features) - scaler.mean_) / scaler.scale_)
        return float((away > STRANGE).any(axis=1).mean())


def classes_by(model: Model, features: Floats) -> npt.NDArray[np.str_]:
    """The class that a model gives each object."""
    names = np.array(model.description.classes)
    return np.asarray(names[model.decide(model.probabilities(features))], dtype=str)
