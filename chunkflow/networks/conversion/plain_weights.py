"""Plain weights: arrays by name, as torch.save keeps a state dict, or a .safetensors file.

A state dict is read by torch's reader of weights alone, which runs no code; what only another reader could
read is refused. Nothing is unpacked that would be larger than its file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from chunkflow.errors import BadInput
from chunkflow.networks.model_file import (
    STATE_DICT,
    TEST_INPUT,
    TEST_OUTPUT,
    archive_entries,
    damaged,
    is_pickle,
    read_header,
    refuse_archives,
    unreadable,
)
from chunkflow.networks.weights import Tensors
from chunkflow.words import shortened

AxisOrder = Literal["xyz", "zyx"]
NESTED = ("state_dict", "model_state_dict", "model")
"""Under which a checkpoint keeps its weights, beside what else it keeps."""
PARALLEL = "module."
"""What torch's DataParallel puts before all names."""


def read_weights(path: Path, axes: AxisOrder) -> Tensors:
    """The weights in a file; those of convolutions with their axes in the order x, y, z."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
            refuse_archives(path, head)
            if not is_pickle(head):
                read_header(path, file)
    except OSError as error:
        raise unreadable(path, error) from error
    found = _checked(path, _state_dict(path) if is_pickle(head) else _tensors(path))
    if found and all(name.startswith(PARALLEL) for name in found):
        found = {name.removeprefix(PARALLEL): weights for name, weights in found.items()}
    if axes == "xyz":
        return found
    return {name: w.permute(0, 1, 4, 3, 2) if w.ndim == 5 else w for name, w in found.items()}


def _tensors(path: Path) -> Mapping[str, Any]:
    try:
        found = load_file(path)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise damaged(path, shortened(str(error))) from error
    return {name: tensor for name, tensor in found.items() if name not in (TEST_INPUT, TEST_OUTPUT)}


def _state_dict(path: Path) -> Mapping[str, Any]:
    _refuse_packed(path)
    load: Callable[..., Any] = torch.load
    try:
        with path.open("rb") as file:  # by its name torch may take another reader
            found = load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: the bytes are those of a stranger
        raise BadInput(
            f"{path} is damaged, or holds more than weights, which would run code as it is loaded: "
            f"{STATE_DICT}."
        ) from error
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping):
        raise BadInput(f"{path} holds a {type(found).__name__}, and no weights by name: {STATE_DICT}.")
    return found


def _refuse_packed(path: Path) -> None:
    """Raise BadInput for an archive whose entries are compressed, which may be of any size once unpacked."""
    if not zipfile.is_zipfile(path):
        return
    entries = archive_entries(path)
    if entries is None:
        raise damaged(path, "it is no whole archive")
    size = sum(entry.file_size for entry in entries)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or size > path.stat().st_size:
        raise damaged(path, "its entries are compressed, which torch.save does not do")


def _checked(path: Path, found: Mapping[str, Any]) -> Tensors:
    """What was found, if all of it are arrays by name."""
    for name, value in found.items():
        dense = isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized
        if not (isinstance(name, str) and dense) or value.is_complex() or value.is_meta:
            raise BadInput(
                f"{path} holds {shortened(str(name))}, which is no dense array of real numbers, beside its "
                f"weights: {STATE_DICT}."
            )
    return {name: value.detach() for name, value in found.items()}
