"""Model files of strangers: refused in one sentence, and nothing of them has run."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.errors import BadInput
from chunkflow.networks.loading import open_model, read_model
from chunkflow.networks.weights import load_model
from tests.support.files.networks import document_of, make_model
from tests.support.models.hostile import (
    header_of,
    is_sentence,
    refusal_of,
    run_hostile,
    with_document,
    write_header,
    write_hostile,
)

REMEDY = "save the network's state_dict() and make a model of that"
MOST_MEMORY = 20_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    document = document_of(patch=(8, 8, 4), overlap=(4, 4, 2))
    return Path(make_model(tmp_path_factory.mktemp("model") / "m.safetensors", document))


def refusal(path: Path) -> str:
    """The one sentence in which a model file is refused."""
    said = refusal_of(lambda: load_model(path))
    assert said
    assert is_sentence(said)
    return said


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("TorchScript", "is a TorchScript archive, which runs code as it is loaded"),
        ("zip", "is a pickle, which runs code as it is loaded"),
        ("legacy", "is a pickle, which runs code as it is loaded"),
        ("pickle", "is a pickle, which runs code as it is loaded"),
        ("exported", "is an exported program, whose reader runs pickles"),
        ("HDF5", "is of HDF5, as Keras keeps models"),
    ],
)
@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".onnx"])
def test_a_file_that_may_run_code_is_refused_before_it_does(
    tmp_path: Path, kind: str, sentence: str, ending: str
) -> None:
    marker = tmp_path / "marker"
    path = write_hostile(tmp_path / "made.pt2", kind, marker).rename(tmp_path / f"m{ending}")
    said = refusal(path)
    assert said.startswith(f"{path} {sentence}")
    assert REMEDY in said or kind == "HDF5"
    assert not marker.exists()
    if kind not in ("exported", "HDF5"):  # the payload does what it is said to
        run_hostile(path, kind)
        assert marker.exists()


@pytest.mark.parametrize("length", [640, 896, 19_280])
def test_a_header_whose_length_looks_like_another_format_is_read(
    tmp_path: Path, model: Path, length: int
) -> None:
    """The length is the first number of the file: 640 are the bytes with which a pickle begins."""
    header, _ = header_of(model)
    short = {"channels": [{"normalise": {"kind": "zscore"}}], "voxel_size": [1, 1, 1]}
    document = json.loads(header["__metadata__"]["chunkflow"]) | {"input": short, "outputs": [OUTPUT]}
    document["architecture"], document["parameters"] = "plain", {"widths": [1], "norm": "none"}
    header = {"__metadata__": {"chunkflow": json.dumps(document, separators=(",", ":"))}}
    text = json.dumps(header, separators=(",", ":")).encode()
    path = write_header(tmp_path / "m.safetensors", text.ljust(length), b"")
    assert path.read_bytes()[:1] in (b"\x80", b"P")
    assert read_model(path).architecture == "plain"


OUTPUT = {"name": "a", "kind": "probability"}


def tensor(kind: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "size", "why"),
    [
        ({"a": tensor(offsets=(0, 16)), "b": tensor(offsets=(8, 16))}, 16, "another size than its shape"),
        ({"a": tensor(), "b": tensor(offsets=(0, 8))}, 8, "overlap, or leave a gap"),
        ({"a": tensor(), "b": tensor(offsets=(4, 12))}, 12, "overlap, or leave a gap"),
        ({"a": tensor(), "b": tensor(offsets=(16, 24))}, 24, "overlap, or leave a gap"),
        ({"a": tensor(offsets=(8, 0))}, 8, "another size than its shape says"),
        ({"a": tensor()}, 4, "holds 4 bytes of tensors where its header says 8"),
        ({"a": tensor()}, 9, "holds 9 bytes of tensors where its header says 8"),
        ({"a": tensor("F7")}, 8, "does not say what the tensor a is"),
        ({"a": tensor(["F32"])}, 8, "does not say what the tensor a is"),
        ({"a": tensor(shape=(-2, -1))}, 8, "does not say what the tensor a is"),
        ({"a": tensor(shape=(True, 2))}, 8, "does not say what the tensor a is"),
        ({"a": tensor(shape=(2.0,))}, 8, "does not say what the tensor a is"),
        ({"a": tensor(shape=(2**62, 2**62))}, 8, "does not say what the tensor a is"),
        ({"a": tensor(shape=(0, 2**62, 2**62), offsets=(0, 0))}, 0, "does not say what the tensor a is"),
        ({"a": tensor(shape=[1] * 100_000)}, 4, "does not say what the tensor a is"),
        ({"a": tensor(shape=(2**40,), offsets=(0, 2**42))}, 8, "where its header says 4,398,046,511,104"),
        ({"a": [1]}, 8, "does not say what the tensor a is"),
        ({"x" * 5000: []}, 8, "xxx… is"),
        ([], 8, "its header is no table of tensors"),
        (b"[" * 100_000, 8, "its header is no JSON"),
        (b"\xff\xfe{}", 8, "its header is no JSON"),
        (b'{"a": NaN}', 8, "its header is no JSON"),
        (b'{"a": 1, "a": 2}', 8, "its header is no JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", 8, "its header is no JSON"),
        ({"__metadata__": None}, 0, "its metadata is not text"),
        ({"__metadata__": {"chunkflow": {}}}, 0, "its metadata is not text"),
        ({"__metadata__": {"chunkflow": "["}}, 0, "its header is no JSON"),
        ({}, 0, "holds weights alone: make a model of them with convert_model"),
    ],
)
def test_a_lying_header_is_refused(tmp_path: Path, header: Any, size: int, why: str) -> None:
    assert why in refusal(write_header(tmp_path / "m.safetensors", header, bytes(size)))


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, model: Path, kept: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(model.read_bytes()[:kept])
    assert "is no model, or is damaged" in refusal(path)


def test_a_header_is_not_read_where_it_cannot_be_one(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    assert "its header would be longer than the file" in refusal(path)
    with path.open("wb") as file:  # a sparse one
        file.write((2**30).to_bytes(8, "little"))
        file.truncate(2**31)
    tracemalloc.start()
    assert "its header would be longer than 10,000,000 bytes" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    tracemalloc.stop()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.safetensors") == f"There is no model {tmp_path}/none.safetensors."
    assert refusal(tmp_path) == f"The model {tmp_path} cannot be read: Is a directory."


CHANNEL = {"normalise": {"kind": "zscore"}}
DEEP: Any = []
for _ in range(20):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"code": "import os"}, "the key 'code' is unknown; known are architecture"),
        ({"made": {"by": "me"}}, "the key 'made.by' is unknown"),
        ({"outputs": [OUTPUT | {"run": 1}]}, "the key 'outputs.0.run' is unknown"),
        ({"outputs": [OUTPUT, OUTPUT]}, "outputs have names of their own"),
        ({"outputs": [{"name": "../a", "kind": "class"}]}, "outputs.0.name"),
        ({"outputs": [OUTPUT | {"kind": "affinity", "offset": [2**40, 0, 0]}]}, "outputs.0.offset.0"),
        ({"outputs": [OUTPUT | {"kind": "image", "range": [0, 1e200]}]}, "outputs.0.range.1"),
        ({"architecture": "onnx", "parameters": {}}, "is no ONNX graph, but its document says so"),
        ({"architecture": "os.system"}, "architecture: String should match pattern"),
        (
            {"architecture": "residual"},
            "residual, which is none of plain, unet, patches: say by architectures",
        ),
        ({"parameters": {"widths": [4, 8], "lambda": 1}}, "parameters of unet: the key 'lambda' is unknown"),
        ({"parameters": {"widths": [2**40]}}, "parameters of unet: widths.0"),
        ({"parameters": {"widths": [4] * 9}}, "parameters of unet: widths"),
        ({"parameters": {"widths": [4, 8], "kernel": [2, 2, 2]}}, "sides of a kernel are odd"),
        ({"parameters": {"a": DEEP}}, "at most 8 in each other"),
        ({"parameters": {"a": "\ud800"}}, "numbers, texts, lists and tables"),
        ({"parameters": {"a": 10**400}}, "numbers, texts, lists and tables"),
        ({"parameters": {"a": "x" * 100_000, "\n": 1}}, "parameters of unet"),
        ({"patch": [4096, 4096, 4096]}, "a patch has at most 268,435,456 voxels"),
        ({"patch": [0, 8, 8]}, "patch.0"),
        ({"patch": [7, 8, 4]}, "no whole multiples of [2, 2, 1]"),
        ({"overlap": [8, 4, 2]}, "smaller than the patch"),
        ({"patch": [256, 256, 256], "overlap": [255, 255, 255]}, "too many meet in one"),
        ({"memory": -1}, "memory"),
        ({"memory": 10**30}, "memory"),
        ({"input": {"channels": [CHANNEL], "voxel_size": [0, 1, 1]}}, "input.voxel_size.0"),
        ({"input": {"channels": [CHANNEL] * 65, "voxel_size": [1, 1, 1]}}, "input.channels"),
        ({"input": {"channels": [{"normalise": {"kind": "eval"}}], "voxel_size": [1, 1, 1]}}, "eval"),
    ],
)
def test_a_lying_document_is_refused(tmp_path: Path, model: Path, changes: dict[str, Any], why: str) -> None:
    assert why in refusal(with_document(tmp_path / "m.safetensors", model, changes))


def outcome(path: Path) -> None:
    """Load a model file: it is good, or refused in one sentence; nothing large is allocated by the way."""
    tracemalloc.start()
    try:
        said = refusal_of(lambda: load_model(path))
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < MOST_MEMORY
    assert is_sentence(said)


@settings(max_examples=150)
@given(
    data=st.binary(max_size=300), magic=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x02" + bytes(7)])
)
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(magic + data)
    with pytest.raises(BadInput):
        open_model(path)


@settings(max_examples=150)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_refused_or_read(model: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(model.read_bytes())
    length = 8 + int.from_bytes(data[:8], "little")
    for place, value in changes:
        data[place % length] = value
    path = model.with_name("changed.safetensors")
    path.write_bytes(data)
    outcome(path)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 9)
    | st.floats()
    | st.text(st.characters(), max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """All places within a JSON value, as what holds each and its key."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places_in(value[key])]


@settings(max_examples=250)
@given(drawn=st.data(), whole=st.booleans())
def test_changed_values_are_refused_or_read(model: Path, drawn: st.DataObject, whole: bool) -> None:
    """One or two values of the header or of the document in it are others."""
    header, tensors = header_of(model)
    document = json.loads(header["__metadata__"]["chunkflow"])
    for _ in range(drawn.draw(st.integers(1, 2))):
        holder, key = drawn.draw(st.sampled_from(places_in(header if whole else document)))
        holder[key] = drawn.draw(ANYTHING)
    if not whole:
        header["__metadata__"]["chunkflow"] = json.dumps(document)
    outcome(write_header(model.with_name("changed.safetensors"), header, tensors))
