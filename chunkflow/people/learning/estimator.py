"""The chain that is trained: an inverse hyperbolic sine, scaling, then an estimator of scikit-learn.

1. Sizes and contrasts differ by factors. The inverse hyperbolic sine is a logarithm where numbers are large,
   and a straight line around 0, so that a factor between two brains becomes an offset.
2. Each feature is centred, and scaled to unit variance.
3. Within one brain a support vector machine is the default: it follows whatever tells its classes apart.
   With groups, as of several brains, it is a logistic regression whose classes weigh the same, however many
   examples they have. Its probability does not contain how frequent a class was among the examples, which
   says nothing about the next brain; and a plane follows one brain's particulars less than kernels do.
4. The probabilities of an estimator that gives none of itself come of calibration.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkflow.errors import BadInput

DEFAULT = "sklearn.svm:SVC"
CARRYING = "sklearn.linear_model:LogisticRegression"
"""The default with groups."""
USUAL = {"C": 0.3, "class_weight": "balanced", "max_iter": 1000}
"""Parameters of that one, unless others are given."""
CALIBRATION_FOLDS = 5


@dataclass(frozen=True)
class Recipe:
    """An estimator by its import string, and its parameters."""

    kind: type
    name: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, name: str, parameters: Mapping[str, Any], seed: int) -> Recipe:
        """Check what was asked for. Unless it is given, the seed is set; and classes weigh the same, however
        many examples they have, in an estimator whose probabilities come of calibration alone."""
        kind = _imported(name)
        known = kind().get_params(deep=False)
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise BadInput(f"{name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}.")
        usual: dict[str, Any] = {"random_state": seed}
        if not hasattr(kind(), "predict_proba"):
            usual["class_weight"] = "balanced"
        if name == CARRYING:
            usual |= USUAL
        chosen = {key: value for key, value in usual.items() if key in known}
        return cls(kind, name, chosen | dict(parameters))

    def build(self, smallest: int) -> Any:
        """The chain, to be fitted; its smallest class has so many examples."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        estimator = self.kind(**self.parameters)
        if not hasattr(estimator, "predict_proba"):
            folds = max(2, min(CALIBRATION_FOLDS, smallest))
            estimator = CalibratedClassifierCV(estimator, cv=folds, ensemble=False)
        return make_pipeline(FunctionTransformer(np.arcsinh), StandardScaler(), estimator)

    def __str__(self) -> str:
        return f"{self.name} {json.dumps(self.parameters, default=str)}"


def _imported(name: str) -> type:
    from sklearn.base import BaseEstimator, is_classifier

    module, colon, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute) if colon and module else None
    except (ImportError, AttributeError) as error:
        raise BadInput(f"The estimator {name} cannot be imported: {error}.") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        raise BadInput(
            f"An estimator is a classifier as module:Class, as in sklearn.ensemble:ExtraTreesClassifier, "
            f"not {name}."
        )
    try:
        known: Any = kind()
    except TypeError as error:
        raise BadInput(f"The estimator {name} cannot be made without parameters: {error}.") from error
    if not is_classifier(known):
        raise BadInput(f"The estimator {name} is no classifier.")
    return kind
