"""The example of a user's own task does what it says, however the volume is cut."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import median_filter

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo
from chunkflow.geometry import Box, Grid, Vec
from chunkflow.task import Cell, Layout, Task

OWN_TASK = Path(__file__).parent.parent.parent / "examples" / "own_task"
EXTENT = Box((3, 0, 5), (34, 27, 25))


@pytest.fixture
def smooth(monkeypatch: pytest.MonkeyPatch) -> Task:
    monkeypatch.syspath_prepend(str(OWN_TASK))
    task: Task = importlib.import_module("smooth").MedianFilter(image="dapi", smooth="smooth", radius=2.0)
    return task


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("chunk", [(31, 27, 20), (10, 9, 7)])
def test_the_median_is_that_of_the_whole_volume(smooth: Task, chunk: Vec, channels: int) -> None:
    info = ImageInfo(volume=EXTENT, voxel_size=(1000.0, 1000.0, 2000.0), dtype="uint16")
    layout = Layout({"image": (info,)}, chunk, (64, 64, 64))
    shape = (*EXTENT.size, channels) if channels > 1 else EXTENT.size
    voxels = np.random.default_rng(1).integers(0, 65_535, shape, dtype=np.uint16)
    made = np.zeros_like(voxels)
    grid = Grid.chunks(EXTENT, chunk)
    for index in range(len(grid)):
        box = grid.box(index)
        (window,) = smooth.reads("image", box, layout)
        read = window.clip(EXTENT)
        image = Chunk(voxels[read.slices(EXTENT.start)], read, info.voxel_size)
        result = smooth.map(Cell(index, box, EXTENT, EXTENT, info.voxel_size, layout, {}), image=image)
        assert isinstance(result, Chunk)
        made[box.slices(EXTENT.start)] = result.crop(box).array
    expected = median_filter(voxels, (5, 5, 3, 1)[: voxels.ndim])
    np.testing.assert_array_equal(made, expected)
