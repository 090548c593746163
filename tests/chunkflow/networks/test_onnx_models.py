"""ONNX graphs as models: the answers of the network that they were made of, by the same rules."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from chunkflow.errors import BadInput
from chunkflow.networks.activation import activate
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import batch_for, load_predictor, open_model, read_model
from chunkflow.networks.onnx.graph import array_text, read_onnx
from chunkflow.networks.onnx.predictor import activate_array
from chunkflow.networks.onnx.writing import write_onnx
from chunkflow.networks.setting import FLIPPED, Flips, InferenceSetting
from chunkflow.networks.weights import write_model
from tests.support.files.networks import document_of, network_of
from tests.support.models.graphs import write_graph

PATCH = (16, 16, 8)
DOCUMENT = document_of(2, patch=PATCH, overlap=(8, 8, 4))
NETWORK = network_of(DOCUMENT)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network as a model of both kinds, and its graph."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "m.safetensors", NETWORK, DOCUMENT)
    write_onnx(folder / "m.onnx", write_graph(folder / "graph.onnx", NETWORK, (1, *PATCH)), DOCUMENT)
    return folder


def changed(models: Path, to: Path, change: Callable[[dict[str, str]], object]) -> Path:
    """The model in ONNX with other properties."""
    model = onnx.load(models / "m.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    change(properties)
    onnx.helper.set_model_props(model, properties)
    onnx.save(model, to)
    return to


def patches(count: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, 1, *PATCH), np.float32)


@pytest.mark.parametrize("flips", ["none", "xy", "xyz"])
def test_the_answers_are_those_of_torch(models: Path, flips: Flips) -> None:
    given = patches(3)
    torch_, onnx_ = (
        load_predictor(models / name, InferenceSetting(flips=flips)).submit(given, 4)()
        for name in ("m.safetensors", "m.onnx")
    )
    assert torch_.shape == onnx_.shape == (3, 2, *PATCH)
    assert torch_.dtype == onnx_.dtype == np.uint16
    assert torch_.std() > 1000
    assert np.abs(torch_.astype(int) - onnx_).max() <= 1


def test_neither_the_batch_nor_what_fills_it_changes_an_answer(models: Path) -> None:
    predictor = load_predictor(models / "m.onnx", InferenceSetting())
    given = patches(4)
    whole = predictor.submit(given, 4)()
    assert np.array_equal(predictor.submit(given[:2], 4)(), whole[:2])
    assert np.array_equal(predictor.submit(given, 4)(), whole)


def test_the_document_is_that_which_was_given(models: Path) -> None:
    document = read_model(models / "m.onnx")
    expected = DOCUMENT.model_copy(
        update={"architecture": "onnx", "parameters": {}, "memory": document.memory}
    )
    assert document == expected
    torch_memory = read_model(models / "m.safetensors").memory
    assert 0.5 * torch_memory < document.memory < 2 * torch_memory
    weights = sum(weights.numel() for weights in NETWORK.parameters())
    assert open_model(models / "m.onnx").bytes >= 4 * weights
    assert batch_for(document, InferenceSetting("cuda")) == 1


def test_a_graph_keeps_its_own_properties_and_is_written_again(models: Path, tmp_path: Path) -> None:
    other = changed(models, tmp_path / "m.onnx", lambda p: p.update(author="me"))
    written = write_onnx(tmp_path / "new.onnx", other, read_model(models / "m.onnx"))
    assert written == read_model(tmp_path / "new.onnx") == read_model(models / "m.onnx")
    kept = {entry.key for entry in onnx.load(tmp_path / "new.onnx").metadata_props}
    assert kept == {"chunkflow", "test.input", "test.output", "author"}
    onnx.checker.check_model(tmp_path / "new.onnx")


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        (InferenceSetting(precision="bf16"), "which runs in fp32 alone, not in bf16"),
        (InferenceSetting(precision="tf32"), "which runs in fp32 alone, not in tf32"),
        (InferenceSetting(compiled=True), "which torch does not compile: leave `compile` out"),
        (
            InferenceSetting("cuda"),
            "the onnxruntime of this worker is one for CPUs: pip install onnxruntime-gpu",
        ),
    ],
)
def test_what_onnxruntime_does_not_do_is_refused(models: Path, setting: InferenceSetting, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        load_predictor(models / "m.onnx", setting)


def test_a_graph_that_gives_no_numbers_is_refused(models: Path) -> None:
    """However its answers are averaged."""
    document = read_model(models / "m.onnx")
    patches = np.full((1, len(document.input.channels), *document.patch), np.nan, np.float32)
    for flips in FLIPPED:
        predictor = load_predictor(models / "m.onnx", InferenceSetting(flips=flips))
        with pytest.raises(ValueError, match="not numbers"):
            predictor.submit(patches, 1)()


def test_a_gpu_that_is_not_seen_is_not_replaced(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime itself would go on with the CPU."""
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)
    session = onnxruntime.InferenceSession

    def on_a_cpu(data: bytes, options: Any, providers: list[Any]) -> Any:
        assert providers[0][0] == listed[0]
        return session(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_a_cpu)
    with pytest.raises(BadInput, match="The device is cuda, but this worker sees no GPU"):
        load_predictor(models / "m.onnx", InferenceSetting("cuda"))


