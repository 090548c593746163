"""Annotation layers of small cells, so that few rows fill several levels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chunkflow.kernels.precomputed import annotations as layers


@pytest.fixture(scope="module")
def small_cells() -> Iterator[None]:
    """A small volume has many cells in several levels, some of them sharded, and many blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "FINEST", 5)
        patch.setattr(layers, "THINNEST", 2)
        patch.setattr(layers, "BLOCK_VOXELS", 1 << 12)
        patch.setattr(layers, "MOST_FILES", 100)
        patch.setattr(layers, "MOST_CELLS", 20)
        patch.setattr("chunkflow.data.tables.BATCH", 7)
        yield
