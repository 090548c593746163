"""Plain weights become a model file: of every form in which they are kept, or of none that runs code."""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import chunkflow as cf
from chunkflow.errors import BadInput
from chunkflow.networks.conversion.convert import convert_model, read_document
from chunkflow.networks.weights import Tensors, load_model
from tests.support.files.networks import VOXEL_SIZE, blobs, document_of, make_model, network_of
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.models.graphs import write_graph
from tests.support.models.hostile import write_hostile

PATCH = (16, 16, 8)
DOCUMENT = document_of(2, patch=PATCH, overlap=(8, 8, 4))
NETWORK = network_of(DOCUMENT)
STATE = NETWORK.state_dict()


@pytest.fixture
def like(tmp_path: Path) -> Path:
    """A document in JSON."""
    path = tmp_path / "like.json"
    path.write_text(DOCUMENT.model_dump_json(exclude_none=True))
    return path


def answer(path: Path) -> torch.Tensor:
    return load_model(path).network(torch.ones(1, 1, *PATCH))


def is_converted(made: Path) -> bool:
    return torch.equal(answer(made), NETWORK(torch.ones(1, 1, *PATCH)))


FORMS: dict[str, Callable[[Tensors], Any]] = {
    "plain": lambda state: state,
    "a dict": dict,
    "state_dict": lambda state: {"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": torch.ones(())},
    "model": lambda state: {"model": state},
    "parallel": lambda state: OrderedDict((f"module.{name}", w) for name, w in state.items()),
    "nested, parallel": lambda state: {"state_dict": {f"module.{name}": w for name, w in state.items()}},
    "parameters": lambda state: {name: torch.nn.Parameter(w) for name, w in state.items()},
    "doubles": lambda state: {name: w.double() for name, w in state.items()},
    "views": lambda state: {name: torch.stack([w, w])[1] for name, w in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_of_any_form_becomes_a_model(
    tmp_path: Path, like: Path, form: str, legacy: bool
) -> None:
    weights, made = tmp_path / "weights.pt", tmp_path / "deep" / "m.safetensors"
    torch.save(FORMS[form](STATE), weights, _use_new_zipfile_serialization=not legacy)
    document = convert_model(weights, made, like)
    assert is_converted(made)
    assert document == load_model(made).document
    assert document.memory > 0
    assert document.model_copy(update={"memory": 0}) == DOCUMENT


def test_tensors_and_models_become_models(tmp_path: Path, like: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    convert_model(tmp_path / "weights.safetensors", tmp_path / "a.safetensors", like)
    convert_model(tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert is_converted(tmp_path / "b.safetensors")


def test_weights_of_a_network_of_z_y_x_are_turned(tmp_path: Path) -> None:
    """The network turned gives for patches turned the same, turned; kernels and pooling are of x, y, z."""
    shapes = {"widths": [4, 8], "kernel": [3, 5, 1], "pooling": [1, 2, 4], "norm": "group"}
    turned = {"widths": [4, 8], "kernel": [1, 5, 3], "pooling": [4, 2, 1], "norm": "group"}
    other = network_of(document_of(2, patch=(8, 16, 16), overlap=(4, 4, 4), parameters=shapes))  # z, y, x
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    document = document_of(2, patch=(16, 16, 8), parameters=turned)
    (tmp_path / "like.json").write_text(document.model_dump_json(exclude_none=True))
    made = tmp_path / "m.safetensors"
    convert_model(tmp_path / "weights.pt", made, tmp_path / "like.json", axes="zyx")
    patch = torch.randn(1, 1, 16, 16, 8)
    ours, theirs = load_model(made).network(patch), other(patch.permute(0, 1, 4, 3, 2))
    assert torch.allclose(ours, theirs.permute(0, 1, 4, 3, 2), atol=1e-5)
    with pytest.raises(BadInput, match=r"are of the shape \[4, 1, 3, 5, 1\], and the network's of \[4, 1, 1"):
        convert_model(tmp_path / "weights.pt", made, tmp_path / "like.json")


def refused(tmp_path: Path, weights: Path, like: Path, why: str, **given: Any) -> None:
    """The conversion is refused in one sentence, and what was there is as it was."""
    made = tmp_path / "m.safetensors"
    made.write_bytes(b"old")
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(BadInput, match=why) as error:
        convert_model(weights, made, like, **given)
    assert "\n" not in str(error.value)
    assert made.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("TorchScript", "is a TorchScript archive, which runs code as it is loaded"),
        ("zip", "holds more than weights, which would run code as it is loaded"),
        ("legacy", "holds more than weights, which would run code as it is loaded"),
        ("pickle", "holds more than weights, which would run code as it is loaded"),
        ("exported", "is an exported program, whose reader runs pickles"),
        ("HDF5", "is of HDF5, as Keras keeps models"),
    ],
)
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_weights_that_would_run_code_are_refused(
    tmp_path: Path, like: Path, kind: str, why: str, ending: str
) -> None:
    marker = tmp_path / "marker"
    weights = write_hostile(tmp_path / "made.pt2", kind, marker).rename(tmp_path / f"weights{ending}")
    refused(tmp_path, weights, like, why)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ([1, 2], "holds a list, and no weights by name"),
        (torch.ones(2), "holds a Tensor, and no weights by name"),
        (STATE | {"epoch": 3}, "holds epoch, which is no dense array of real numbers, beside its weights"),
        ({**STATE, 3: torch.ones(1)}, "holds 3, which is no dense array"),
        (STATE | {"a": torch.ones(2, 2).to_sparse()}, "holds a, which is no dense array"),
        (STATE | {"a": torch.ones(2) * 1j}, "holds a, which is no dense array"),
        (STATE | {"a": torch.ones(2)}, "holds weights that the network does not have: a."),
        ({"head.bias": torch.ones(1)}, "lacks weights that the network needs: down.*more"),
        (STATE | {"head.bias": torch.ones(1).expand(2**40)}, r"head.bias are of the shape \[1099511627776\]"),
        (STATE | {"head.bias": torch.ones(2).int()}, "head.bias are of torch.int32, not of torch.float32"),
    ],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, like: Path, kept: Any, why: str) -> None:
    torch.save(kept, tmp_path / "weights.pt")
    refused(tmp_path, tmp_path / "weights.pt", like, why)


