"""Model files: what is written is what is read, and weights that do not fit are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import nn

from chunkflow.errors import BadInput
from chunkflow.networks import weights
from chunkflow.networks.architectures import Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import load_predictor, open_model, read_model
from chunkflow.networks.setting import InferenceSetting
from chunkflow.networks.weights import Tensors, load_model, write_model
from tests.support.files.networks import document_of, make_model, network_of
from tests.support.models.hostile import header_of

SMALL: dict[str, Any] = {"patch": (8, 8, 4), "overlap": (4, 4, 2)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(make_model(tmp_path / "m.safetensors", document_of(**SMALL)))


def rewritten(model: Path, change: Callable[[Tensors], object]) -> Path:
    """The model file with other tensors."""
    metadata, tensors = header_of(model)[0]["__metadata__"], load_file(model)
    change(tensors)
    save_file(tensors, model, metadata)
    return model


def refused(path: Path, why: str, **given: Any) -> None:
    with pytest.raises(BadInput, match=why):
        load_model(path, **given)


ARCHITECTURES = [
    ("plain", {"widths": [3, 5], "kernel": [3, 5, 1]}),
    ("unet", {"widths": [2, 3, 4], "pooling": [[2, 2, 1], [1, 2, 2]], "convolutions": 1}),
    ("unet", {"widths": [2, 4], "kernel": [[3, 3, 1], [3, 3, 3]], "pooling": [2, 4, 1]}),
    ("unet", {"widths": [3]}),
]


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize(("architecture", "parameters"), ARCHITECTURES)
def test_what_is_written_is_read(
    tmp_path: Path, architecture: str, parameters: dict[str, Any], norm: str
) -> None:
    named = {"architecture": architecture, "parameters": parameters | {"norm": norm}}
    document = document_of(2, images=2, **SMALL, **named)
    network = network_of(document, seed=3)
    written = write_model(tmp_path / "deep" / "m.safetensors", network, document)
    read = load_model(tmp_path / "deep" / "m.safetensors")
    assert read.document == written == document.model_copy(update={"memory": written.memory})
    assert written.memory > 4 * 8 * 8 * 4 * 2
    patch = torch.randn(1, 2, 8, 8, 4)
    assert torch.equal(network(patch), read.network(patch))
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["m.safetensors"]


def test_a_sample_is_kept_as_the_test(tmp_path: Path) -> None:
    document = document_of(**SMALL)
    sample = np.full((1, 8, 4, 4), 0.5, np.float32)
    write_model(tmp_path / "m.safetensors", network_of(document), document, sample=sample)
    assert np.array_equal(load_model(tmp_path / "m.safetensors").test_input, sample)
    with pytest.raises((BadInput, ValueError, RuntimeError)):
        write_model(tmp_path / "n.safetensors", network_of(document), document, sample=sample[:, :3])
    assert not (tmp_path / "n.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.pop("head.bias"), "lacks weights that the network needs: head.bias."),
        (lambda t: [t.pop(n) for n in list(t) if n.startswith("up")], r"down.* and 3 more|up.* and \d more"),
        (lambda t: t.update(more=torch.ones(2)), "holds weights that the network does not have: more."),
        (lambda t: t.update({"head.bias": torch.ones(3)}), r"head.bias are of the shape \[3\].*\[1\]"),
        (lambda t: t.update({"head.bias": torch.ones(1, dtype=torch.int64)}), "head.bias are of torch.int64"),
        (lambda t: t.pop("test.input"), "lacks test.input or test.output, by which a worker proves itself"),
        (lambda t: t.update({"test.input": torch.ones(2, 8, 8, 4)}), "test.input is of another shape"),
        (lambda t: t.update({"test.input": torch.ones(1, 7, 8, 4)}), "test.input is of another shape"),
        (lambda t: t.update({"test.input": torch.ones(1, 16, 8, 4)}), "test.input is of another shape"),
        (lambda t: t.update({"test.input": torch.ones(())}), "test.input is of another shape"),
        (lambda t: t.update({"test.output": torch.ones(1, 8, 8, 2)}), "test.output is of another shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    model: Path, change: Callable[[Tensors], object], why: str
) -> None:
    refused(rewritten(model, change), why)


def test_halves_are_read_as_single_precision(model: Path) -> None:
    given = rewritten(model, lambda t: t.update({name: w.half() for name, w in t.items()}))
    assert {one.dtype for one in load_model(given).network.parameters()} == {torch.float32}


class Residual(Architecture):
    """A network of one's own."""

    class Parameters(Architecture.Parameters):
        depth: int = Field(2, ge=1)
        width: int = 4

    def __init__(self, parameters: Parameters, inputs: int, outputs: int) -> None:
        super().__init__(parameters, inputs, outputs)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv3d(inputs, inputs, 3, padding=1), nn.ReLU()) for _ in range(parameters.depth)
        )
        self.norm = nn.GroupNorm(parameters.width, parameters.width)
        self.head = nn.Conv3d(inputs, outputs, 1)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            patches = patches + layer(patches)
        return self.head(patches)


