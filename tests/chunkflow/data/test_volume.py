"""Voxels of a layer by positions and slices, at the mip that was opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.data.describe import layer_at
from chunkflow.jobs.locate import open_layer
from tests.support.jobs import make_job, make_layer, run_job

XYZ = np.arange(16 * 12 * 8, dtype=np.uint16).reshape(16, 12, 8)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An image from x = 4, with a coarser mip."""
    layers = {
        "image": make_layer(tmp_path / "image", XYZ, offset=(4, 0, 0), chunk=(8, 8, 8)),
        "copied": str(tmp_path / "copied"),
    }
    tasks = [
        {"copy": {"source": "image", "target": "copied"}},
        {"downsample": {"layer": "copied", "mips": 1}},
    ]
    assert run_job(make_job(tmp_path / "job", layers, tasks, storage=[8, 8, 8])) == "complete"
    return f"file://{tmp_path}/copied"


def test_voxels_are_named_by_whole_numbers(url: str) -> None:
    volume = cf.Volume(layer_at(url))
    assert np.array_equal(volume[5:9, 3], XYZ[1:5, 3])
    assert np.array_equal(volume[np.int64(5) :, :, np.uint8(7)], XYZ[1:, :, 7])
    assert volume[4, 0, 0] == XYZ[0, 0, 0]
    for wrong in (slice(4.5, 8.2), 5.0, slice(4, 8, 2), "5", slice(2, 6), 20, slice(8, 8)):
        with pytest.raises(IndexError, match=r"is neither a whole number|is no part of 4:20"):
            volume[wrong]


def test_a_volume_that_was_opened_at_a_mip_is_taken_at_it(url: str, tmp_path: Path) -> None:
    coarse = cf.Volume(layer_at(url, 1))
    cf.export(coarse, tmp_path / "coarse.npy")
    assert np.array_equal(np.load(tmp_path / "coarse.npy"), coarse[:].T)
    assert open_layer(coarse) == open_layer(cf.Volume(layer_at(url)), 1) == coarse.info
