"""Networks of model files: their weights laid into the architecture by name, and written from it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from chunkflow.data.documents import first_fault
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec, vec
from chunkflow.networks.activation import activate
from chunkflow.networks.architectures import OURS, Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.live_bytes import most_live_bytes
from chunkflow.networks.model_file import KEY, TEST_INPUT, TEST_OUTPUT, open_model

Tensors = dict[str, torch.Tensor]
TEST_SIDE = 16


@dataclass(frozen=True)
class Model:
    """A network with its weights, and the patch that it proves itself on."""

    document: ModelDocument
    network: Architecture
    test_input: torch.Tensor
    """Channel, x, y, z."""
    test_output: torch.Tensor


def load_model(path: str | Path, architectures: Mapping[str, type] | None = None) -> Model:
    """The network of a model file, on the CPU.

    `architectures` are classes of one's own that a document may name, by name; each a subclass of
    `Architecture`. Weights that are missing, left over or of another shape are refused by name.
    """
    file = open_model(path)
    network = blank_network(file.document, file.path, architectures or {})
    try:
        tensors = load_file(file.path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{file.path} is no model, or is damaged: {error}.") from error
    tests = [tensors.pop(name, None) for name in (TEST_INPUT, TEST_OUTPUT)]
    lay_in(network, tensors, file.path)
    inputs, outputs = (test for test in tests)
    if inputs is None or outputs is None:
        raise BadInput(f"{file.path} lacks {TEST_INPUT} or {TEST_OUTPUT}, by which a worker proves itself.")
    for what, test, channels in (
        (TEST_INPUT, inputs, len(file.document.input.channels)),
        (TEST_OUTPUT, outputs, len(file.document.outputs)),
    ):
        if test.ndim != 4 or test.shape[0] != channels or test.shape[1:] != inputs.shape[1:]:
            raise BadInput(f"{file.path}: {what} is of another shape than the document says.")
    return Model(file.document, network, inputs.float(), outputs.float())


def blank_network(document: ModelDocument, path: object, architectures: Mapping[str, type]) -> Architecture:
    """The network of a document without its weights, for which no memory is taken yet."""
    kind = {**OURS, **architectures}.get(document.architecture)
    if kind is None:
        raise BadInput(
            f"{path} is of the architecture {document.architecture}, which is none of {', '.join(OURS)}: say "
            f"by architectures which class it is, as in {document.architecture}: nets.py:Net."
        )
    if not (isinstance(kind, type) and issubclass(kind, Architecture)):
        raise BadInput(
            f"The architecture {document.architecture} must be a subclass of "
            "chunkflow.networks.architectures.Architecture."
        )
    parameters = _parameters(document, kind, path)
    multiple = kind.multiple(parameters)
    if any(p % m for p, m in zip(document.patch, multiple, strict=True)):
        raise BadInput(
            f"{path}: patches of {list(document.patch)} are no whole multiples of {list(multiple)}, as its "
            f"{document.architecture} needs."
        )
    with torch.device("meta"):
        network: Architecture = kind(parameters, len(document.input.channels), len(document.outputs))
    network.eval()
    return network


def _parameters(document: ModelDocument, kind: type[Architecture], path: object) -> Any:
    try:
        return kind.Parameters.model_validate(document.parameters)
    except ValidationError as error:
        fault = first_fault(error, kind.Parameters)
        raise BadInput(f"{path}: parameters of {document.architecture}: {fault}") from error


def lay_in(network: Architecture, tensors: Tensors, path: object) -> None:
    """Lay weights into a network by name; raise BadInput for what does not fit."""
    wanted = network.state_dict()
    missing, left = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing:
        raise BadInput(f"{path} lacks weights that the network needs: {_named(missing)}.")
    if left:
        raise BadInput(f"{path} holds weights that the network does not have: {_named(left)}.")
    for name, blank in wanted.items():
        if tensors[name].shape != blank.shape:
            raise BadInput(
                f"{path}: the weights {name} are of the shape {list(tensors[name].shape)}, and the network's "
                f"of {list(blank.shape)}."
            )
    single = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    network.load_state_dict(single, assign=True)
    outside = [name for name, buffer in network.named_buffers() if buffer.is_meta]
    if outside:
        raise BadInput(f"The architecture keeps {_named(outside)} out of its state: make it persistent.")
    network.requires_grad_(False).eval()


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def write_model(
    path: str | Path,
    network: Architecture,
    document: ModelDocument,
    architectures: Mapping[str, type] | None = None,
    sample: npt.NDArray[np.float32] | None = None,
) -> ModelDocument:
    """Write a network and its document as a model file; returns the document as it was written.

    `sample` is a normalised patch (channel, x, y, z), kept with what the network gives for it, so that every
    worker can prove itself; left out, noise is taken. A class of one's own is named in `architectures`.
    """
    path = Path(path)
    blank = blank_network(document, path, architectures or {})
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    memory = most_live_bytes(blank, (1, len(document.input.channels), *document.patch))
    lay_in(blank, dict(state), "The network")
    side = _test_side(type(blank), blank, document)
    given = noise(len(document.input.channels), side) if sample is None else torch.from_numpy(sample.copy())
    with torch.inference_mode():
        answer = activate(blank(given[None].float())[0], document)
    document = document.model_copy(update={"memory": memory})
    tensors = {**state, TEST_INPUT: given.float().contiguous(), TEST_OUTPUT: answer.contiguous()}
    data = save(tensors, metadata={KEY: document.model_dump_json(exclude_none=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return document


def noise(channels: int, side: Vec) -> torch.Tensor:
    """White noise, the same every time."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((channels, *side), np.float32))


def _test_side(kind: type[Architecture], network: Architecture, document: ModelDocument) -> Vec:
    """A small patch that the network takes."""
    multiple = kind.multiple(kind.Parameters.model_validate(document.parameters))
    return vec(min(p, m * -(-TEST_SIDE // m)) for p, m in zip(document.patch, multiple, strict=True))
