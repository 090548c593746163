"""Networks of model files: their weights laid into the architecture by name, and written from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torch.nn.modules import module as nn_module

from chunkflow.data.atomic import write_whole
from chunkflow.data.documents import first_fault
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec, vec
from chunkflow.networks.activation import activate
from chunkflow.networks.architectures import OURS, Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.live_bytes import most_live_bytes
from chunkflow.networks.model_file import KEY, TEST_INPUT, TEST_OUTPUT, check_test, open_safetensors
from chunkflow.networks.prediction import check_answer
from chunkflow.words import shortened

Tensors = dict[str, torch.Tensor]
TEST_SIDE = 16
MOST_LAYERS = 10_000
"""Parts that a network is made of, each with what it consists of."""


@dataclass(frozen=True)
class LoadedModel:
    """A network with its weights, and the patch that it proves itself on."""

    document: ModelDocument
    network: Architecture
    test_input: torch.Tensor
    """Channel, x, y, z."""
    test_output: torch.Tensor


def load_model(path: str | Path, architectures: Mapping[str, type] | None = None) -> LoadedModel:
    """The network of a model file, on the CPU.

    `architectures` are classes of one's own that a document may name, by name; each a subclass of
    `Architecture`. Weights that are missing, left over or of another shape are refused by name.
    """
    file = open_safetensors(path)
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
    check_test(file.path, file.document, inputs.shape, outputs.shape, multiple_of(file.document, network))
    return LoadedModel(file.document, network, inputs.float(), outputs.float())


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
    try:
        multiple = kind.multiple(parameters)
        with torch.device("meta"), _few_layers(document.architecture):
            network: Architecture = kind(parameters, len(document.input.channels), len(document.outputs))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except Exception as error:
        said = shortened(f"{type(error).__name__}: {error}")
        raise BadInput(
            f"{path}: no {document.architecture} can be made of its parameters ({said})."
        ) from error
    if any(p % m for p, m in zip(document.patch, multiple, strict=True)):
        raise BadInput(
            f"{path}: patches of {list(document.patch)} are no whole multiples of {list(multiple)}, as its "
            f"{document.architecture} needs."
        )
    network.eval()
    return network


@contextmanager
def _few_layers(architecture: str) -> Iterator[None]:
    """Raise BadInput where this thread makes a network of more than MOST_LAYERS parts: its parameters are
    those of a file, which may ask for any number."""
    thread, count = threading.get_ident(), 0

    def counted(module: nn.Module, name: str, part: Any) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > MOST_LAYERS:
            raise BadInput(f"its parameters ask for a {architecture} of more than {MOST_LAYERS:,} layers.")

    hooks = (
        nn_module.register_module_module_registration_hook(counted),
        nn_module.register_module_parameter_registration_hook(counted),
        nn_module.register_module_buffer_registration_hook(counted),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
        if tensors[name].is_floating_point() != blank.is_floating_point():
            raise BadInput(f"{path}: the weights {name} are of {tensors[name].dtype}, not of {blank.dtype}.")
    single = {n: t.float() if t.is_floating_point() else t.to(wanted[n].dtype) for n, t in tensors.items()}
    network.load_state_dict(single, assign=True)
    outside = [name for name, buffer in network.named_buffers() if buffer.is_meta]
    if outside:
        raise BadInput(f"The architecture keeps {_named(outside)} out of its state: make it persistent.")
    network.requires_grad_(False).eval()


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(shortened, names[:3])) + more


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

    >>> document = read_model(folder / "membranes.safetensors")
    >>> write_model(folder / "again.safetensors", network, document) == document
    True
    """
    path = Path(path)
    blank = blank_network(document, path, architectures or {})
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    memory = most_live_bytes(blank, (1, len(document.input.channels), *document.patch))
    lay_in(blank, dict(state), "The network")
    side = _test_side(multiple_of(document, blank), document)
    given = noise(len(document.input.channels), side) if sample is None else torch.from_numpy(sample.copy())
    with torch.inference_mode():
        answer = blank(given[None].float())
    try:
        check_answer(answer.shape, (1, *given.shape), document)
    except ValueError as error:
        raise BadInput(f"{path} is not written: {error}.") from error
    tests = {TEST_INPUT: given.float(), TEST_OUTPUT: activate(answer[0], document)}
    document = document.model_copy(update={"memory": memory})
    tensors = {name: t.clone(memory_format=torch.contiguous_format) for name, t in (state | tests).items()}
    write_whole(path, save(tensors, metadata={KEY: document.model_dump_json(exclude_none=True)}))
    return document


def noise(channels: int, side: Vec) -> torch.Tensor:
    """White noise, the same every time."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal((channels, *side), np.float32))


def multiple_of(document: ModelDocument, network: Architecture) -> Vec:
    """The sides of a patch must be whole multiples of this."""
    return network.multiple(network.Parameters.model_validate(document.parameters))


def _test_side(multiple: Vec, document: ModelDocument) -> Vec:
    """A small patch that the network takes."""
    return vec(min(p, m * -(-TEST_SIDE // m)) for p, m in zip(document.patch, multiple, strict=True))
