"""The record of a job in its ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.registry import short_name

FORMAT = 1
"""Raised with each change of a record that an earlier chunkflow would misread."""


class JobRecord(BaseModel):
    """A job as the last run had it."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    spec: dict[str, Any]
    """All that changes what the job makes, defaults included: a rerun must ask for the same."""
    plan: PlanSpec
    grids: dict[str, Vec]
    """How many cells each stage has along x, y and z."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> JobRecord:
        """The record as this chunkflow or an earlier one wrote it."""
        number = document.get("format", 0)
        if number > FORMAT:
            raise BadInput(
                f"This work folder was written by a later chunkflow (its job has format {number}, "
                f"and this one reads up to {FORMAT}): install that chunkflow here."
            )
        return cls.model_validate(document if number else _from_unnumbered(document))


def _from_unnumbered(document: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a ledger from before formats had a number, which names tasks by where they lay.

    The tasks of its plan need no change: a job takes them by any name that they ever had.
    """
    spec = document["spec"]
    tasks = [
        {name: {**values, "type": short_name(values["type"])} for name, values in task.items()}
        for task in spec["tasks"]
    ]
    return {**document, "spec": {**spec, "tasks": tasks}, "format": 1}