def test_the_runtime_is_given_what_was_checked_and_no_path(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, seen = onnxruntime.InferenceSession, []

    def spied(data: bytes, options: Any, providers: list[Any]) -> Any:
        seen.append((data, options))
        return session(data, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spied)
    load_predictor(models / "m.onnx", InferenceSetting(threads=3, flips="xy"))
    ((data, options),) = seen
    assert data == read_onnx(models / "m.onnx").graph.model.SerializeToString()
    assert not onnx.load_model_from_string(data).metadata_props
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.use_deterministic_compute


@pytest.mark.parametrize("batch", [1, 2])
def test_a_graph_of_one_batch_takes_no_other(tmp_path: Path, batch: int) -> None:
    graph = write_graph(tmp_path / "graph.onnx", NETWORK, (1, *PATCH), free=())
    model = onnx.load(graph)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, graph)
    written = write_onnx(tmp_path / "m.onnx", graph, DOCUMENT)
    predictor = load_predictor(tmp_path / "m.onnx", InferenceSetting())
    assert predictor.only_batch == batch
    assert predictor.submit(patches(1), batch)().shape == (1, 2, *PATCH)
    with pytest.raises(BadInput, match=f"m.onnx takes {batch} patches at a time: set `batch` to that"):
        predictor.submit(patches(1), 3)
    assert written.memory < 2**20


def test_a_graph_that_is_not_what_the_document_says_is_not_made(models: Path, tmp_path: Path) -> None:
    for changes, why in (
        (
            {"patch": (8, 16, 8), "overlap": (4, 4, 4)},
            r"takes arrays of \[any, 1, 16, 16, 8\].* \[any, 1, 8,",
        ),
        ({"count": 3}, r"gives arrays of \[any, 2, 16, 16, 8\].* says \[any, 3, 16, 16, 8\]"),
        ({"images": 2}, r"takes arrays of \[any, 1, 16, 16, 8\].* says \[any, 2, 16, 16, 8\]"),
    ):
        document = document_of(changes.pop("count", 2), **({"patch": PATCH} | changes))  # type: ignore[arg-type]
        with pytest.raises(BadInput, match=why):
            write_onnx(tmp_path / "m.onnx", models / "graph.onnx", document)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_of_free_sides_proves_itself_on_a_small_patch(tmp_path: Path) -> None:
    document = document_of(2, patch=(64, 32, 8), overlap=(8, 8, 4))
    graph = write_graph(tmp_path / "graph.onnx", NETWORK, (1, *PATCH), free=(0, 2, 3, 4))
    write_onnx(tmp_path / "m.onnx", graph, document)
    model = read_onnx(tmp_path / "m.onnx")
    assert model.test_input.shape == (1, 32, 32, 8)
    assert load_predictor(tmp_path / "m.onnx", InferenceSetting()).document == model.file.document


@pytest.mark.parametrize(
    ("name", "change", "why"),
    [
        ("test.output", lambda array: array + 0.1 * np.eye(16, 8), r"by 0\.\d+ of .* at most 0.0001 may"),
        ("test.output", lambda array: array * np.nan, "by nan of the test's range"),
        ("test.input", lambda array: array + np.eye(16, 8), r"by 0\.\d+ of the test's range"),
        ("test.input", lambda array: array * np.nan, "fails the test .* values that are not numbers"),
    ],
)
def test_a_worker_refuses_a_graph_that_is_not_what_its_file_says(
    models: Path, tmp_path: Path, name: str, change: Callable[[np.ndarray], np.ndarray], why: str
) -> None:
    model = read_onnx(models / "m.onnx")
    array = {"test.input": model.test_input, "test.output": model.test_output}[name]
    text = array_text(change(array).astype(np.float32))
    path = changed(models, tmp_path / "m.onnx", lambda properties: properties.update({name: text}))
    with pytest.raises(BadInput, match=why):
        load_predictor(path, InferenceSetting())


WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(("torch", "safetensors")))
import numpy as np
from chunkflow.networks.loading import load_predictor
from chunkflow.networks.setting import FLIPPED, Flips, InferenceSetting
predictor = load_predictor(sys.argv[1], InferenceSetting(flips="xy"))
print(predictor.submit(np.zeros((1, 1, 16, 16, 8), np.float32), 1)().shape)
"""


def test_a_graph_is_run_without_torch(models: Path) -> None:
    words = [sys.executable, "-c", WITHOUT_TORCH, str(models / "m.onnx")]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.stdout == "(1, 2, 16, 16, 8)\n", ran.stderr


OUTPUTS = [
    {"name": "a", "kind": "probability"},
    {"name": "b", "kind": "class"},
    {"name": "c", "kind": "image", "range": (-3, 5)},
    {"name": "d", "kind": "class"},
    {"name": "e", "kind": "affinity", "offset": (1, 0, 0)},
]


@pytest.mark.parametrize("activated", [False, True])
def test_the_activation_is_that_of_torch(activated: bool) -> None:
    document: ModelDocument = document_of(outputs=OUTPUTS, activated=activated)
    given = np.random.default_rng(2).standard_normal((5, 4, 4, 4), np.float32) * 4
    given[0, 0, 0] = [-1000, 1000, np.inf, -np.inf]
    ours = activate_array(given, document)
    theirs = activate(torch.from_numpy(given), document).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 1e-6
    assert activated or np.allclose(ours[[1, 3]].sum(0), 1)
