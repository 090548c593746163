"""Refusals of ONNX graphs: data outside of the file, and operators that onnxruntime does not bring itself.

All of a graph is walked, whatever it is called: what lies in subgraphs of loops and branches, in functions,
in sparse arrays, in training information, and in places that later versions of the format may add.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from chunkflow.errors import BadInput
from chunkflow.networks.model_file import are_sides
from chunkflow.words import shortened

STANDARD = ("", "ai.onnx")
"""The domain of the operators that the format itself defines, under both of its names."""
EXTERNAL = 1
"""TensorProto.DataLocation.EXTERNAL."""
MESSAGE = 11
"""FieldDescriptor.TYPE_MESSAGE."""


def refuse_outside(path: Path, model: Any, size: int) -> dict[str, tuple[int, ...]]:
    """Raise BadInput for a graph that is not all there, of standard operators alone; `size`: of the file.

    Returns the shapes of all constant arrays, by where they are.
    """
    shapes = {}
    for where, message in walk(model):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto":
            _refuse_external(path, where, message)
            shapes[where] = _shape(path, where, message.dims, size)
        elif kind == "NodeProto" and message.domain not in STANDARD:
            raise BadInput(
                f"{path} holds {shortened(where)} of the domain {shortened(message.domain)!r}: only the "
                "standard operators of ONNX are run."
            )
    return shapes


def _refuse_external(path: Path, where: str, tensor: Any) -> None:
    if tensor.data_location == EXTERNAL or len(tensor.external_data):
        raise BadInput(
            f"{path} keeps {shortened(where)} in another file, which might be any: save the graph with all "
            "of its data within it (onnx.save with save_as_external_data=False)."
        )


def _shape(path: Path, where: str, dims: Any, size: int) -> tuple[int, ...]:
    sides = tuple(dims)
    if not are_sides(list(sides)) or prod(sides) > 8 * size:
        raise BadInput(
            f"{path} is no model, or is damaged: {shortened(where)} would be larger than the file."
        )
    return sides


def walk(message: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All messages within one, each with where it is, as in graph.node 'loop'.attribute 'body'.g."""
    yield where, message
    for field, value in message.ListFields():
        if field.type != MESSAGE:
            continue
        begin = f"{where}.{field.name}" if where else field.name
        if hasattr(value, "DESCRIPTOR"):
            yield from walk(value, begin)
        else:
            for index, one in enumerate(value):
                yield from walk(one, f"{begin} {_name(one, index)}")


def _name(message: Any, index: int) -> str:
    """The name of one of several, with what it does; else its number, from 0."""
    fields = message.DESCRIPTOR.fields_by_name
    name = str(message.name) if "name" in fields and message.name else ""
    operator = f" ({message.op_type})" if message.DESCRIPTOR.name == "NodeProto" else ""
    return f"{name!r}{operator}" if name else f"{index}{operator}"
