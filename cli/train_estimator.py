"""The chain that is trained: scaling, then an estimator of scikit-learn, its probabilities calibrated."""

from __future__ import annotations

import importlib
import json
import warnings
from dataclasses import dataclass
from typing import Any

from chunkflow.errors import BadInput

DEFAULT = "sklearn.svm:SVC"
CALIBRATION_FOLDS = 5


@dataclass(frozen=True)
class Recipe:
    """An estimator by its import string, and its parameters."""

    kind: type
    name: str
    parameters: dict[str, Any]

    @classmethod
    def of(cls, name: str, parameters: str, seed: int) -> Recipe:
        """Check what was asked for. Unless it is given, the seed is set; and classes weigh the same, however
        many examples they have, in an estimator whose probabilities come of calibration alone."""
        kind = _imported(name)
        try:
            given = json.loads(parameters or "{}")
        except ValueError as error:
            raise BadInput(f"--parameters takes JSON, as in '{{\"C\": 10}}', not {parameters!r}.") from error
        if not isinstance(given, dict):
            raise BadInput(f"--parameters takes a JSON object, as in '{{\"C\": 10}}', not {parameters!r}.")
        known = kind().get_params(deep=False)
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise BadInput(
                f"--parameters: {name} has no parameter {', '.join(unknown)}; it has {', '.join(known)}."
            )
        usual: dict[str, Any] = {"random_state": seed}
        if not _has_probabilities(kind()):
            usual["class_weight"] = "balanced"
        return cls(kind, name, {key: value for key, value in usual.items() if key in known} | given)

    def build(self, smallest: int) -> Any:
        """The chain, to be fitted; its smallest class has so many examples."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        estimator = self.kind(**self.parameters)
        if not _has_probabilities(estimator):
            folds = max(2, min(CALIBRATION_FOLDS, smallest))
            estimator = CalibratedClassifierCV(estimator, cv=folds, ensemble=False)
        return make_pipeline(StandardScaler(), estimator)

    def __str__(self) -> str:
        return f"{self.name} {json.dumps(self.parameters)}"


def _has_probabilities(estimator: Any) -> bool:
    with warnings.catch_warnings():  # SVC warns that its own probabilities end
        warnings.simplefilter("ignore")
        return hasattr(estimator, "predict_proba")


def _imported(name: str) -> type:
    from sklearn.base import BaseEstimator, is_classifier

    module, colon, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute) if colon and module else None
    except (ImportError, AttributeError) as error:
        raise BadInput(f"--estimator {name} cannot be imported: {error}.") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseEstimator)):
        raise BadInput(
            f"--estimator takes a classifier as module:Class, as in sklearn.ensemble:ExtraTreesClassifier, "
            f"not {name}."
        )
    try:
        known: Any = kind()
    except TypeError as error:
        raise BadInput(f"--estimator {name} cannot be made without parameters: {error}.") from error
    if not is_classifier(known):
        raise BadInput(f"--estimator {name} is no classifier.")
    return kind
