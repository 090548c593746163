"""Networks that judge patches: over an array each voxel is judged as the patch around it is by itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from chunkflow.errors import BadInput
from chunkflow.networks.architectures import PatchNet
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import load_predictor, open_model
from chunkflow.networks.setting import InferenceSetting
from chunkflow.networks.weights import blank_network, load_model, write_model
from tests.support.files.networks import document_of, network_of

SMALL: dict[str, Any] = {"field": [10, 12, 8], "pooling": [2, 2, 1], "widths": [3, 4, 5], "hidden": 6}
SIDES = {1: (7, 8, 9), 2: (10, 12), 3: (13,)}
"""Sides that fit, by the pooling along them."""


def patches_document(parameters: dict[str, Any], count: int = 2, **changes: Any) -> ModelDocument:
    named = {"architecture": "patches", "parameters": parameters, "patch": (16, 16, 12), "overlap": (4, 4, 4)}
    return document_of(count, images=2, **(named | changes))


def a_network(parameters: dict[str, Any], seed: int = 0) -> PatchNet:
    """One whose means and variances are not those of no training."""
    network = network_of(patches_document(parameters), seed)
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if "running_mean" in name:
            buffer.uniform_(-0.3, 0.3, generator=generator)
        elif "running_var" in name:
            buffer.uniform_(0.5, 2, generator=generator)
    assert isinstance(network, PatchNet)
    return network


def one_by_one(network: PatchNet, arrays: np.ndarray) -> np.ndarray:
    """What the network says of the patch around each voxel, cut out of the mirrored array."""
    field, size = network.field, arrays.shape[2:]
    beyond = [(side // 2, side - 1 - side // 2) for side in field]
    wide = np.pad(arrays, [(0, 0), (0, 0), *beyond], mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(wide, field, (2, 3, 4))
    patches = np.moveaxis(windows, 1, 4).reshape(-1, arrays.shape[1], *field)
    with torch.inference_mode():
        answers = network.judged(torch.tensor(patches)).numpy()
    return np.moveaxis(answers.reshape(len(arrays), *size, -1), 4, 1)


@st.composite
def nets(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """Parameters, and the size of an array: smaller than a patch, as large, or larger."""
    pooling = draw(st.tuples(*[st.sampled_from(sorted(SIDES))] * 3))
    field = [draw(st.sampled_from(SIDES[wide])) for wide in pooling]
    sizes = draw(st.tuples(*[st.integers(1, 4) | st.just(side) for side in field]))
    widths = draw(st.tuples(*[st.integers(1, 5)] * 3))
    more = {"hidden": draw(st.integers(1, 9)), "norm": draw(st.sampled_from(["batch", "none"]))}
    return {"field": field, "pooling": pooling, "widths": widths, **more}, sizes


@settings(max_examples=10, deadline=None)
@given(nets(), st.integers(0, 9))
def test_an_array_is_judged_as_its_patches_are(
    drawn: tuple[dict[str, Any], tuple[int, int, int]], seed: int
) -> None:
    parameters, size = drawn
    network = a_network(parameters, seed)
    arrays = np.random.default_rng(seed).standard_normal((2, 2, *size), np.float32)
    with torch.inference_mode():
        dense = network(torch.from_numpy(arrays)).numpy()
    assert dense.shape == (2, 2, *size)
    np.testing.assert_allclose(dense, one_by_one(network, arrays), atol=2e-5 * max(np.abs(dense).max(), 1))


def test_a_larger_array_is_judged_as_its_patches_are() -> None:
    network = a_network(SMALL)
    arrays = np.random.default_rng(0).standard_normal((1, 2, 21, 15, 13), np.float32)
    with torch.inference_mode():
        dense = network(torch.from_numpy(arrays)).numpy()
    np.testing.assert_allclose(dense, one_by_one(network, arrays), atol=1e-5)
    assert dense.std() > 0.05  # a flat answer would prove nothing


def test_the_last_layers_are_fully_connected() -> None:
    network = a_network(SMALL | {"norm": "none"})
    patches = torch.randn((4, 2, *network.field), generator=torch.Generator().manual_seed(1))
    weights = network.state_dict()

    def convolved(given: torch.Tensor, layer: str) -> torch.Tensor:
        return functional.conv3d(given, weights[f"{layer}.0.weight"], weights[f"{layer}.0.bias"]).relu()

    pooled = torch.nn.MaxPool3d(network.pooling)(convolved(convolved(patches, "first"), "second"))
    features = convolved(pooled, "third").flatten(1)
    hidden = (features @ weights["hidden.0.weight"].flatten(1).T + weights["hidden.0.bias"]).relu()
    expected = hidden @ weights["head.weight"].flatten(1).T + weights["head.bias"]
    torch.testing.assert_close(network.judged(patches), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch", [3, 8, 32])
def test_an_answer_does_not_depend_on_the_place_in_a_batch(batch: int) -> None:
    network = a_network({"widths": [8, 16, 16]})
    patches = torch.randn((batch, 2, 12, 12, 12), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        answers = network.judged(patches)
        for shift in (1, batch // 2):
            assert torch.equal(network.judged(patches.roll(shift, 0)), answers.roll(shift, 0))


def test_training_leaves_out_channels_at_random() -> None:
    network = a_network(SMALL).train()
    patches = torch.randn((4, 2, *network.field))
    assert not torch.equal(network.judged(patches), network.judged(patches))
    still = a_network(SMALL | {"dropout": 0.0}).train()
    assert torch.equal(still.judged(patches), still.judged(patches))


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"field": [11, 12, 12]}, "with a pooling of 2 a side of field is 10, 12, 14 and so on, not 11"),
        ({"field": [12, 12, 8]}, "with a pooling of 2 a side of field is 10, 12, 14 and so on, not 8"),
        ({"field": [12, 6, 8], "pooling": [2, 1, 1]}, "a pooling of 1 a side of field is 7, 8, 9 .* not 6"),
        ({"field": [12, 12]}, "field"),
        ({"field": [0, 12, 12]}, "field"),
        ({"widths": [4, 4]}, "widths"),
        ({"hidden": 0}, "hidden"),
        ({"norm": "instance"}, "norm"),
        ({"dropout": 1.0}, "dropout"),
        ({"depth": 3}, "the key 'depth' is unknown"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_in_one_sentence(parameters: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=f"net: parameters of patches: .*{why}"):
        blank_network(patches_document(parameters), "net", {})


def test_patches_of_other_sides_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("the sides [10, 12, 8], not [10, 12, 9]")):
        a_network(SMALL).judged(torch.zeros(1, 2, 10, 12, 9))


def test_what_is_written_is_read_and_proves_itself(tmp_path: Path) -> None:
    network, document = a_network(SMALL, 3), patches_document(SMALL)
    path = tmp_path / "cells.safetensors"
    written = write_model(path, network, document)
    read = load_model(path)
    assert read.document == written == open_model(path).document
    assert isinstance(read.network, PatchNet)
    patches = torch.randn(3, 2, *network.field)
    assert torch.equal(network.judged(patches), read.network.judged(patches))
    assert written.memory > 4 * 3 * 16 * 16 * 12
    given = np.random.default_rng(0).standard_normal((1, 2, 16, 16, 12), np.float32)
    assert load_predictor(path, InferenceSetting()).submit(given, 1)().shape == (1, 2, 16, 16, 12)
