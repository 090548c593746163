"""Damaged or ambiguous stacks are refused with what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from chunkflow.errors import BadInput, DamagedInput
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import (
    LAYOUT,
    ZYX,
    whole,
    write_h5,
    write_n5,
    write_ome_zarr,
    write_zarr,
    written,
)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("datasets", [{"path": "0", "coordinateTransformations": None}]),
        ("datasets", [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": ["a", 1, 1]}]}]),
        ("axes", 3),
    ],
)
def test_metadata_that_are_not_as_they_must_be_are_refused(tmp_path: Path, key: str, value: object) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX)
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0][key] = value
    (path / ".zattrs").write_text(json.dumps(attributes))
    assert "are not told as they must be" in refusal(path)
    size = {"pixelResolution": {"dimensions": ["a", 1, 1], "unit": "nm"}}
    assert "are not told" in refusal(write_n5(tmp_path / "a.n5" / "s0", ZYX.T, size))


def refusal(source: Path | str, **fields: object) -> str:
    task = Ingest(source=str(source), voxel_size="1,1,1um", layer="x", **fields)
    with pytest.raises(BadInput) as refused:
        task.prepare(LAYOUT, task.outputs(LAYOUT))
    return str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.97])
@pytest.mark.parametrize("kind", ["two.h5", "a.ims", "a.nii", "a.nii.gz", "a.npz"])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = tmp_path / kind
    if kind == "a.npz":
        np.savez_compressed(path, raw=ZYX)
    else:
        written(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert str(path) in refusal(path)


def test_bytes_that_changed_in_a_stream_are_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", raw=ZYX)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[3000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "damaged or cut short" in refusal(tmp_path / "a.npz")
    with gzip.open(tmp_path / "b.nii.gz", "wb") as file:
        file.write(b"no header at all" * 100)
    assert "damaged or no NIfTI" in refusal(tmp_path / "b.nii.gz")


def test_one_array_of_several_is_asked_for(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", raw=ZYX, label=ZYX)
    assert f"say which one, as in {path}:label" in refusal(path)
    assert "has no array 'gfp'; it has label [11, 21, 17], raw" in refusal(f"{path}:gfp")
    np.savez(tmp_path / "a.npz", centres=np.ones((4, 3)))
    assert "say which one" in refusal(tmp_path / "a.npz")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    assert "holds none" in refusal(tmp_path / "empty.h5")


def test_a_name_where_there_are_none_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ZYX)
    assert "holds no arrays with names, so none is called raw" in refusal(f"{tmp_path}/a.npy:raw")
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX)
    assert "none is called 0" in refusal(f"{path}:0")


def test_a_group_that_is_no_image_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.n5" / "setup0").mkdir(parents=True)
    assert "is no array but holds setup0" in refusal(tmp_path / "a.n5")
    write_zarr(tmp_path / "two.zarr" / "a", ZYX, 2)
    write_zarr(tmp_path / "two.zarr" / "b", ZYX, 2)
    (tmp_path / "two.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    assert f"say which one, as in {tmp_path}/two.zarr/a" in refusal(tmp_path / "two.zarr")
    (tmp_path / "two.zarr" / "a" / ".zarray").write_text("{")
    assert ".zarray" in refusal(tmp_path / "two.zarr" / "a")


def test_a_chunk_of_zarr_that_is_absent_holds_the_fill_value_and_one_that_is_damaged_is_told(
    tmp_path: Path,
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX)
    chunks = sorted(
        file for file in (path / "0").rglob("*") if file.is_file() and not file.name.startswith(".")
    )
    chunks[-1].unlink()
    found = whole(Ingest(source=str(path), layer="x"))
    assert (found != ZYX.T).any()
    assert set(np.unique(found[found != ZYX.T])) == {0}
    chunks[1].write_bytes(b"damaged")
    with pytest.raises(DamagedInput, match=r"a\.zarr.*cannot be read"):
        whole(Ingest(source=str(path), layer="x"))
    chunks[0].write_bytes(b"damaged")
    assert "cannot be read" in refusal(path)


def test_an_array_without_voxels_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 0, 4), np.uint8))
    assert "holds no voxel" in refusal(tmp_path / "a.npy")
