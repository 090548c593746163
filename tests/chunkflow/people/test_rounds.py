"""Rounds of a training: stopped in any of them and begun again, they end with the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chunkflow.networks.training import fit
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.training import fit_network
from chunkflow.people.learning.networks.rounds import train_rounds
from tests.support.models.training import make_tissue, recipe_of


def last_of_rounds(recipe: NetworkRecipe, to: Path) -> bytes:
    fit_network(train_rounds(recipe, to, 3, overwrite=False).last, to)
    return to.read_bytes()


@pytest.mark.parametrize("kind", ["points", "candidates"])
def test_rounds_that_stop_anywhere_end_with_the_same_bytes(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(make_tissue(tmp_path), kind)
    model = tmp_path / "cells.safetensors"
    undisturbed = last_of_rounds(recipe, model)
    for made in tmp_path.glob("cells.*"):
        made.unlink()
    monkeypatch.setattr(fit, "STATE_SECONDS", 0.0)
    step, taken = fit.TrainingLoop._step, 0

    def stopping(self: fit.TrainingLoop, batch: Any) -> None:
        nonlocal taken
        taken += 1
        if taken % 10 == 0:
            raise KeyboardInterrupt
        step(self, batch)

    monkeypatch.setattr(fit.TrainingLoop, "_step", stopping)
    stops = 0
    while not model.exists():
        try:
            last_of_rounds(recipe, model)
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3  # each round has 12 steps
    assert model.read_bytes() == undisturbed
