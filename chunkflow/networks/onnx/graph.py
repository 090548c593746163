"""Model files in ONNX: what their properties say, held against the graph before anything runs it.

1. The file is read once. What was checked is what onnxruntime is given, less all that it does not need:
   properties, training information, and fields that this version of the format does not know.
2. The document is the property `chunkflow` of the graph; the test is in `test.input` and `test.output`, each
   a table in JSON of its shape and its numbers: single precision, little-endian, in base64.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.networks.document import ONNX, ModelDocument
from chunkflow.networks.model_file import (
    KEY,
    TEST_INPUT,
    TEST_OUTPUT,
    ModelFile,
    are_sides,
    check_test,
    damaged,
    parse_json,
    refuse_programs,
    unreadable,
)
from chunkflow.networks.onnx.refusals import refuse_outside

Floats = npt.NDArray[np.float32]
Dims = tuple[int | None, ...]
"""Sides of an array; None for one that may be of any size."""
MOST_BYTES = 2**31 - 1
"""No message of protobuf is larger."""
FLOAT = 1
"""TensorProto.FLOAT."""
NUMBERS = np.dtype("<f4")


@dataclass(frozen=True)
class CheckedGraph:
    """A graph that may be run, and what it takes and gives."""

    path: Path
    model: Any
    """The message, without what lies beside the graph."""
    properties: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    """Of all constant arrays, by where they are."""
    taken: Dims
    """Patch, channel, x, y, z."""
    given: Dims

    @property
    def only_batch(self) -> int | None:
        """The one number of patches that it takes at a time, where it takes no other."""
        return self.taken[0] or self.given[0]


@dataclass(frozen=True)
class OnnxModel:
    """A graph, its document, and the patch that it proves itself on."""

    file: ModelFile
    graph: CheckedGraph
    test_input: Floats
    """Channel, x, y, z."""
    test_output: Floats


def open_graph(path: str | Path) -> ModelFile:
    """What the properties of an ONNX graph say, checked."""
    return read_onnx(path).file


def read_onnx(path: str | Path) -> OnnxModel:
    """An ONNX graph with its document and its test, checked."""
    graph = check_graph(path)
    if KEY not in graph.properties:
        raise BadInput(
            f"{path} holds a graph alone: make a model of it with convert_model (model convert), which says "
            "what it takes and gives."
        )
    said = parse_json(graph.properties[KEY], graph.path, "its document")
    document = ModelDocument.parse(said, path)
    if document.architecture != ONNX:
        raise BadInput(f"{path} is an ONNX graph, but its document says {document.architecture}.")
    fit_graph(graph, document)
    inputs, outputs = (_test(graph, name) for name in (TEST_INPUT, TEST_OUTPUT))
    check_test(graph.path, document, inputs.shape, outputs.shape)
    shapes = {**graph.shapes, TEST_INPUT: inputs.shape, TEST_OUTPUT: outputs.shape}
    return OnnxModel(ModelFile(graph.path, document, shapes), graph, inputs, outputs)


def check_graph(path: str | Path) -> CheckedGraph:
    """The graph of a file, once nothing in it is refused; with or without a document."""
    path = Path(path)
    onnx = optional_import("onnx", f"Reading {path}")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise damaged(path, f"an ONNX file has at most {MOST_BYTES:,} bytes")
        content = path.read_bytes()
        refuse_programs(path, content[:16])
        model = onnx.load_model_from_string(content)  # which never reads other files
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, _decode_error()) as error:
        raise damaged(path, "it is no ONNX graph") from error
    model.DiscardUnknownFields()
    shapes = refuse_outside(path, model, size)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if len(properties) < len(model.metadata_props):
        raise damaged(path, "a property is there twice")
    for beside in ("metadata_props", "training_info"):
        model.ClearField(beside)
    taken, given = _ends(path, model.graph)
    return CheckedGraph(path, model, properties, shapes, taken, given)


def _decode_error() -> type[Exception]:
    """The error for bytes that are no message of protobuf, which comes with onnx."""
    from google.protobuf.message import DecodeError

    error: type[Exception] = DecodeError
    return error


def _ends(path: Path, graph: Any) -> tuple[Dims, Dims]:
    """The shapes of what a graph takes and gives: one array each, in single precision."""
    constant = {tensor.name for tensor in graph.initializer}
    taken = [value for value in graph.input if value.name not in constant]
    found = []
    for what, values in (("takes", taken), ("gives", list(graph.output))):
        if len(values) != 1:
            raise BadInput(f"{path}: the graph {what} {len(values)} arrays, where one is due.")
        kinds = [value.type.tensor_type for value in values]
        if kinds[0].elem_type != FLOAT or len(kinds[0].shape.dim) != 5:
            raise BadInput(
                f"{path}: the graph {what} no array of patch, channel, x, y, z in single precision."
            )
        found.append(tuple(_side(dim) for dim in kinds[0].shape.dim))
    return found[0], found[1]


def _side(dim: Any) -> int | None:
    """One side of an array; None where it has a symbol, or a number that stands for any."""
    return dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None


def fit_graph(graph: CheckedGraph, document: ModelDocument) -> None:
    """Raise BadInput where a graph takes or gives other arrays than a document says."""
    for what, sides, channels in (
        ("takes", graph.taken, len(document.input.channels)),
        ("gives", graph.given, len(document.outputs)),
    ):
        due = (graph.only_batch, channels, *document.patch)
        if any(side is not None and side != wanted for side, wanted in zip(sides, due, strict=True)):
            raise BadInput(
                f"{graph.path}: the graph {what} arrays of {_said(sides)} (patch, channel, x, y, z), and its "
                f"document says {_said((None, *due[1:]))}."
            )
    if graph.only_batch is not None and not 1 <= graph.only_batch <= 4096:
        raise BadInput(f"{graph.path}: the graph takes batches of {graph.only_batch} patches.")


def _said(sides: Dims) -> str:
    return "[" + ", ".join("any" if side is None else str(side) for side in sides) + "]"


def _test(graph: CheckedGraph, name: str) -> Floats:
    """One array of the test."""
    if name not in graph.properties:
        raise BadInput(f"{graph.path} lacks {TEST_INPUT} or {TEST_OUTPUT}, by which a worker proves itself.")
    found = parse_json(graph.properties[name], graph.path, name)
    shape = found.get("shape") if isinstance(found, dict) else None
    text = found.get("float32") if isinstance(found, dict) else None
    if not are_sides(shape) or not isinstance(text, str):
        raise damaged(graph.path, f"{name} has no shape, or no numbers")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise damaged(graph.path, f"{name} is not in base64") from error
    if len(data) != prod(shape) * NUMBERS.itemsize:
        raise damaged(graph.path, f"{name} has another size than its shape says")
    return np.frombuffer(data, NUMBERS).reshape(shape).astype(np.float32)


def array_text(array: Floats) -> str:
    """An array of the test as a property of a graph."""
    numbers = np.ascontiguousarray(array, NUMBERS)
    return json.dumps({"shape": numbers.shape, "float32": base64.b64encode(numbers.tobytes()).decode()})
