"""Files that people write, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from chunkflow.errors import BadInput
from chunkflow.words import shortened


def read_document(path: Path, what: str, keys: str, missing: str = "") -> dict[str, Any]:
    """What a YAML file says that is `what` and holds `keys`; `missing`: what to do where there is none."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"There is no {what} {path}{missing and f'; {missing}'}.") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}," if error.problem_mark else ""
        raise BadInput(f"{path}{line} is not YAML: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise BadInput(f"{path} is not a readable YAML file: {error}") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} is not a {what}: it must hold {keys}.")
    return document


def first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    """One sentence for the first thing that is wrong."""
    faults = error.errors()
    fault = faults[0]
    if fault["type"] == "missing":  # where it is misspelt, that a key is unknown says more
        beside = (one for one in faults if one["loc"][:-1] == fault["loc"][:-1])
        fault = next((one for one in beside if one["type"] == "extra_forbidden"), fault)
    where = shortened(".".join(str(part) for part in fault["loc"]))
    if fault["type"] == "extra_forbidden":
        keys = (field.serialization_alias or name for name, field in model.model_fields.items())
        known = f"; known are {', '.join(keys)}" if len(fault["loc"]) == 1 else ""
        return f"the key {where!r} is unknown{known}."
    if fault["type"] == "missing":
        return f"the key {where!r} is missing."
    said = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {said}, not {shortened(repr(fault['input']))}." if fault["loc"] else f"{said}."
