"""The state of a training: all that its next step depends on, in one file that is written whole.

It holds weights, their running means, the moments of AdamW, the best weights so far, and what was seen of the
validation. A training that was killed goes on from it, and ends with the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from chunkflow.data.atomic import write_whole
from chunkflow.errors import BadInput

Tensors = dict[str, torch.Tensor]
KEY = "chunkflow.training"


@dataclass(frozen=True)
class Check:
    """One look at the validation."""

    step: int
    rate: float
    loss: float
    """The mean over the steps since the last look."""
    score: float
    """F1 of the validation, in the mean over classes."""
    thresholds: tuple[float, ...] = ()
    """The threshold of each output for which it was found; none of classes."""


@dataclass
class TrainingState:
    """What the next step depends on."""

    step: int
    network: Tensors
    mean: Tensors
    best: Tensors
    moments: dict[str, Tensors]
    """AdamW's, by weight."""
    checks: list[Check] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last look."""

    def write(self, path: Path, fingerprint: str) -> None:
        """Write the file whole."""
        parts = {"network": self.network, "mean": self.mean, "best": self.best, **self.moments}
        tensors = {
            f"{part}/{name}": tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for part, found in parts.items()
            for name, tensor in found.items()
        }
        said = {
            "fingerprint": fingerprint,
            "step": self.step,
            "checks": [vars(check) for check in self.checks],
            "losses": self.losses,
        }
        write_whole(path, save(tensors, metadata={KEY: json.dumps(said)}))


def read_state(path: Path, fingerprint: str) -> TrainingState | None:
    """The state in a file; None where there is none. One of another recipe or other data is refused."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            said: dict[str, Any] = json.loads(file.metadata()[KEY])
        tensors = load_file(path)
        parts: dict[str, Tensors] = {}
        for name, tensor in tensors.items():
            part, _, weight = name.partition("/")
            parts.setdefault(part, {})[weight] = tensor
        checks = [Check(**one | {"thresholds": tuple(one["thresholds"])}) for one in said["checks"]]
        state = TrainingState(
            said["step"],
            parts.pop("network"),
            parts.pop("mean"),
            parts.pop("best"),
            parts,
            checks,
            said["losses"],
        )
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"The state of a training {path} cannot be read ({error}): remove it to start anew."
        ) from error
    if said["fingerprint"] != fingerprint:
        raise BadInput(
            f"{path} is the state of a training by another recipe, or of other data: remove it to start "
            "anew, or write to another model."
        )
    return state
