"""ONNX graphs for tests: a small network as a graph, and graphs that keep things where they may not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from chunkflow.networks.architectures import Architecture

FLOAT = onnx.TensorProto.FLOAT
SIDES = ["n", 1, "x", "y", "z"]


def write_graph(path: Path, network: Architecture, patch: Sequence[int], free: Sequence[int] = (0,)) -> Path:
    """A network as torch writes it to ONNX; the axes `free` may be of any size, the others are fixed."""
    axes = {"patches": list(free), "logits": list(free)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, (torch.zeros(1, *patch),), path, dynamo=False,
            input_names=["patches"], output_names=["logits"], dynamic_axes=axes if free else None,
        )  # fmt: skip
    return path


def array(name: str, shape: Sequence[int] = (1, 1, 1, 1, 1)) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)


def graph_of(*nodes: onnx.NodeProto, initializers: Sequence[onnx.TensorProto] = (), **more: Any) -> Any:
    """A model that gives patches times 0.5, with other nodes before that."""
    scaled = helper.make_node("Mul", ["patches", "half"], ["logits"], name="scale")
    graph = helper.make_graph(
        [*nodes, scaled],
        "main",
        [helper.make_tensor_value_info("patches", FLOAT, SIDES)],
        [helper.make_tensor_value_info("logits", FLOAT, SIDES)],
        [array("half"), *initializers],
        **more,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def body(*nodes: onnx.NodeProto, initializers: Sequence[onnx.TensorProto] = ()) -> onnx.GraphProto:
    """A subgraph that gives one array."""
    made = [helper.make_tensor_value_info("made", FLOAT, None)]
    return helper.make_graph(list(nodes), "inside", [], made, list(initializers))


def branch(inside: onnx.GraphProto) -> onnx.NodeProto:
    """An If whose branches are the same."""
    return helper.make_node(
        "If", ["patches"], ["either"], name="choose", then_branch=inside, else_branch=inside
    )


def loop(inside: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("Loop", ["patches", "patches"], ["many"], name="repeat", body=inside)


def outside(tensor: onnx.TensorProto, flag: bool = True) -> onnx.TensorProto:
    """The array as one that lies in another file."""
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")
    if flag:
        tensor.data_location = onnx.TensorProto.EXTERNAL
    return tensor


def constant(tensor: onnx.TensorProto, name: str = "fixed") -> onnx.NodeProto:
    return helper.make_node("Constant", [], [f"{name}_made"], name=name, value=tensor)


def sparse(values: onnx.TensorProto, indices: onnx.TensorProto) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(values, indices, [4])


def indexes(name: str = "at") -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(1, np.int64), name)


def custom(name: str = "run", domain: str = "com.custom") -> onnx.NodeProto:
    return helper.make_node("Run", ["patches"], [f"{name}_made"], name=name, domain=domain)


def attribute(name: str, **fields: Any) -> onnx.AttributeProto:
    """An attribute of any kind."""
    made = onnx.AttributeProto(name=name)
    for field, value in fields.items():
        place = getattr(made, field)
        place.extend(value) if isinstance(value, list) else place.CopyFrom(value)
    return made


def holding(given: onnx.AttributeProto) -> onnx.NodeProto:
    """A node with an attribute."""
    node = helper.make_node("Constant", [], ["held"], name="holder")
    node.attribute.append(given)
    return node
