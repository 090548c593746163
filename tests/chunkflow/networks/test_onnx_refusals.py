"""ONNX graphs of strangers: nothing outside of the file, no foreign operator, whatever hides it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from chunkflow.errors import BadInput
from chunkflow.networks.loading import load_predictor, open_model
from chunkflow.networks.onnx import predictor
from chunkflow.networks.onnx.writing import write_onnx
from chunkflow.networks.setting import InferenceSetting
from tests.support.files.networks import document_of
from tests.support.models.graphs import (
    FLOAT,
    array,
    attribute,
    body,
    branch,
    constant,
    custom,
    graph_of,
    holding,
    indexes,
    loop,
    outside,
    sparse,
)
from tests.support.models.hostile import is_sentence, refusal_of

DOCUMENT = document_of(patch=(8, 8, 4), overlap=(4, 4, 2))


def with_function(node: onnx.NodeProto, **fields: Any) -> Any:
    model = graph_of()
    model.functions.add(name="twice", domain="", node=[node], **fields)
    return model


def with_training(**graphs: onnx.GraphProto) -> Any:
    model = graph_of()
    training = model.training_info.add()
    for name, graph in graphs.items():
        getattr(training, name).CopyFrom(graph)
    return model


OUTSIDE: dict[str, Callable[[], Any]] = {
    "graph.initializer 'w'": lambda: graph_of(initializers=[outside(array("w"))]),
    "graph.initializer 'v'": lambda: graph_of(initializers=[outside(array("v"), flag=False)]),
    "graph.sparse_initializer 0.values": lambda: graph_of(
        sparse_initializer=[sparse(outside(array("s", [1])), indexes())]
    ),
    "graph.sparse_initializer 0.indices": lambda: graph_of(
        sparse_initializer=[sparse(array("s", [1]), outside(indexes()))]
    ),
    "graph.node 'fixed' (Constant).attribute 'value'.t": lambda: graph_of(constant(outside(array("w")))),
    "graph.node 'holder' (Constant).attribute 'a'.sparse_tensor.values": lambda: graph_of(
        holding(attribute("a", sparse_tensor=sparse(outside(array("s", [1])), indexes())))
    ),
    "graph.node 'holder' (Constant).attribute 'a'.sparse_tensor.indices": lambda: graph_of(
        holding(attribute("a", sparse_tensor=sparse(array("s", [1]), outside(indexes()))))
    ),
    "graph.node 'holder' (Constant).attribute 'a'.tensors 'w'": lambda: graph_of(
        holding(attribute("a", tensors=[array("b"), outside(array("w"))]))
    ),
    "graph.node 'holder' (Constant).attribute 'a'.sparse_tensors 0.values": lambda: graph_of(
        holding(attribute("a", sparse_tensors=[sparse(outside(array("s", [1])), indexes())]))
    ),
    "graph.node 'holder' (Constant).attribute 'a'.graphs 'inside'.initializer 'w'": lambda: graph_of(
        holding(attribute("a", graphs=[body(initializers=[outside(array("w"))])]))
    ),
    "graph.node 'choose' (If).attribute 'else_branch'.g.initializer 'w'": lambda: graph_of(
        branch(body(initializers=[outside(array("w"))]))
    ),
    "graph.node 'repeat' (Loop).attribute 'body'.g.node 'choose' (If).attribute": lambda: graph_of(
        loop(body(branch(body(constant(outside(array("w")))))))
    ),
    "functions 'twice'.node 'fixed' (Constant).attribute 'value'.t": lambda: with_function(
        constant(outside(array("w")))
    ),
    "functions 'twice'.attribute_proto 'a'.t": lambda: with_function(
        constant(array("w")), attribute_proto=[attribute("a", t=outside(array("w")))]
    ),
    "training_info 0.initialization.initializer 'w'": lambda: with_training(
        initialization=body(initializers=[outside(array("w"))])
    ),
    "training_info 0.algorithm.node 'fixed' (Constant).attribute 'value'.t": lambda: with_training(
        algorithm=body(constant(outside(array("w"))))
    ),
}

FOREIGN: dict[str, Callable[[], Any]] = {
    "graph.node 'run' (Run)": lambda: graph_of(custom()),
    "graph.node 'choose' (If).attribute 'else_branch'.g.node 'run' (Run)": lambda: graph_of(
        branch(body(custom()))
    ),
    "graph.node 'repeat' (Loop).attribute 'body'.g.node 'choose' (If).attribute": lambda: graph_of(
        loop(body(branch(body(custom()))))
    ),
    "graph.node 'holder' (Constant).attribute 'a'.graphs 'inside'.node 'run' (Run)": lambda: graph_of(
        holding(attribute("a", graphs=[body(custom())]))
    ),
    "functions 'twice'.node 'run' (Run)": lambda: with_function(custom()),
    "training_info 0.algorithm.node 'run' (Run)": lambda: with_training(algorithm=body(custom())),
    "graph.node 'fused' (Run)": lambda: graph_of(custom("fused", "com.microsoft")),
    "graph.node 'learnt' (Run)": lambda: graph_of(custom("learnt", "ai.onnx.ml")),
}


@pytest.fixture
def never_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused never comes to onnxruntime."""
    monkeypatch.setattr(predictor, "open_session", lambda *given: pytest.fail("it came to the runtime"))


