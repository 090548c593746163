"""The job files of examples/ run as they are; here on smaller volumes, so as to be quick."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter

from chunkflow.volume import LayerInfo, Volume
from tests.serial_run import run_here

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy of the examples, as the jobs write beside themselves."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("data", "__pycache__"))
    return tmp_path / "examples"


def whole_layer(folder: Path) -> np.ndarray:
    info = LayerInfo.of_layer(f"file://{folder}")
    return Volume(info).read(info.bounds).array


def test_a_task_of_ones_own(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(examples / "own_task"))
    run_here(examples / "own_task" / "smooth.yaml", ["tasks.synthesize.size=[70,65,40]"])
    image, smooth = (whole_layer(examples / "data" / "smooth" / name) for name in ("dapi", "smooth"))
    np.testing.assert_array_equal(smooth, median_filter(image, (5, 5, 3)))
