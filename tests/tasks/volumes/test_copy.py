"""Copying layers: what the copy is, and its voxels through the engine."""

from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume
from pydantic import ValidationError

from chunkflow.chunk import Chunk
from chunkflow.data.info import LabelsInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.task import Cell, Layout
from tasks.volumes.copy import Copy
from tests.support.jobs import make_job, make_layer, read_layer, run_job

WHOLE = Box((10, -4, 0), (110, 60, 33))


def layout_of(encoding: str = "raw", connected: bool = False) -> Layout:
    info = LabelsInfo(
        url="file:///nowhere/source",
        volume=WHOLE,
        voxel_size=(16.0, 16.0, 40.0),
        dtype="uint32",
        channels=2,
        mip=1,
        encoding=encoding,
        connected=connected,
    )
    return Layout({"source": (info,)}, (64, 64, 64), (64, 64, 64))


def test_source_is_read_and_target_is_made() -> None:
    assert [(role.name, role.kind, role.output) for role in Copy.roles()] == [
        ("source", "layer", False),
        ("target", "layer", True),
    ]


def test_the_copy_is_what_the_source_is() -> None:
    made = Copy(source="a@1", target="b").outputs(layout_of("compressed_segmentation", True))["target"]
    assert (made.bounds, made.volume, made.voxel_size) == (WHOLE, WHOLE, (16.0, 16.0, 40.0))
    assert (made.kind, made.dtype, made.channels) == ("segmentation", "uint32", 2)
    assert (made.encoding, made.connected) == ("compressed_segmentation", True)


def test_a_part_keeps_its_place_but_not_the_promise_of_whole_objects() -> None:
    made = Copy(source="a", target="b", box="20-50,-4-10,3-33").outputs(layout_of(connected=True))["target"]
    assert made.bounds == made.volume == Box((20, -4, 3), (50, 10, 33))
    assert not made.connected


@pytest.mark.parametrize("encoding", ["jpeg", "jxl", "zfpc", "kempressed"])
def test_what_a_lossy_encoding_left_is_kept_raw(encoding: str) -> None:
    assert Copy(source="a", target="b").outputs(layout_of(encoding))["target"].encoding == "raw"


def test_a_box_beyond_the_source_is_refused() -> None:
    with pytest.raises(BadInput, match="not within"):
        Copy(source="a", target="b", box="0-50,0-10,0-33").outputs(layout_of())


@pytest.mark.parametrize("text", ["0-5", "5-5,0-1,0-1", "a-b,0-1,0-1", "1,2,3"])
def test_a_box_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="write a box as"):
        Copy(source="a", target="b", box=text)


def test_voxels_are_handed_on() -> None:
    layout = layout_of()
    box = Box((10, -4, 0), (13, 0, 2))
    array = np.arange(48, dtype=np.uint32).reshape(3, 4, 2, 2)
    cell = Cell(0, box, box, WHOLE, (16.0, 16.0, 40.0), layout, {})
    chunk = Chunk(array, box, cell.voxel_size)
    assert Copy(source="a", target="b").map(cell, source=chunk) is chunk


@pytest.mark.parametrize(
    ("kind", "dtype", "channels", "encoding", "wanted"),
    [
        ("image", "uint8", 1, "raw", "raw"),
        ("image", "uint16", 3, "raw", None),
        ("image", "float32", 2, "raw", None),
        ("segmentation", "uint32", 1, "raw", "compressed_segmentation"),
        ("segmentation", "uint64", 1, "compressed_segmentation", None),
    ],
)
def test_voxels_arrive_whatever_they_are(
    tmp_path: Path, kind: str, dtype: str, channels: int, encoding: str, wanted: str | None
) -> None:
    array = np.random.default_rng(2).integers(0, 200, (70, 50, 40, channels)).astype(dtype)
    # An ending .gz on the source's files, as other programs leave it, is no hindrance.
    CloudVolume.from_numpy(
        array,
        f"file://{tmp_path / 'source'}",
        resolution=(16, 16, 40),
        voxel_offset=(10, 20, 5),
        chunk_size=(32, 32, 32),
        layer_type=kind,
        encoding=encoding,
        progress=False,
    )
    job = make_job(
        tmp_path,
        {"source": str(tmp_path / "source"), "target": {"url": str(tmp_path / "target"), "encoding": wanted}},
        [{"copy": {"source": "source", "target": "target", "box": "12-77,20-61,6-40"}}],
        chunk=[50, 27, 30],
        storage=[25, 27, 15],
    )
    assert run_job(job) == "complete"
    made = CloudVolume(f"file://{tmp_path / 'target'}", progress=False)
    assert (made.layer_type, made.dtype, made.encoding) == (kind, dtype, wanted or encoding)
    assert (tuple(made.voxel_offset), tuple(made.chunk_size)) == ((12, 20, 6), (25, 27, 15))
    np.testing.assert_array_equal(np.asarray(made[:]), array[2:67, :41, 1:35])


def test_a_coarser_mip_becomes_a_layer_of_its_own(tmp_path: Path) -> None:
    array = np.random.default_rng(3).integers(0, 200, (40, 40, 20), dtype=np.uint8)
    source = make_layer(tmp_path / "source", array)
    volume = CloudVolume(f"file://{source}", progress=False)
    volume.add_scale((2, 2, 1))
    volume.commit_info()
    half = array[::2, ::2]
    CloudVolume(f"file://{source}", mip=1, progress=False)[:] = half[..., np.newaxis]
    layers = {"source": source, "target": str(tmp_path / "target")}
    job = make_job(
        tmp_path, layers, [{"copy": {"source": "source@1", "target": "target"}}], chunk=[64, 64, 64]
    )
    assert run_job(job) == "complete"
    made = CloudVolume(f"file://{tmp_path / 'target'}", progress=False)
    assert tuple(made.resolution) == (2000, 2000, 2000)
    assert len(made.info["scales"]) == 1
    np.testing.assert_array_equal(read_layer(tmp_path / "target"), half)
