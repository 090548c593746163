"""Model files in ONNX, written: a graph as it is, with the document and the test of a model in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chunkflow.data.atomic import write_whole
from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.geometry import Vec, vec
from chunkflow.networks.document import ONNX, ModelDocument
from chunkflow.networks.model_file import KEY, TEST_INPUT, TEST_OUTPUT
from chunkflow.networks.onnx.graph import CheckedGraph, Floats, array_text, check_graph, fit_graph
from chunkflow.networks.onnx.predictor import OnnxPredictor, activate_array
from chunkflow.networks.setting import InferenceSetting

TEST_SIDE = 32
BYTES = 4


def write_onnx(path: str | Path, graph_file: str | Path, document: ModelDocument) -> ModelDocument:
    """Write a graph and a document as a model file; returns the document as it was written.

    What the graph gives for noise is kept with it, so that every worker can prove itself.
    """
    graph = check_graph(graph_file)
    document = document.model_copy(update={"architecture": ONNX, "parameters": {}})
    fit_graph(graph, document)
    inputs, outputs = _test_of(graph, document)
    document = document.model_copy(update={"memory": graph_memory(graph, document)})
    model = type(graph.model)()
    model.CopyFrom(graph.model)
    for key, value in {
        **graph.properties,
        KEY: document.model_dump_json(exclude_none=True),
        TEST_INPUT: array_text(inputs),
        TEST_OUTPUT: array_text(outputs),
    }.items():
        model.metadata_props.add(key=key, value=value)
    write_whole(Path(path), model.SerializeToString())
    return document


def _test_of(graph: CheckedGraph, document: ModelDocument) -> tuple[Floats, Floats]:
    """Noise and what the graph gives for it: in a small patch where the graph takes one, else in a whole."""
    predictor = OnnxPredictor(graph, document, InferenceSetting())
    fixed = any(side is not None for side in graph.taken[2:])
    sides = [document.patch] if fixed else [_small(document.patch), document.patch]
    for side in sides:
        noise = np.random.default_rng(0).standard_normal((len(document.input.channels), *side), np.float32)
        batch = np.zeros((graph.only_batch or 1, *noise.shape), np.float32)
        batch[0] = noise
        try:
            return noise, activate_array(predictor.forward(batch)[0], document)
        except ValueError as error:
            refused = error
    raise BadInput(
        f"{graph.path} cannot be run on patches of {list(document.patch)}: {refused}."
    ) from refused


def _small(patch: Vec) -> Vec:
    """A patch halved along each axis until it is small; a graph that was halved less often may refuse it."""
    halved = list(patch)
    for axis in range(3):
        while halved[axis] % 2 == 0 and halved[axis] > TEST_SIDE:
            halved[axis] //= 2
    return vec(halved)


def graph_memory(graph: CheckedGraph, document: ModelDocument) -> int:
    """The most bytes that the arrays of one patch take at a time, from their shapes; one that is not known
    counts as the largest."""
    known = _array_bytes(graph, document)
    largest = max(known.values(), default=0)
    nodes = graph.model.graph.node
    last = {name: index for index, node in enumerate(nodes) for name in node.input}
    alive = {value.name: known.get(value.name, largest) for value in graph.model.graph.input}
    most = 0
    for index, node in enumerate(nodes):
        alive |= {name: known.get(name, largest) for name in node.output if name}
        most = max(most, sum(alive.values()))
        alive = {name: size for name, size in alive.items() if last.get(name, len(nodes)) > index}
    return most // (graph.only_batch or 1)


def _array_bytes(graph: CheckedGraph, document: ModelDocument) -> dict[str, int]:
    """The bytes of all arrays whose shapes follow from that of one patch."""
    inference = optional_import("onnx.shape_inference", f"Reading {graph.path}")
    model = type(graph.model)()
    model.CopyFrom(graph.model)
    constant = {tensor.name for tensor in model.graph.initializer}
    taken = next(value for value in model.graph.input if value.name not in constant)
    patch = (graph.only_batch or 1, len(document.input.channels), *document.patch)
    for dim, side in zip(taken.type.tensor_type.shape.dim, patch, strict=True):
        dim.dim_value = side
    for value in model.graph.output:  # symbols of the graph's own would stand for what follows
        value.type.tensor_type.ClearField("shape")
    found = inference.infer_shapes(model, data_prop=True).graph
    sizes = {}
    for value in (*found.input, *found.value_info, *found.output):
        dims = value.type.tensor_type.shape.dim
        if value.name not in constant and dims and all(dim.HasField("dim_value") for dim in dims):
            sizes[value.name] = BYTES * int(np.prod([dim.dim_value for dim in dims], dtype=object))
    return sizes
