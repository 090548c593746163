"""The model file: a fitted classifier and what must be known to use it, in one file that runs no code.

It is a zip as skops writes it, with one document more, `chunkflow.json`. Loading it goes in steps:

1. The document says which columns the model takes, which classes it tells apart, and how it was made.
2. Every type that the file names must be one of skops's own list or of `TYPES`; any other is refused by name.
3. Trees are walked by their numbers without any check, so those are checked here.
4. The model must be of the columns and classes that its document says.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chunkflow.errors import BadInput
from chunkflow.people.learning.features import Floats

DOCUMENT = "chunkflow.json"
MOST_BYTES = 2**32
"""What a model may be when unpacked; more is no model but an attack."""
TYPES = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""What a model may hold beyond the types that skops trusts of itself. Of these a tree alone holds numbers
that are followed unchecked."""
DECIMALS = 6


class Description(BaseModel):
    """What a model file says of itself."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["chunkflow classifier"] = "chunkflow classifier"
    features: list[str] = Field(min_length=1)
    classes: list[str] = Field(min_length=2)
    positive: str = ""
    """The class that an object is of from `threshold` on; without one it is of the likeliest class."""
    threshold: float = 0.0
    estimator: str = ""
    seed: int = 0
    examples: dict[str, int] = {}
    data: str = ""
    """A fingerprint of the features and classes of all examples."""
    scores: dict[str, Any] = {}
    versions: dict[str, str] = {}
    trained: str = ""


@dataclass(frozen=True)
class Model:
    """A model as it was loaded."""

    estimator: Any
    description: Description
    fingerprint: str
    """Of the file."""

    def probabilities(self, features: Floats) -> Floats:
        """A row an object, a column a class. Rounded, as the last bits of some estimators depend on how many
        rows they are given at once, and on the CPU."""
        if not len(features):
            return np.zeros((0, len(self.description.classes)))
        found: Floats = self.estimator.predict_proba(features)
        return np.round(found, DECIMALS)

    def decide(self, probabilities: Floats) -> npt.NDArray[np.int64]:
        """The number of the class of each row."""
        known = self.description
        if not known.positive:
            return np.asarray(probabilities.argmax(axis=1))
        return decide(probabilities, known.classes.index(known.positive), known.threshold)


def decide(probabilities: Floats, positive: int, threshold: float) -> npt.NDArray[np.int64]:
    """The class `positive` from its threshold on, else the likeliest of the others."""
    others = probabilities.copy()
    others[:, positive] = -1.0
    return np.where(probabilities[:, positive] >= threshold, positive, others.argmax(axis=1))


def save(path: Path, estimator: Any, description: Description) -> None:
    """Write a model, whole or not at all."""
    import skops.io

    from chunkflow.data.atomic import written_whole  # with it come the clients of all stores

    data = skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED)
    _refuse_types(data, f"{description.estimator} cannot be kept in a model file")
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr(DOCUMENT, description.model_dump_json(indent=1))
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def describe_model(path: str) -> Description:
    """What a model file says of itself; nothing else of it is read."""
    with _opened(path, _bytes_of(path)) as file:
        return _description(path, file)


def load(path: str) -> Model:
    """The model, after all checks."""
    import skops.io

    data = _bytes_of(path)
    with _opened(path, data) as file:
        description = _description(path, file)
    _refuse_types(data, f"The model {path} is refused")
    try:
        estimator = skops.io.loads(data, trusted=list(TYPES))
        sound = _is_sound(estimator, description)
    except Exception as error:
        raise BadInput(
            f"The model {path} cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())}); "
            f"it was made with scikit-learn {description.versions.get('scikit-learn', '?')}. "
            "Train it again here."
        ) from error
    if not sound:
        raise BadInput(f"The model {path} is not what it says of itself; train it again.")
    return Model(estimator, description, hashlib.sha256(data).hexdigest())


def versions() -> dict[str, str]:
    """What a model may depend on."""
    import sklearn
    import skops

    import chunkflow

    return {
        "chunkflow": chunkflow.__version__,
        "scikit-learn": sklearn.__version__,
        "skops": skops.__version__,
        "numpy": np.__version__,
    }


def version_warning(description: Description) -> str:
    """What to say where the model was made with another scikit-learn; empty where it was not."""
    made, here = description.versions.get("scikit-learn", "?"), versions()["scikit-learn"]
    if made == here:
        return ""
    return (
        f"the model was trained with scikit-learn {made} and is used with {here}, which may give other "
        "probabilities: train it again"
    )


def _bytes_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise BadInput(
            f"There is no model {path}; `chunkflow train classify` makes one. Until then, run the job as far "
            "as its table alone (until)."
        ) from None
    except OSError as error:
        raise BadInput(f"The model {path} cannot be read: {error.strerror or error}.") from error


def _opened(path: str, data: bytes) -> zipfile.ZipFile:
    """The zip, every member of which is as it was written."""
    if data[:2] != b"PK":
        raise _no_model(path)
    try:
        file = zipfile.ZipFile(io.BytesIO(data))
        names, size = file.namelist(), sum(member.file_size for member in file.infolist())
        damaged = file.testzip() if size <= MOST_BYTES else None
    except Exception as error:  # zipfile and zlib raise a dozen kinds, with no parent in common
        raise BadInput(f"The model {path} is damaged: {error}.") from error
    if size > MOST_BYTES:
        raise BadInput(f"The model {path} holds more than {MOST_BYTES >> 30} GiB and is refused.")
    if damaged is not None:
        raise BadInput(f"The model {path} is damaged: its part {damaged} is not as it was written.")
    if DOCUMENT not in names or "schema.json" not in names:
        raise _no_model(path)
    return file


def _no_model(path: str) -> BadInput:
    return BadInput(
        f"{path} is not a model that `chunkflow train classify` has written. What pickle or joblib wrote is "
        "never read, as it can run any code."
    )


def _description(path: str, file: zipfile.ZipFile) -> Description:
    try:
        return Description.model_validate(json.loads(file.read(DOCUMENT)))
    except (ValueError, ValidationError) as error:
        raise BadInput(f"The model {path} is damaged: what it says of itself cannot be read.") from error


def _refuse_types(data: bytes, refused: str) -> None:
    import skops.io

    try:
        unknown = set(skops.io.get_untrusted_types(data=data)) - set(TYPES)
    except Exception as error:
        raise BadInput(f"{refused}: it cannot be read ({type(error).__name__}: {error}).") from error
    if unknown:
        raise BadInput(
            f"{refused}: it holds {', '.join(sorted(unknown))}, which is not among the types that are known "
            "to run no code."
        )


def _is_sound(estimator: Any, description: Description) -> bool:
    """Whether a model is of the columns and classes that are said, and its trees lead somewhere."""
    if not hasattr(estimator, "predict_proba"):
        return False
    if [str(name) for name in estimator.classes_] != description.classes:
        return False
    if description.positive and description.positive not in description.classes:
        return False
    if int(estimator.n_features_in_) != len(description.features):
        return False
    return all(_leads_on(tree, len(description.features)) for tree in _trees(estimator, set()))


def _trees(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Every tree within a model."""
    from sklearn.tree._tree import Tree

    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Tree):
        yield thing
    elif isinstance(thing, dict):
        for value in thing.values():
            yield from _trees(value, seen)
    elif isinstance(thing, list | tuple) or (isinstance(thing, np.ndarray) and thing.dtype.kind == "O"):
        for value in thing if not isinstance(thing, np.ndarray) else thing.ravel():
            yield from _trees(value, seen)
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        yield from _trees(vars(thing), seen)


def _leads_on(tree: Any, features: int) -> bool:
    """Whether each node leads to later nodes that exist, by a feature that exists: so every way ends."""
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = np.flatnonzero((left != -1) | (right != -1))
    children = np.stack([left[inner], right[inner]])
    return bool(
        (children > inner).all()
        and (children < tree.node_count).all()
        and (feature[inner] >= 0).all()
        and (feature[inner] < min(tree.n_features, features)).all()
        and tree.node_count > 0
    )
