"""Names of models that come along: they stand wherever the path of a model file may.

A name has neither a folder nor a suffix. It stays a name in jobs, recipes and records, and becomes a path
where the file is opened: the package may lie elsewhere on each worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from chunkflow.errors import BadInput
from chunkflow.roles import Located

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"
NAME = re.compile("[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class LocatedModel(Located):
    """Marks a field that is the path of a model file, or the name of a model that comes along."""

    def is_path(self, value: str) -> bool:
        return super().is_path(value) and not is_name(value)


NetworkModel = Annotated[str, LocatedModel()]


def model_names() -> list[str]:
    """The names of all models that come along."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def is_name(place: str | Path) -> bool:
    """Whether this is the name of a model, and no path."""
    return NAME.fullmatch(str(place)) is not None


def model_path(place: str | Path) -> Path:
    """The path of a model file; of a name, that in the package. BadInput where none comes along by it."""
    if not is_name(place):
        return Path(place)
    path = FOLDER / f"{place}{SUFFIX}"
    if not path.is_file():
        raise BadInput(
            f"There is no model {place} that comes along (there are {', '.join(model_names())}): a file of "
            f"your own is given with its suffix, as {place}{SUFFIX}."
        )
    return path


def model_card(name: str) -> str:
    """The card of a model that comes along: what it learnt from, its scores, and when not to use it."""
    return model_path(name).with_suffix(".md").read_text("utf-8")
