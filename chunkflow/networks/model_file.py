"""Files of models: weights and one document, data alone.

1. What a file is, is told by its first bytes; files whose readers run code, or may, are refused.
2. Of a `.safetensors` file the header alone is read for the document: no more bytes than it says it has, and
   no more than 10 MB.
3. Names, types, shapes and places of all tensors are held against the size of the file before it is opened by
   anything else.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.networks.document import ONNX, ModelDocument
from chunkflow.networks.models.named import model_path
from chunkflow.words import shortened

KEY = "chunkflow"
"""Where the document is kept: in the header's `__metadata__`, or the properties of an ONNX graph."""
TEST_INPUT, TEST_OUTPUT = "test.input", "test.output"
LONGEST_HEADER = 10_000_000
MOST_AXES, MOST_NUMBERS = 8, 2**48
"""Of a tensor, so that no product of its sides overflows, whoever computes it."""
BYTES_OF = {
    "BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
"""Bytes of one number, by the name that the format has for its type."""
STATE_DICT = "save the network's state_dict() and make a model of that with convert_model (model convert)"


@dataclass(frozen=True)
class ModelFile:
    """What the header of a model file says."""

    path: Path
    document: ModelDocument
    shapes: Mapping[str, tuple[int, ...]]
    """Of all tensors, by name, with those of the test."""

    @property
    def bytes(self) -> int:
        """Bytes of the weights in single precision."""
        return 4 * sum(prod(shape) for shape in self.shapes.values())


def open_safetensors(path: str | Path) -> ModelFile:
    """What the header of a `.safetensors` model says, checked."""
    path = model_path(path)
    try:
        with path.open("rb") as file:
            refuse_programs(path, file.read(16))
            metadata, shapes = read_header(path, file)
    except OSError as error:
        raise unreadable(path, error) from error
    if KEY not in metadata:
        raise BadInput(
            f"{path} holds weights alone: make a model of them with convert_model (model convert), which "
            "says what they take and give."
        )
    document = ModelDocument.parse(parse_json(metadata[KEY], path), path)
    if document.architecture == ONNX:
        raise BadInput(f"{path} is no ONNX graph, but its document says so.")
    return ModelFile(path, document, shapes)


def is_onnx(path: str | Path) -> bool:
    """Whether a file is an ONNX graph, by its name."""
    return Path(path).suffix.lower() == ".onnx"


def unreadable(path: Path, error: OSError) -> BadInput:
    """The error for a model that is not there, or cannot be read."""
    if isinstance(error, FileNotFoundError):
        return BadInput(f"There is no model {path}.")
    return BadInput(f"The model {path} cannot be read: {error.strerror}.")


def refuse_programs(path: Path, head: bytes) -> None:
    """Raise BadInput for files whose readers run code as they load, or may; `head`: its first 16 bytes."""
    refuse_archives(path, head)
    if is_pickle(head):
        raise BadInput(f"{path} is a pickle, which runs code as it is loaded: {STATE_DICT}.")


def refuse_archives(path: Path, head: bytes) -> None:
    """Raise BadInput for programs of torch and models of Keras; plain weights of torch are none."""
    if is_pickle(head) and head.startswith(b"PK"):
        names = [entry.filename for entry in archive_entries(path) or ()]
        if any("/code/" in name or name.startswith("code/") for name in names):
            raise BadInput(f"{path} is a TorchScript archive, which runs code as it is loaded: {STATE_DICT}.")
        if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
            raise BadInput(f"{path} is an exported program, whose reader runs pickles: {STATE_DICT}.")
    if head.startswith(b"\x89HDF"):
        raise BadInput(f"{path} is of HDF5, as Keras keeps models: a model is a .safetensors or .onnx file.")


def is_pickle(head: bytes) -> bool:
    """Whether a file is one that torch.save writes; `head`: its first 16 bytes."""
    return (head.startswith(b"PK") or head[:1] == b"\x80") and not is_safetensors(head)


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins with the length of a header in JSON, whose bytes may be those of any magic."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER


def archive_entries(path: Path) -> list[zipfile.ZipInfo] | None:
    """The entries of a zip archive, of which nothing is unpacked; None where it is no whole archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error):
        return None


def read_header(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The metadata of a safetensors file and the shapes of its tensors, held against the file's size."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise damaged(path, "its header would be longer than the file")
    if length > LONGEST_HEADER:
        raise damaged(path, f"its header would be longer than {LONGEST_HEADER:,} bytes")
    header = parse_json(file.read(length), path)
    if not isinstance(header, dict):
        raise damaged(path, "its header is no table of tensors")
    metadata = header.pop("__metadata__", {})
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if not texts:
        raise damaged(path, "its metadata is not text")
    return metadata, _shapes(path, header, size - 8 - length)


def _shapes(path: Path, header: dict[str, Any], size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, which must fill the `size` bytes after the header without a gap."""
    places = []
    shapes = {}
    for name, entry in header.items():
        shape, offsets, kind = _entry(path, name, entry)
        if offsets[1] - offsets[0] != prod(shape) * BYTES_OF[kind]:
            raise damaged(path, f"the tensor {shortened(name)} has another size than its shape says")
        places.append(offsets)
        shapes[name] = shape
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise damaged(path, "its tensors overlap, or leave a gap")
        end = stop
    if end != size:
        raise damaged(path, f"it holds {size:,} bytes of tensors where its header says {end:,}")
    return shapes


def _entry(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int], str]:
    found = entry if isinstance(entry, dict) else {}
    shape, offsets, kind = found.get("shape"), found.get("data_offsets"), found.get("dtype")
    known = isinstance(kind, str) and kind in BYTES_OF
    if not (known and are_sides(shape) and _are_counts(offsets) and len(offsets) == 2):
        raise damaged(path, f"its header does not say what the tensor {shortened(name)} is")
    return tuple(shape), (offsets[0], offsets[1]), str(kind)


def are_sides(values: Any) -> TypeGuard[list[int]]:
    """Whether these are the sides of a tensor that can be counted."""
    return _are_counts(values) and len(values) <= MOST_AXES and prod(n or 1 for n in values) <= MOST_NUMBERS


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def parse_json(text: str | bytes, path: Path, what: str = "its header") -> Any:
    """A JSON text of a model file; no key may be there twice, as readers differ in which they take."""
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"{what} is no JSON") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def damaged(path: Path, why: str) -> BadInput:
    """The error for a file that is not what it should be."""
    return BadInput(f"{path} is no model, or is damaged: {why}.")


def check_test(
    path: Path,
    document: ModelDocument,
    inputs: Sequence[int],
    outputs: Sequence[int],
    multiple: Vec = (1, 1, 1),
) -> None:
    """Raise BadInput where a model's test is no patch that it takes, or its answer of another shape."""
    sides = tuple(inputs[1:])
    fits = len(sides) == 3 and inputs[0] == len(document.input.channels)
    fits = fits and all(
        0 < n <= p and n % m == 0 for n, p, m in zip(sides, document.patch, multiple, strict=True)
    )
    if not fits:
        raise BadInput(f"{path}: {TEST_INPUT} is of another shape than the document says.")
    if tuple(outputs) != (len(document.outputs), *sides):
        raise BadInput(f"{path}: {TEST_OUTPUT} is of another shape than the document says.")