def refusal(path: Path) -> str:
    """The one sentence in which a graph is refused, whatever it is wanted for."""
    new = path.with_name("new.onnx")
    said = refusal_of(lambda: open_model(path))
    assert said
    assert is_sentence(said)
    assert refusal_of(lambda: load_predictor(path, InferenceSetting())) == said
    assert refusal_of(lambda: write_onnx(new, path, DOCUMENT)) == said
    assert not new.exists()
    return said


def written(path: Path, model: Any) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("where", OUTSIDE)
def test_data_in_another_file_is_refused_wherever_it_is_named(tmp_path: Path, where: str) -> None:
    path = written(tmp_path / "m.onnx", OUTSIDE[where]())
    said = refusal(path)
    assert said.startswith(f"{path} keeps {where}")
    assert "in another file, which might be any: save the graph with all of its data within it" in said


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("where", FOREIGN)
def test_an_operator_of_another_domain_is_refused_wherever_it_is(tmp_path: Path, where: str) -> None:
    path = written(tmp_path / "m.onnx", FOREIGN[where]())
    said = refusal(path)
    assert said.startswith(f"{path} holds {where}")
    assert said.endswith("': only the standard operators of ONNX are run.")


def info(name: str, *sides: Any, kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, sides)


def changed(change: Callable[[Any], object]) -> Any:
    model = graph_of()
    change(model)
    return model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda m: m.graph.input.append(info("more", 1)), "the graph takes 2 arrays, where one is due"),
        (lambda m: m.graph.output.append(info("more", 1)), "the graph gives 2 arrays, where one is due"),
        (lambda m: m.graph.input.pop(), "the graph takes 0 arrays, where one is due"),
        (
            lambda m: m.graph.input[0].CopyFrom(info("patches", "n", 1, 8, 8)),
            "takes no array of patch, channel, x, y, z in single precision",
        ),
        (
            lambda m: m.graph.input[0].CopyFrom(info("patches", "n", 1, 8, 8, 4, kind=10)),
            "takes no array of patch, channel, x, y, z in single precision",
        ),
        (
            lambda m: setattr(m.graph.initializer.add(name="w", data_type=FLOAT), "raw_data", b""),
            "holds a graph alone: make a model of it with convert_model",
        ),
        (
            lambda m: m.graph.initializer.add(name="w", data_type=FLOAT, dims=[2**40]),
            "graph.initializer 'w' would be larger than the file",
        ),
        (
            lambda m: m.graph.initializer.add(name="w", data_type=FLOAT, dims=[-1]),
            "graph.initializer 'w' would be larger than the file",
        ),
        (
            lambda m: m.graph.initializer.add(name="w", data_type=FLOAT, dims=[1] * 100_000),
            "graph.initializer 'w' would be larger than the file",
        ),
    ],
)
def test_a_graph_that_takes_something_else_is_refused(
    tmp_path: Path, model: Callable[[Any], object], why: str
) -> None:
    path = written(tmp_path / "m.onnx", changed(model))
    with pytest.raises(BadInput, match=why):
        open_model(path)


