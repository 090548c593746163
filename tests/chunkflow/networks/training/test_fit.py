"""The loop: the same bytes for the same recipe, also where it was killed; and what stops it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from cloudvolume import CloudVolume
from safetensors.torch import load_file

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.networks.training import fit
from chunkflow.networks.training.fit import rate_of
from chunkflow.networks.training.state import read_state
from chunkflow.networks.training.training import data_fingerprint, fit_network, state_file
from tests.support.models.training import make_tissue, recipe_document, recipe_of

SCRIPT = """
import sys
from pathlib import Path
from chunkflow.networks.training import fit
from chunkflow.networks.training.recipe import read_recipe
from chunkflow.networks.training.training import fit_network
fit.STATE_SECONDS = 0.0
fit_network(read_recipe(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def weights(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("points", {}),
        ("points", {"precision": "bf16", "loss": "both", "augment": {"elastic": 1.0, "spacing": 8}}),
        ("candidates", {"batch": 8}),
    ],
    ids=["fp32", "bf16", "candidates"],
)
def test_a_training_that_stops_anywhere_ends_with_the_same_bytes(
    tissue: dict[str, str],
    tmp_path: Path,
    kind: str,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_of(tissue, kind, **changes)
    fit_network(recipe, tmp_path / "once.safetensors")
    fit_network(recipe, tmp_path / "twice.safetensors")
    assert weights(tmp_path / "once.safetensors") == weights(tmp_path / "twice.safetensors")
    monkeypatch.setattr(fit, "STATE_SECONDS", 0.0)
    step = fit.TrainingLoop._step
    for last in (3, 6, 11):

        def stop(self: fit.TrainingLoop, batch: Any, last: int = last) -> None:
            if self._state.step == last:
                raise KeyboardInterrupt
            step(self, batch)

        monkeypatch.setattr(fit.TrainingLoop, "_step", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_network(recipe, tmp_path / "stopped.safetensors")
    monkeypatch.setattr(fit.TrainingLoop, "_step", step)
    assert state_file(tmp_path / "stopped.safetensors").exists()
    fit_network(recipe, tmp_path / "stopped.safetensors")
    assert weights(tmp_path / "stopped.safetensors") == weights(tmp_path / "once.safetensors")
    assert not state_file(tmp_path / "stopped.safetensors").exists()


def test_a_training_that_is_killed_goes_on(tissue: dict[str, str], tmp_path: Path) -> None:
    file, model = tmp_path / "recipe.yaml", tmp_path / "killed.safetensors"
    file.write_text(yaml.safe_dump(recipe_document(tissue, steps=60, every=30)))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(file), str(model)])
    for _ in range(600):
        if state_file(model).exists():
            break
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not model.exists()
    recipe = cf.read_recipe(file)
    fit_network(recipe, model)
    fit_network(recipe, tmp_path / "whole.safetensors")
    assert weights(model) == weights(tmp_path / "whole.safetensors")


def test_the_best_weights_are_kept_and_training_stops_early(tissue: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(tissue, steps=400, every=2, patience=3, rate=1e-9)
    made = fit_network(recipe, tmp_path / "m.safetensors")
    best = max(made.checks, key=lambda c: (c.score, -c.step))
    assert made.document.made.steps == best.step
    assert made.checks[-1].step == best.step + 3 * 2 < 400


def test_a_loss_that_is_no_number_stops_with_the_step(tissue: dict[str, str], tmp_path: Path) -> None:
    recipe, tensors_of = recipe_of(tissue), fit.TrainingLoop._tensors

    def broken(self: fit.TrainingLoop, batch: Any) -> Any:
        channels, truth, known = tensors_of(self, batch)
        return channels * (float("nan") if self._state.step == 5 else 1.0), truth, known

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.TrainingLoop, "_tensors", broken)
        said = r"In step 5 the loss is not a number; the state before it is in .*m\.training"
        with pytest.raises(BadInput, match=said):
            fit_network(recipe, tmp_path / "m.safetensors")
    tensors = load_file(state_file(tmp_path / "m.safetensors"))
    assert all(torch.isfinite(tensor.float()).all() for tensor in tensors.values())
    fit_network(recipe, tmp_path / "m.safetensors")  # the fault gone, it goes on from there


def test_a_state_of_another_recipe_is_refused(tissue: dict[str, str], tmp_path: Path) -> None:
    state_file(tmp_path / "m.safetensors").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"cannot be read .*remove it to start anew"):
        fit_network(recipe_of(tissue), tmp_path / "m.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "STATE_SECONDS", 0.0)
        patch.setattr(fit.TrainingLoop, "_check", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        state_file(tmp_path / "m.safetensors").unlink()
        with pytest.raises(KeyboardInterrupt):
            fit_network(recipe_of(tissue), tmp_path / "m.safetensors")
    with pytest.raises(BadInput, match="by another recipe, or of other data"):
        fit_network(recipe_of(tissue, seed=5), tmp_path / "m.safetensors")
    assert read_state(tmp_path / "none.training", "") is None


def test_a_model_is_begun_with_and_kept_where_it_is_frozen(tissue: dict[str, str], tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    fit_network(recipe_of(tissue), first)
    more = recipe_of(tissue, start=str(first), freeze=["down."], seed=3, rate=0.05)
    fit_network(more, tmp_path / "more.safetensors")
    before, after = load_file(first), load_file(tmp_path / "more.safetensors")
    frozen = [name for name in before if name.startswith("down.")]
    assert any("running_mean" in name for name in frozen)
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["head.weight"], after["head.weight"])
    for changes, said in (
        ({"parameters": {"widths": [4, 4], "pooling": [2, 2, 1]}}, "another `parameters`"),
        ({"freeze": ["dwon"]}, "freeze names dwon, and no weight"),
        ({"freeze": [""]}, "leaves no weights to be learnt"),
    ):
        with pytest.raises(BadInput, match=said):
            fit_network(recipe_of(tissue, start=str(first), **changes), tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_labels_that_were_painted_anew_are_other_data(tmp_path: Path, scheme: str) -> None:
    tissue = make_tissue(tmp_path)
    recipe = recipe_of(tissue | {"labels": f"{scheme}{tissue['labels']}"}, "labels")
    before = data_fingerprint(recipe)
    assert before == data_fingerprint(recipe)
    voxels = CloudVolume(f"file://{tissue['labels']}", progress=False)
    voxels[0:32, 0:32, 0:24] = np.ones((32, 32, 24, 1), np.uint32)
    assert data_fingerprint(recipe) != before


def test_the_rate_goes_up_and_down(tissue: dict[str, str]) -> None:
    recipe = recipe_of(tissue, steps=100, rate=1.0)
    rates = [rate_of(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == pytest.approx(1, abs=1e-3)
    assert rates[:30] == sorted(rates[:30])
    assert rates[30:] == sorted(rates[30:], reverse=True)
    assert rates[-1] < 0.01
