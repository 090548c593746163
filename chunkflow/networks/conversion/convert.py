"""Conversion: plain weights, or an ONNX graph, and a document become a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.networks.document import ONNX, ModelDocument
from chunkflow.networks.loading import read_model
from chunkflow.networks.model_file import is_onnx, is_safetensors, parse_json, unreadable
from chunkflow.networks.models.named import model_path

PURPOSE = "Making a model file"
MOST_TEXT = 10_000_000
"""Of a document, in bytes."""


def convert_model(
    weights: str | Path,
    to: str | Path,
    like: str | Path,
    architecture: str = "",
    architectures: Mapping[str, type] | None = None,
    axes: Literal["xyz", "zyx"] = "xyz",
) -> ModelDocument:
    """Make a model file of a network's state dict, or of an ONNX graph; returns its document.

    `weights` is a file of torch.save(network.state_dict()), a .safetensors file or an .onnx graph; `like` is
    a document in JSON, or a model file whose document is taken. `architecture` takes the place of that which
    the document names; classes of one's own are given by name in `architectures`. `axes` says in which order
    the weights have their axes. Nothing is written unless all of it fits.

    >>> convert_model(folder / "weights.pt", folder / "new.safetensors", folder / "model.json").architecture
    'unet'
    """
    weights, to = Path(weights), Path(to)
    document = read_document(like)
    if architecture:
        document = document.model_copy(update={"architecture": architecture})
    if axes not in ("xyz", "zyx"):
        raise BadInput(f"axes is xyz or zyx, not {axes}.")
    if is_onnx(weights) or is_onnx(to):
        return _convert_graph(weights, to, document, architecture, axes)
    if document.architecture == ONNX:
        raise BadInput(f"{weights} is no ONNX graph: say by architecture which network its weights are of.")
    if to.suffix != ".safetensors":
        raise BadInput(f"A model file is called .safetensors or .onnx, not {to.name}.")
    return _convert_weights(weights, to, document, architectures or {}, axes)


def _convert_graph(
    weights: Path, to: Path, document: ModelDocument, architecture: str, axes: str
) -> ModelDocument:
    if not (is_onnx(weights) and is_onnx(to)):
        raise BadInput(f"An ONNX graph stays one: {weights.name} does not become {to.name}.")
    if axes != "xyz" or architecture not in ("", ONNX):
        raise BadInput(
            f"{weights.name} is an ONNX graph, which takes x, y, z and is an architecture of its own: leave "
            "axes and architecture out."
        )
    optional_import("onnxruntime", PURPOSE)
    from chunkflow.networks.onnx.writing import write_onnx

    return write_onnx(to, weights, document)


def _convert_weights(
    weights: Path,
    to: Path,
    document: ModelDocument,
    architectures: Mapping[str, type],
    axes: Literal["xyz", "zyx"],
) -> ModelDocument:
    optional_import("torch", PURPOSE)
    optional_import("safetensors", PURPOSE)
    from chunkflow.networks.conversion.plain_weights import read_weights
    from chunkflow.networks.weights import blank_network, lay_in, write_model

    network = blank_network(document, to, architectures)
    lay_in(network, read_weights(weights, axes), weights)
    return write_model(to, network, document, architectures)


def read_document(path: str | Path) -> ModelDocument:
    """The document of a model file, or one that lies in a file in JSON."""
    path = model_path(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
            is_text = path.suffix == ".json" or (head[:1] == b"{" and not is_safetensors(head))
            text = head + file.read(MOST_TEXT) if is_text else b""
    except OSError as error:
        raise unreadable(path, error) from error
    return ModelDocument.parse(parse_json(text, path, "its text"), path) if is_text else read_model(path)
