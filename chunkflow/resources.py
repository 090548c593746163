"""What a worker takes of the node that it runs on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Resources(BaseModel):
    """What a worker of a task takes; workers that take the same are of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: float = Field(default=1.0, gt=0, description="cores")
    gpus: float = Field(default=0.0, ge=0, description="GPUs; 0.5 lets two workers share one")
    memory: float | None = Field(
        default=None,
        gt=0,
        description="GiB kept free for it on its node; left out, nodes are filled by cores alone",
    )
