"""The description of a plan from which another process builds the same: plain JSON, no code."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from chunkflow.data.info import LayerInfo
from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Box, Vec


def _parsed(value: Any) -> Any:
    return Box.parse(value) if isinstance(value, str) else value


class ExternalLayer(BaseModel):
    """A layer at one mip, or a table, that the job reads and does not make."""

    model_config = ConfigDict(frozen=True)

    name: str
    mip: int
    info: LayerInfo


class PlanSpec(BaseModel):
    """A plan without what follows from the rest."""

    model_config = ConfigDict(frozen=True)

    job: Job
    box: Annotated[Box, BeforeValidator(_parsed), PlainSerializer(str)] | None
    """The part of the volume that is run; None for all of it."""
    chunk: Vec
    cells: dict[str, Vec] = {}
    """The size of the cells of steps that do not go by `chunk`, by name."""
    layers: list[ExternalLayer]
