"""The record of a job in its ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError, field_validator

from chunkflow.data.documents import first_fault
from chunkflow.data.info import LayerInfo
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.registry import short_name

FORMAT = 1
"""Raised with each change of a record that an earlier chunkflow would misread."""


class JobRecord(BaseModel):
    """A job as the last run had it."""

    model_config = ConfigDict(frozen=True)

    format: StrictInt = FORMAT
    spec: dict[str, Any]
    """All that changes what the job makes, defaults included: a rerun must ask for the same."""
    plan: PlanSpec
    grids: dict[str, Vec]
    """How many cells each stage has along x, y and z."""
    files: dict[str, dict[str, str]] = {}
    """The fingerprints of the files that tasks read, by task and parameter; none in older ledgers."""
    layers: list[LayerInfo] = []
    """The images and labels that it makes: once a source has changed, they may be planned otherwise."""

    @field_validator("spec")
    @classmethod
    def _with_short_names(cls, spec: dict[str, Any]) -> dict[str, Any]:
        """The tasks by the names that they have now: an earlier chunkflow wrote where they lay."""
        try:
            tasks = [
                {name: {**values, "type": short_name(values["type"])} for name, values in task.items()}
                for task in spec["tasks"]
            ]
        except (AttributeError, KeyError, TypeError):
            raise ValueError("must hold the tasks of a job, each with its type") from None
        return {**spec, "tasks": tasks}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> JobRecord:
        """The record as this chunkflow or an earlier one wrote it; one from before formats had a number is
        read as it is."""
        number = document.get("format", FORMAT)
        if isinstance(number, int) and number > FORMAT:
            raise BadInput(
                f"This work folder was written by a later chunkflow (its job has format {number}, "
                f"and this one reads up to {FORMAT}): install that chunkflow here."
            )
        try:
            return cls.model_validate(document)
        except (ValidationError, BadInput) as error:
            fault = first_fault(error, cls) if isinstance(error, ValidationError) else str(error)
            raise BadInput(
                f"The record of the job in this work folder cannot be read: {fault} Install the chunkflow "
                "that wrote it, or take another work folder."
            ) from error


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Differences between two jobs, a line a parameter: `tasks.segment.diameter: 9 -> 10`."""
    before, after = _flat(old), _flat(new)
    names = dict.fromkeys([*before, *after])
    said = {name: (before.get(name, "(not set)"), after.get(name, "(not set)")) for name in names}
    return [f"{name}: {a} -> {b}" for name, (a, b) in said.items() if a != b]


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Every value under its dotted name; a list of one-key mappings, as tasks are, by those keys."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and len(item) == 1 for item in value):
        named: dict[str, Any] = {}
        for item in value:
            ((key, inner),) = item.items()
            again = sum(known.partition("#")[0] == key for known in named)
            named[f"{key}#{again + 1}" if again else key] = inner
        value = named
    if isinstance(value, Mapping) and value:
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat.update(_flat(inner, f"{name}.{key}" if name else str(key)))
        return flat
    return {name: json.dumps(value)}
