"""Commands of chunkflow as tests say them, what they answer, and the job of the folder `lab`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MAIN = "from cli.main import main; main()"


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


def job_document() -> dict[str, object]:
    return {
        "job": "rat",
        "work": "work",
        "chunk": [32, 32, 32],
        "storage": [16, 16, 16],
        "layers": {"dapi": "dapi", "cells": "cells", "nuclei": "nuclei", "copied": "copied"},
        "tasks": [
            {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 10.0, "threshold": 200.0}},
            {"measure": {"labels": "nuclei", "images": ["dapi"]}},
        ],
    }


OWN_TASKS = '''
"""Tasks of a user."""

from pathlib import Path

from chunkflow.task import Image, Out, Task


class Keep(Task):
    """Copy an image as it is."""

    image: Image
    kept: Image = Out()

    def outputs(self, layout):
        return {"kept": layout.info("image")}

    def map(self, cell, image):
        return image


class Stumble(Keep):
    """Copy an image, but stumble over one chunk until a file says that all is well."""

    over: int = 1

    def map(self, cell, image):
        if self.over in (cell.index, -1) and not Path("well").exists():
            raise ArithmeticError("stumbled over it")
        return image


def not_a_task():
    pass
'''


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def is_one_sentence(text: str) -> bool:
    return text.count("\n") == 1 and "Traceback" not in text and text[0] != " " and len(text) < 400


def stumbling(lab: Path, every: bool = False) -> None:
    """A job that fails on its second chunk, or on all."""
    task = {"image": "dapi", "kept": "copied", "over": -1 if every else 1}
    document = {**job_document(), "tasks": [{"own:Stumble": task}]}
    (lab / "job.yaml").write_text(yaml.safe_dump(document))