def pair(*shape: int, numbers: int | None = None, value: float = 0.0) -> str:
    """An array of the test, all of one value; with another count of numbers than its shape says."""
    data = np.full(prod(shape) if numbers is None else numbers, value, "<f4").tobytes()
    return json.dumps({"shape": shape, "float32": base64.b64encode(data).decode()})


GOOD = {
    "chunkflow": DOCUMENT.model_copy(update={"architecture": "onnx", "parameters": {}}).model_dump_json(),
    "test.input": pair(1, 4, 4, 2),
    "test.output": pair(1, 4, 4, 2, value=0.5),
}


@pytest.mark.parametrize(
    ("properties", "why"),
    [
        ({"chunkflow": "{"}, "its document is no JSON"),
        ({"chunkflow": "{}"}, "the key 'architecture' is missing"),
        ({"chunkflow": DOCUMENT.model_dump_json()}, "is an ONNX graph, but its document says unet"),
        ({"test.input": None}, "lacks test.input or test.output, by which a worker proves itself"),
        ({"test.output": None}, "lacks test.input or test.output, by which a worker proves itself"),
        ({"test.input": "[1]"}, "test.input has no shape, or no numbers"),
        ({"test.input": '{"shape": [1, -2], "float32": ""}'}, "test.input has no shape, or no numbers"),
        ({"test.input": '{"shape": [1], "float32": "?"}'}, "test.input is not in base64"),
        ({"test.input": pair(1, 4, 4, 2, numbers=5)}, "test.input has another size than its shape says"),
        ({"test.input": pair(1, 2**40, 4, 2, numbers=5)}, "another size than its shape says"),
        ({"test.input": pair(2, 4, 4, 2)}, "test.input is of another shape than the document says"),
        ({"test.input": pair(1, 16, 4, 2)}, "test.input is of another shape than the document says"),
        ({"test.output": pair(1, 4, 4, 4)}, "test.output is of another shape than the document says"),
    ],
)
def test_properties_that_lie_are_refused(tmp_path: Path, properties: dict[str, str | None], why: str) -> None:
    model = graph_of()
    helper.set_model_props(model, {k: v for k, v in (GOOD | properties).items() if v is not None})
    with pytest.raises(BadInput, match=why):
        open_model(written(tmp_path / "m.onnx", model))


def test_a_property_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    model = graph_of()
    helper.set_model_props(model, GOOD)
    model.metadata_props.add(key="chunkflow", value="{}")
    with pytest.raises(BadInput, match="a property is there twice"):
        open_model(written(tmp_path / "m.onnx", model))


@pytest.mark.usefixtures("never_run")
@pytest.mark.parametrize("data", [b"", b"\x08", b"\xff" * 50, b"ONNX", b"{}", b"\x3a\xff\xff\xff\xff\x0f"])
def test_what_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert "is no model, or is damaged" in refusal(path) or data == b""


@settings(max_examples=120)
@given(
    changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4),
    kept=st.integers(0, 1 << 20),
)
def test_changed_bytes_are_refused_or_run(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], kept: int
) -> None:
    model = graph_of(branch(body(constant(array("w")))))
    del model.graph.node[0]
    helper.set_model_props(model, GOOD)
    data = bytearray(model.SerializeToString())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "changed.onnx"
    path.write_bytes(data if kept % 4 else data[: kept % len(data)])
    if bytes(data) == model.SerializeToString() and kept % 4:
        load_predictor(path, InferenceSetting())
        return
    assert is_sentence(refusal_of(lambda: load_predictor(path, InferenceSetting())))