class Hidden(Architecture):
    """A network that keeps an array out of its state."""

    def __init__(self, parameters: Any, inputs: int, outputs: int) -> None:
        super().__init__(parameters, inputs, outputs)
        self.head = nn.Conv3d(inputs, outputs, 1)
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return self.head(patches)


class Valid(Hidden):
    """A network that gives less than it is given."""

    def __init__(self, parameters: Any, inputs: int, outputs: int) -> None:
        Architecture.__init__(self, parameters, inputs, outputs)
        self.head = nn.Conv3d(inputs, outputs, 3)


def own(**parameters: Any) -> ModelDocument:
    return document_of(**SMALL, architecture="residual", parameters=parameters)


def filled(kind: type[Architecture], document: ModelDocument) -> Architecture:
    torch.manual_seed(0)
    return kind(kind.Parameters(**document.parameters), 1, 1).eval()


def test_an_architecture_of_ones_own_is_named_in_the_call(tmp_path: Path) -> None:
    path, document = tmp_path / "m.safetensors", own(depth=3)
    network = filled(Residual, document)
    write_model(path, network, document, {"residual": Residual})
    patch = torch.randn(1, 1, 8, 8, 4)
    assert torch.equal(load_model(path, {"residual": Residual}).network(patch), network(patch))
    refused(path, "residual, which is none of plain, unet, patches: say by architectures which class it is")
    refused(path, "residual must be a subclass of .*Architecture", architectures={"residual": nn.Conv3d})
    refused(path, "parameters of residual: the key 'depth' is unknown", architectures={"residual": Hidden})


def test_a_network_that_does_not_fit_its_document_is_not_written(tmp_path: Path) -> None:
    path, document = tmp_path / "m.safetensors", own()
    with pytest.raises(BadInput, match="The architecture keeps scale out of its state: make it persistent"):
        write_model(path, filled(Hidden, document), document, {"residual": Hidden})
    with pytest.raises(BadInput, match=r"the network gives \[1, 1, 6, 6, 2\], not \[1, 1, 8, 8, 4\]"):
        write_model(path, filled(Valid, document), document, {"residual": Valid})
    with pytest.raises(BadInput, match="lacks weights that the network needs"):
        write_model(path, network_of(document_of(**SMALL)), document, {"residual": Residual})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"depth": 2**40}, "ask for a residual of more than 100 layers"),
        ({"depth": 0}, "parameters of residual: depth"),
        ({"width": 0}, r"no residual can be made of its parameters \(ZeroDivisionError"),
        ({"width": -4}, r"no residual can be made of its parameters \(RuntimeError"),
    ],
)
def test_parameters_of_a_file_make_no_network_that_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any], why: str
) -> None:
    """An architecture of one's own may set no limit of its own to what a stranger's file asks for."""
    monkeypatch.setattr(weights, "MOST_LAYERS", 100)
    path = Path(make_model(tmp_path / "m.safetensors", document_of(**SMALL)))
    text = own(**parameters).model_dump_json(exclude_none=True)
    save_file(load_file(path), path, {"chunkflow": text})
    refused(path, why, architectures={"residual": Residual})
    nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(100)))  # as large as one likes elsewhere


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t["test.output"].__iadd__(0.3 * torch.eye(8, 4)), r"by 0\.\d+ of .* at most 0.0001 may"),
        (lambda t: t["test.output"].fill_(torch.nan), "by nan of the test's range"),
        (lambda t: t["test.output"].mul_(1e9), r"by (1|0\.\d+) of the test's range"),
        (lambda t: t["head.weight"].mul_(1.01), r"by 0\.00\d+ of the test's range"),
        (lambda t: t["head.weight"].fill_(torch.nan), "fails the test .* values that are not numbers"),
    ],
)
def test_a_worker_refuses_a_network_that_is_not_what_its_file_says(
    model: Path, change: Callable[[Tensors], object], why: str
) -> None:
    load_predictor(model, InferenceSetting())
    with pytest.raises(BadInput, match=why):
        load_predictor(rewritten(model, change), InferenceSetting())


def test_reading_the_document_reads_no_weights(model: Path) -> None:
    data = model.read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    model.write_bytes(data[:length] + bytes(len(data) - length))
    assert read_model(model).outputs[0].name == "made0"
    assert open_model(model).bytes > 0


def test_parameters_may_be_given_as_tuples(tmp_path: Path) -> None:
    given = document_of(parameters={"widths": (4, 8), "pooling": ((2, 2, 1),), "norm": "none"})
    assert given.parameters == {"widths": [4, 8], "pooling": [[2, 2, 1]], "norm": "none"}
    assert read_model(make_model(tmp_path / "m.safetensors", given)).parameters == given.parameters