def test_a_packed_archive_is_refused(tmp_path: Path, like: Path) -> None:
    """A few bytes of it might become any number."""
    torch.save(STATE, tmp_path / "weights.pt")
    with (
        zipfile.ZipFile(tmp_path / "weights.pt") as archive,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry))
    refused(
        tmp_path, tmp_path / "packed.pt", like, "its entries are compressed, which torch.save does not do"
    )


def test_what_does_not_go_together_is_refused(tmp_path: Path, like: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(STATE, weights)
    refused(tmp_path, tmp_path / "none.pt", like, "There is no model .*none.pt")
    refused(tmp_path, weights, tmp_path / "none.json", "There is no model .*none.json")
    refused(
        tmp_path, weights, like, "of the architecture residual, which is none of", architecture="residual"
    )
    refused(tmp_path, weights, like, "parameters of plain: the key 'pooling'", architecture="plain")
    refused(tmp_path, weights, like, "weights.pt is no ONNX graph: say by", architecture="onnx")
    refused(tmp_path, weights, like, "axes is xyz or zyx, not xzy", axes="xzy")
    with pytest.raises(BadInput, match=r"A model file is called \.safetensors or \.onnx, not m\.pt"):
        convert_model(weights, tmp_path / "m.pt", like)
    like.write_text(json.dumps({"architecture": "unet", "run": 1}))
    refused(tmp_path, weights, like, "like.json is no model: the key 'run' is unknown")
    like.write_text("{")
    refused(tmp_path, weights, like, "its text is no JSON")
    like.write_text("patch: [1, 2, 3]")
    refused(tmp_path, weights, like, "like.json is no model, or is damaged")


def test_a_graph_becomes_a_model(tmp_path: Path, like: Path) -> None:
    graph, made = write_graph(tmp_path / "graph.onnx", NETWORK, (1, *PATCH)), tmp_path / "m.onnx"
    document = convert_model(graph, made, like)
    assert document == cf.read_model(made) == read_document(made)
    again = convert_model(made, tmp_path / "again.onnx", made)
    assert again == document
    assert (tmp_path / "again.onnx").read_bytes() == made.read_bytes()
    refused(tmp_path, graph, like, "An ONNX graph stays one: graph.onnx does not become m.safetensors")
    torch.save(STATE, tmp_path / "weights.pt")
    refused(tmp_path, tmp_path / "weights.pt", made, "is no ONNX graph: say by architecture which network")
    for given in ({"axes": "zyx"}, {"architecture": "unet"}):
        with pytest.raises(BadInput, match="is an architecture of its own: leave axes and architecture out"):
            convert_model(graph, tmp_path / "n.onnx", like, **given)
    assert not (tmp_path / "n.onnx").exists()


def test_a_model_of_both_kinds_is_run_over_a_volume(tmp_path: Path) -> None:
    """The layers that they make differ by 1 of 255 at most."""
    document = document_of(1)
    make_model(tmp_path / "m.safetensors", document)
    graph = write_graph(tmp_path / "g.onnx", load_model(tmp_path / "m.safetensors").network, (1, *PATCH))
    convert_model(graph, tmp_path / "m.onnx", tmp_path / "m.safetensors")
    em = make_layer(tmp_path / "em", blobs((37, 29, 22)), voxel_size=VOXEL_SIZE)
    made = {}
    for name in ("m.safetensors", "m.onnx"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        task = {"infer": {"images": ["em"], "model": str(tmp_path / name), "made": "made"}}
        layers = {"em": em, "made": str(folder / "made")}
        job = make_job(folder, layers, [task], chunk=[24, 16, 8], storage=[8, 8, 8])
        assert run_job(job) == "complete"
        made[name] = read_layer(folder / "made").astype(int)
    assert made["m.onnx"].std() > 5
    assert np.abs(made["m.onnx"] - made["m.safetensors"]).max() <= 1
