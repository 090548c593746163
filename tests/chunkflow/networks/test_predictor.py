"""A network sees batches that are always full, and is refused where it gives no numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chunkflow.networks.inference import TorchPredictor
from chunkflow.networks.setting import FLIPPED, Flips, InferenceSetting
from chunkflow.networks.weights import load_model
from tests.support.files.networks import document_of, make_model


def test_every_batch_is_filled_up_with_zeros(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "net.safetensors"))
    seen: list[torch.Tensor] = []
    model.network.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    patches = np.ones((2, 1, *document_of().patch), np.float32)
    answers = TorchPredictor(model, InferenceSetting()).submit(patches, 3)()
    assert len(answers) == 2
    assert [len(batch) for batch in seen] == [3]
    assert [bool(patch.any()) for patch in seen[0]] == [True, True, False]


def test_a_batch_that_does_not_fit_is_named(tmp_path: Path) -> None:
    model = load_model(make_model(tmp_path / "net.safetensors"))

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    model.network.register_forward_pre_hook(full)
    patches = np.ones((1, 1, *document_of().patch), np.float32)
    with pytest.raises(MemoryError, match=r"a batch of 7 patches does not fit .* a smaller `batch`"):
        TorchPredictor(model, InferenceSetting()).submit(patches, 7)


@pytest.mark.parametrize("flips", FLIPPED)
def test_nothing_but_nan_is_refused(tmp_path: Path, flips: Flips) -> None:
    model = load_model(make_model(tmp_path / "net.safetensors"))
    patches = np.zeros((1, 1, *document_of().patch), np.float32)
    predictor = TorchPredictor(model, InferenceSetting(flips=flips))
    predictor.submit(patches, 1)()
    with torch.no_grad():
        model.network.get_parameter("head.bias").fill_(float("nan"))
    with pytest.raises(ValueError, match="not numbers"):
        predictor.submit(patches, 1)()


@pytest.mark.parametrize("flips", FLIPPED)
def test_a_single_nan_is_refused(tmp_path: Path, flips: Flips) -> None:
    """Where all other answers are as large as can be."""
    model = load_model(make_model(tmp_path / "net.safetensors"))
    network, calls = model.network, []

    def large(*_: object) -> torch.Tensor:
        calls.append(1)
        answers = torch.full((1, 1, *document_of().patch), 1e4)
        if len(calls) == 1:
            answers[0, 0, 3, 2, 1] = float("nan")
        return answers

    network.register_forward_hook(large)
    patches = np.zeros((1, 1, *document_of().patch), np.float32)
    with pytest.raises(ValueError, match="not numbers"):
        TorchPredictor(model, InferenceSetting(flips=flips)).submit(patches, 1)()
