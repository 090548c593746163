"""Model files: weights and one document in a file that holds data alone.

1. What a file is, is told by its first bytes; files whose readers run code, or may, are refused.
2. Of a `.safetensors` file the header alone is read for the document: no more bytes than it says it has.
3. Names, types, shapes and places of all tensors are held against the size of the file before it is opened by
   anything else.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from chunkflow.errors import BadInput
from chunkflow.networks.document import ONNX, ModelDocument

KEY = "chunkflow"
"""Where the document is kept: in the header's `__metadata__`, or the properties of an ONNX graph."""
TEST_INPUT, TEST_OUTPUT = "test.input", "test.output"
LONGEST_HEADER = 100_000_000
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


def read_model(path: str | Path) -> ModelDocument:
    """The document of a model file; BadInput says what is wrong with it. Nothing of the file is run.

    >>> read_model("membranes.safetensors").outputs[0].name
    'membrane'
    """
    return open_model(path).document


def open_model(path: str | Path) -> ModelFile:
    """What the header of a model file says, checked."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
            refuse_programs(path, head)
            if path.suffix == ".onnx":
                from chunkflow.networks.onnx_graph import open_graph

                return open_graph(path)
            metadata, shapes = read_header(path, file)
    except FileNotFoundError as error:
        raise BadInput(f"There is no model {path}.") from error
    except OSError as error:
        raise BadInput(f"The model {path} cannot be read: {error.strerror}.") from error
    if KEY not in metadata:
        raise BadInput(
            f"{path} holds weights alone: make a model of them with convert_model (model convert), which "
            "says what they take and give."
        )
    document = ModelDocument.parse(parse_json(metadata[KEY], path), path)
    if document.architecture == ONNX:
        raise BadInput(f"{path} is no ONNX graph, but its document says so.")
    return ModelFile(path, document, shapes)


def known_model(path: str | Path) -> ModelFile:
    """What the header of a model file says; read once as long as the file stays what it is."""
    try:
        stat = Path(path).stat()
    except OSError:
        return open_model(path)  # says what is wrong
    return _known(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _known(path: str, modified: int, size: int) -> ModelFile:
    return open_model(path)


def refuse_programs(path: Path, head: bytes) -> None:
    """Raise BadInput for files whose readers run code as they load, or may."""
    if head[8:9] == b"{":  # after a length, whose bytes may be any: of the other kinds none goes on so
        return
    if head.startswith(b"PK"):
        names = _names_in(path)
        if any("/code/" in name or name.startswith("code/") for name in names):
            raise BadInput(f"{path} is a TorchScript archive, which runs code as it is loaded: {STATE_DICT}.")
        if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
            raise BadInput(f"{path} is an exported program, whose reader runs pickles: {STATE_DICT}.")
    if head.startswith(b"PK") or head[:1] == b"\x80":
        raise BadInput(f"{path} is a pickle, which runs code as it is loaded: {STATE_DICT}.")
    if head.startswith(b"\x89HDF"):
        raise BadInput(f"{path} is of HDF5, as Keras keeps models: a model is a .safetensors or .onnx file.")


def _names_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def read_header(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """The metadata of a safetensors file and the shapes of its tensors, held against the file's size."""
    size = path.stat().st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise _damaged(path, "its header would be longer than the file")
    header = parse_json(file.read(length), path)
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no table of tensors")
    metadata = header.pop("__metadata__", {})
    texts = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if not texts:
        raise _damaged(path, "its metadata is not text")
    return metadata, _shapes(path, header, size - 8 - length)


def _shapes(path: Path, header: dict[str, Any], size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, which must fill the `size` bytes after the header without a gap."""
    places = []
    shapes = {}
    for name, entry in header.items():
        shape, offsets, kind = _entry(path, name, entry)
        if offsets[1] - offsets[0] != prod(shape) * BYTES_OF[kind]:
            raise _damaged(path, f"the tensor {name} has another size than its shape says")
        places.append(offsets)
        shapes[name] = shape
    end = 0
    for start, stop in sorted(places):
        if start != end:
            raise _damaged(path, "its tensors overlap, or leave a gap")
        end = stop
    if end != size:
        raise _damaged(path, f"it holds {size:,} bytes of tensors where its header says {end:,}")
    return shapes


def _entry(path: Path, name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int], str]:
    found = entry if isinstance(entry, dict) else {}
    shape, offsets, kind = found.get("shape"), found.get("data_offsets"), found.get("dtype")
    if not (_are_counts(shape) and _are_counts(offsets) and len(offsets) == 2 and kind in BYTES_OF):
        raise _damaged(path, f"its header does not say what the tensor {name} is")
    return tuple(shape), (offsets[0], offsets[1]), str(kind)


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def parse_json(text: str | bytes, path: Path) -> Any:
    """A JSON text of a model file."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its header is no JSON") from error


def _damaged(path: Path, why: str) -> BadInput:
    return BadInput(f"{path} is no model, or is damaged: {why}.")
