"""Several trainings side by side, each a task of Ray with a device of its own, and none made twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.registry import from_cluster

Given = TypeVar("Given")


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


def fit_unless_made(recipe: NetworkRecipe, model: Path, overwrite: bool) -> None:
    """Train a network, unless the model file comes from the same training."""
    from chunkflow.networks.loading import read_model
    from chunkflow.networks.training.training import fit_network, training_fingerprint

    same = training_fingerprint(recipe)
    if not (model.exists() and read_model(model).made.training == same):
        fit_network(recipe, model, overwrite=overwrite)
