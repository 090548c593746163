"""Uneven light that is laid over a real brain is found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from chunkflow.kernels.images.pooling import pool
from testbed.placed_tiles import DATA
from tests.support.jobs import make_job, make_layer, read_layer, run_job

SLAB = DATA / "brain_tiff" / "signal"
VOXEL = (2000, 2000, 5000)
FACTOR = (16, 16, 8)
"""By which 8.4 million voxels become 5,600 for the fit."""
RMS = 0.2


def planted(kind: str, size: tuple[int, ...]) -> np.ndarray:
    x, y, z = (
        np.linspace(-1, 1, n, dtype=np.float32).reshape(-1, *[1] * (2 - a)) for a, n in enumerate(size)
    )
    field = {
        "slope": 0.8 * x + 0.5 * y - 0.6 * x * y + 0.5 * x * x - 0.4 * y * y + 0.2 * z,
        "bowl": -(x * x) - y * y + 0 * z,
    }[kind]
    field = field - field.mean()
    return np.asarray(field * RMS / field.std(), np.float32)


def found(folder: Path, image: np.ndarray) -> np.ndarray:
    folder.mkdir()
    layers = {"signal": make_layer(folder / "signal", image, voxel_size=VOXEL), "even": str(folder / "even")}
    tasks = [{"correct": {"image": "signal", "corrected": "even"}}]
    assert run_job(make_job(folder, layers, tasks, chunk=[640, 640, 64])) == "complete"
    return read_layer(folder / "work" / "layers" / "even.field")


@pytest.mark.skipif(not SLAB.exists(), reason=f"real data are absent: {SLAB}")
def test_fields_planted_in_a_brain_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found with one, less what is found without: the slab has a field of its own."""
    pytest.importorskip("SimpleITK")
    monkeypatch.setattr("tasks.volumes.light_field.MOST_VOXELS", 20_000)
    image = np.stack([tifffile.imread(file) for file in sorted(SLAB.iterdir())]).T
    tissue = pool(image, (0, 0, 0), FACTOR, "mean") > 100
    own = found(tmp_path / "own", image)
    for kind in ("slope", "bowl"):
        field = planted(kind, image.shape)
        uneven = np.rint(image * np.exp(field)).clip(0, 65535).astype(np.uint16)
        error = found(tmp_path / kind, uneven) - own - pool(field, (0, 0, 0), FACTOR, "mean")
        error = np.abs(error - error[tissue].mean())[tissue]
        rms, most = np.sqrt(np.mean(error**2)), np.percentile(error, 95)
        print(f"{kind}: {rms:.3f} rms, {most:.3f} at 95 %, of {RMS} planted")
        assert rms <= 0.04
        assert most <= 0.08
