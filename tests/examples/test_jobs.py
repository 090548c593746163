"""The job files of examples/ run as they are; here on smaller volumes, so as to be quick."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter

from chunkflow.job import Job
from tests.support import builtin, read_layer, run_job

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, as the jobs write beside themselves."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return tmp_path / "examples"


def run(job_file: Path, settings: Sequence[str] = ()) -> None:
    assert run_job(Job.from_file(job_file, builtin, settings)) == "complete"


def test_a_task_of_ones_own(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(examples / "own_task"))
    run(examples / "own_task" / "smooth.yaml", ["tasks.synthesize.size=[70,65,40]"])
    image, smooth = (read_layer(examples / "data" / "smooth" / name) for name in ("dapi", "smooth"))
    np.testing.assert_array_equal(smooth, median_filter(image, (5, 5, 3)))
