"""What the models that come along find, as their own documents say; nothing of torch is imported."""

from __future__ import annotations

from dataclasses import dataclass

from chunkflow.networks.document import ModelDocument
from chunkflow.networks.loading import read_model
from chunkflow.networks.models.named import model_names


@dataclass(frozen=True)
class ModelSummary:
    """A model that comes along, in one line."""

    name: str
    document: ModelDocument

    def __str__(self) -> str:
        found = ", ".join(f"{output.name} ({output.kind})" for output in self.document.outputs)
        size = " x ".join(f"{length / 1000:g}" for length in self.document.input.voxel_size)
        scores = (
            f"{score} on its validation {value:.3f}" for score, value in self.document.made.scores.items()
        )
        return ", ".join(
            [f"{self.name}: {found}", self.document.architecture, f"voxels of {size} um", *scores]
        )


def list_models() -> list[ModelSummary]:
    """All models that come along, by name."""
    return [ModelSummary(name, read_model(name)) for name in model_names()]
