"""The command line as a user meets it, in this process: words in; exit code, output and errors out."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from cli.main import main
from tests.support.commands import OWN_TASKS, Command, Said, job_document
from tests.support.jobs import make_layer


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
