"""The public API: what is given arrives as it is, and a work folder tells the truth of its run."""

from __future__ import annotations

from pathlib import Path

import chunkflow as cf


def test_the_size_of_voxels_is_taken_as_it_is_given(brain: Path, tmp_path: Path) -> None:
    size = (1234.567, 0.25, 12345.678)
    work = cf.ingest(brain / "stack.npy", tmp_path / "stack", size, axes="xyz", serial=True)
    assert work.volume("layer").info.voxel_size == size
