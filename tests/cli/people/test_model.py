"""`chunkflow model`: a state dict becomes a model file, whose document is shown and taken again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chunkflow.networks.loading import load_predictor, read_model
from chunkflow.networks.models.named import model_card, model_names
from chunkflow.networks.setting import InferenceSetting
from chunkflow.networks.weights import load_model
from tests.support.commands import Command
from tests.support.files.networks import document_of, make_model, network_of
from tests.support.jobs import hide_package
from tests.support.models.graphs import write_graph
from tests.support.models.hostile import write_hostile

PATCH = (8, 8, 4)
DOCUMENT = document_of(2, patch=PATCH, overlap=(4, 4, 2))
OWN = """
import torch
from helper import WIDTH
from chunkflow.networks.architectures import Architecture


class Net(Architecture):
    class Parameters(Architecture.Parameters):
        width: int = WIDTH

    def __init__(self, parameters, inputs, outputs):
        super().__init__(parameters, inputs, outputs)
        self.first = torch.nn.Conv3d(inputs, parameters.width, 3, padding=1)
        self.head = torch.nn.Conv3d(parameters.width, outputs, 1)

    def forward(self, patches):
        return self.head(self.first(patches).relu())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights, a graph and a document, entered."""
    network = network_of(DOCUMENT)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    write_graph(tmp_path / "graph.onnx", network, (1, *PATCH))
    (tmp_path / "model.json").write_text(DOCUMENT.model_dump_json(exclude_none=True))
    (tmp_path / "helper.py").write_text("WIDTH = 4\n")
    (tmp_path / "nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("weights", "made"), [("weights.pt", "m.safetensors"), ("graph.onnx", "m.onnx")])
def test_what_is_shown_is_taken_as_a_document(
    folder: Path, command: Command, weights: str, made: str
) -> None:
    said = command("model", "convert", weights, "--like", "model.json", "--to", made)
    named = "unet" if made == "m.safetensors" else "onnx"
    assert (said.code, said.err) == (0, "")
    assert said.out == f"{made}: {named}, made0, made1\n"
    shown = command("model", "show", made)
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out)["memory"] > 0
    (folder / "shown.json").write_text(shown.out)
    again = command("model", "convert", weights, "--like", "shown.json", "--to", f"again_{made}")
    assert again.code == 0, again.err
    assert (folder / made).read_bytes() == (folder / f"again_{made}").read_bytes()
    load_predictor(made, InferenceSetting())


def test_a_class_in_the_folder_is_an_architecture(folder: Path, command: Command) -> None:
    document = document_of(2, patch=PATCH, overlap=(4, 4, 2), parameters={})
    (folder / "model.json").write_text(document.model_dump_json(exclude_none=True))
    torch.manual_seed(0)
    first, head = torch.nn.Conv3d(1, 4, 3), torch.nn.Conv3d(4, 2, 1)
    torch.save(torch.nn.ModuleDict({"first": first, "head": head}).state_dict(), folder / "own.pt")
    words = ["model", "convert", "own.pt", "--like", "model.json", "--to", "m.safetensors"]
    said = command(*words, "--architecture", "small=nets.py:Net")
    assert (said.code, said.err) == (0, "")
    assert read_model("m.safetensors").architecture == "small"
    for given, why in (
        ("small=nets.py", "name a class in a file beside the job, as in nets.py:Net, not 'nets.py'"),
        ("small=nets.py:Nte", "The architecture small (nets.py:Nte) cannot be loaded"),
        ("small", "is of the architecture small, which is none of plain, unet"),
        ("small=helper.py:WIDTH", "The architecture small must be a subclass of"),
    ):
        said = command(*words[:-1], "no.safetensors", "--architecture", given)
        assert said.code == 2
        assert why in said.err
        assert said.err.count("\n") == 1
    assert not (folder / "no.safetensors").exists()


def test_files_of_strangers_are_refused(folder: Path, command: Command) -> None:
    marker = folder / "marker"
    write_hostile(folder / "evil.pt", "zip", marker)
    said = command("model", "convert", "evil.pt", "--like", "model.json", "--to", "m.safetensors")
    assert said.code == 2
    assert said.err.startswith("evil.pt is damaged, or holds more than weights, which would run code")
    said = command("model", "show", "evil.pt")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("evil.pt is a pickle, which runs code as it is loaded")
    said = command("model", "show", "graph.onnx")
    assert said.code == 2
    assert said.err.startswith("graph.onnx holds a graph alone: make a model of it")
    assert not marker.exists()
    assert not (folder / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "package", "needed"),
    [
        ("convert weights.pt --like model.json --to n.safetensors", "torch", "Making a model file"),
        ("convert weights.pt --like model.json --to n.safetensors", "safetensors", "Making a model file"),
        ("convert graph.onnx --like model.json --to n.onnx", "onnxruntime", "Making a model file"),
        ("convert graph.onnx --like model.json --to n.onnx", "onnx", "Reading graph.onnx"),
        ("show m.onnx", "onnx", "Reading m.onnx"),
    ],
)
def test_a_missing_package_is_named(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch, words: str, package: str, needed: str
) -> None:
    made = command("model", "convert", "graph.onnx", "--like", "model.json", "--to", "m.onnx")
    assert made.code == 0, made.err
    hide_package(monkeypatch, package)
    said = command("model", *words.split())
    extra = "onnx" if package.startswith("onnx") else "cnn"
    assert said.err == f"{needed} needs the package {package}: pip install 'chunkflow-ray[{extra}]'.\n"
    assert (said.code, said.out) == (2, "")
    assert not list(folder.glob("n.*"))


def test_a_model_is_shown_without_torch(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(folder / "m.safetensors", DOCUMENT)
    for package in ("torch", "safetensors", "onnx", "onnxruntime"):
        hide_package(monkeypatch, package)
    said = command("model", "show", "m.safetensors")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out)["architecture"] == "unet"


def test_models_that_come_along_are_listed_and_shown_with_their_cards(folder: Path, command: Command) -> None:
    said = command("model", "list")
    assert (said.code, said.err) == (0, "")
    assert [line.partition(":")[0] for line in said.out.splitlines()] == model_names()
    shown = command("model", "show", "cells-heatmap")
    assert (shown.code, shown.err) == (0, model_card("cells-heatmap") + "\n")
    assert json.loads(shown.out) == json.loads(read_model("cells-heatmap").model_dump_json(exclude_none=True))
    said = command("model", "show", "cells")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("There is no model cells that comes along (there are cells-heatmap")


def test_the_document_of_a_model_that_comes_along_is_taken_by_its_name(
    folder: Path, command: Command
) -> None:
    torch.save(load_model("cells-heatmap").network.state_dict(), folder / "weights.pt")
    said = command("model", "convert", "weights.pt", "--like", "cells-heatmap", "--to", "m.safetensors")
    assert (said.code, said.err) == (0, "")
    assert read_model("m.safetensors").outputs == read_model("cells-heatmap").outputs
