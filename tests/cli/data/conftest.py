"""A layer whose space the imported rows have."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.files.imports import OFFSET, SIZE, VOXEL_SIZE
from tests.support.jobs import make_layer


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("like")
    return make_layer(folder / "image", np.zeros(SIZE, np.uint8), voxel_size=VOXEL_SIZE, offset=OFFSET)
