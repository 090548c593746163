"""Files that run code when their own readers load them, by writing a marker file; and lying headers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chunkflow.errors import BadInput


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.marker, "w")


class Scripted(nn.Module):
    """Writes a file when its TorchScript archive is loaded."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = marker
        self.numbers = torch.zeros(1)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return patches

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, str, bool]:
        return self.numbers, self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]) -> None:
        self.numbers, self.marker, self.training = state
        torch.save(state[0], state[1])


def refusal_of(load: Callable[[], object]) -> str:
    """What a file is refused with; nothing where it is good."""
    try:
        load()
    except BadInput as refused:
        return str(refused)
    return ""


def is_sentence(said: str) -> bool:
    """Whether a refusal is on one line, and short."""
    return "\n" not in said and len(said) < 800


def write_hostile(path: Path, kind: str, marker: Path) -> Path:
    """A file of a kind, which writes `marker` when its own reader loads it; .pt2 and HDF5 hold no payload."""
    match kind:
        case "TorchScript":
            torch.jit.script(Scripted(str(marker))).save(str(path))
        case "zip":
            torch.save({"state_dict": {"a": Payload(marker)}}, path)
        case "legacy":
            torch.save({"a": Payload(marker)}, path, _use_new_zipfile_serialization=False)
        case "pickle":
            path.write_bytes(pickle.dumps(Payload(marker)))
        case "exported":
            torch.export.save(torch.export.export(nn.Conv3d(1, 1, 1), (torch.zeros(1, 1, 4, 4, 4),)), path)
        case "HDF5":
            path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    return path


def run_hostile(path: Path, kind: str) -> None:
    """Load a file as its own reader does."""
    if kind == "TorchScript":
        torch.jit.load(str(path))
    elif kind == "pickle":
        pickle.loads(path.read_bytes())
    else:
        with path.open("rb") as file:  # by its name torch may take another reader
            torch.load(file, weights_only=False)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and all that comes after."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write_header(path: Path, header: Any, tensors: bytes) -> Path:
    """A safetensors file of any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)
    return path


def with_document(path: Path, model: Path, changes: Mapping[str, Any]) -> Path:
    """A copy of a model file whose document says something else."""
    header, tensors = header_of(model)
    document = json.loads(header["__metadata__"]["chunkflow"]) | changes
    header["__metadata__"]["chunkflow"] = json.dumps(document)
    return write_header(path, header, tensors)
