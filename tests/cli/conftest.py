"""The command line as a user meets it, in this process: words in; exit code, output and errors out."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml

from cli.main import main
from tests.support.jobs import make_layer


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `chunkflow WORDS` on a terminal of 100 columns that nobody sits at."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["chunkflow", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, labels, a task of one's own and a job, entered."""
    rng = np.random.default_rng(3)
    blobs = np.zeros((48, 40, 36), np.uint16)
    for x, y, z in rng.integers(6, 30, (12, 3)):
        blobs[x - 2 : x + 3, y - 2 : y + 3, z - 1 : z + 2] = 3000
    blobs += rng.integers(90, 110, blobs.shape).astype(np.uint16)
    make_layer(tmp_path / "dapi", blobs, voxel_size=(2000, 2000, 2000), chunk=(16, 16, 16))
    labels = (blobs > 1000).astype(np.uint64)
    make_layer(tmp_path / "cells", labels, "segmentation", voxel_size=(2000, 2000, 2000), chunk=(16, 16, 16))
    (tmp_path / "own.py").write_text(OWN_TASKS)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job_document()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
