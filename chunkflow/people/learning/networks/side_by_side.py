"""Several trainings side by side, each a task of Ray with a device of its own, and none made twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.registry import from_cluster

if TYPE_CHECKING:
    from chunkflow.networks.training.state import Check

Given = TypeVar("Given")
Heard = Callable[["Check"], None]


def unheard(check: Check) -> None:
    """Nobody listens."""


def call_side_by_side(
    function: Callable[..., Given],
    calls: Sequence[tuple[Any, ...]],
    recipe: NetworkRecipe,
    address: str,
    serial: bool,
) -> list[Given]:
    """What a function that trains by such a recipe gives for each call; with `serial` one after the other, in
    this process."""
    if serial:
        return [function(*call) for call in calls]
    gpus = 1 if recipe.device == "cuda" else 0
    made: list[Given] = from_cluster("side by side")(function, calls, recipe.threads, gpus, address)
    return made


def fit_unless_made(recipe: NetworkRecipe, model: Path, overwrite: bool, heard: Heard = unheard) -> None:
    """Train a network, unless the model file comes from the same training."""
    from chunkflow.networks.training.training import fit_network

    if not is_made_by(recipe, model):
        fit_network(recipe, model, heard, overwrite)


def is_made_by(recipe: NetworkRecipe, model: Path) -> bool:
    """Whether a model file is there that comes from the same training."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.training import training_fingerprint

    return model.exists() and read_model(model).made.training == training_fingerprint(recipe)
