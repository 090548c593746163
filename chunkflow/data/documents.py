"""Files that people write, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from chunkflow.errors import BadInput


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
