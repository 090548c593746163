"""What is said to fit an encoding can be stored in it and read back, and nothing else is let through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.data.encodings import ENCODINGS, LOSSY, refuse_encoding
from chunkflow.data.info import ImageInfo, LabelsInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box

SPACE = {"volume": Box.of_size((8, 8, 8)), "voxel_size": (1.0, 1.0, 1.0)}
PAIRS = [(encoding, dtype) for encoding, dtypes in ENCODINGS.items() for dtype in dtypes]


@pytest.mark.parametrize(("encoding", "dtype"), PAIRS)
def test_what_fits_can_be_read_back(tmp_path: Path, encoding: str, dtype: str) -> None:
    labels = encoding in ("compressed_segmentation", "compresso", "crackle")
    values = np.arange(8**3).reshape(8, 8, 8, order="F") // 64 + 1
    array = np.asfortranarray(values.astype(dtype))
    info = CloudVolume.create_new_info(
        num_channels=1,
        layer_type="segmentation" if labels else "image",
        data_type=dtype,
        encoding=encoding,
        resolution=[1, 1, 1],
        voxel_offset=[0, 0, 0],
        chunk_size=[8, 8, 8],
        volume_size=[8, 8, 8],
    )
    volume = CloudVolume(f"file://{tmp_path}/layer", info=info, compress=False, progress=False)
    volume.commit_info()
    volume[:] = array[..., np.newaxis]
    read = np.asarray(volume[:])[..., 0]
    if encoding in LOSSY:
        assert np.abs(read.astype(float) - array).max() < 5
    else:
        np.testing.assert_array_equal(read, array)
    refuse_encoding("layer", ImageInfo(**SPACE, dtype=dtype, encoding=encoding))


@pytest.mark.parametrize(
    ("made", "dtype", "encoding"),
    [
        (ImageInfo, "uint16", "zip"),
        (ImageInfo, "uint16", "jpeg"),
        (ImageInfo, "float32", "png"),
        (LabelsInfo, "uint64", "png"),
        (LabelsInfo, "uint8", "jpeg"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    made: type[ImageInfo] | type[LabelsInfo], dtype: str, encoding: str
) -> None:
    layer = made(**SPACE, dtype=dtype, encoding=encoding)
    with pytest.raises(BadInput, match=rf"\({dtype}\) cannot be stored as '{encoding}'; it can be as raw"):
        refuse_encoding("layer", layer)
