"""Every format but TIFF and .npy gives the voxels and the channels that it holds."""

from __future__ import annotations

from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
import tifffile

from chunkflow.data.describe import layer_at
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.slabs import cell_size
from chunkflow.formats.stacks.stack import open_stack
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import (
    CZYX,
    LAYOUT,
    ZYX,
    whole,
    write_h5,
    write_imaris,
    write_nifti,
    write_ome_zarr,
    write_zarr,
    written,
)
from tests.support.jobs import make_job, read_layer, run_job
from tests.support.same import Way, same_everywhere

KINDS = ["ome4.zarr", "ome5.zarr", "n5", "one.h5", "two.h5", "a.ims", "a.nii", "a.nii.gz"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_tells_its_voxels_and_their_size(tmp_path: Path, kind: str) -> None:
    task = Ingest(source=written(tmp_path, kind), layer="x")
    assert np.array_equal(whole(task), ZYX.T)
    assert task.outputs(LAYOUT)["layer"].voxel_size == (500, 500, 2000)
    given = task.model_copy(update={"voxel_size": "1,2,3um"})
    assert given.outputs(LAYOUT)["layer"].voxel_size == (1000, 2000, 3000)


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr_is_z_y_x_and_its_size_is_asked_for(tmp_path: Path, version: int) -> None:
    task = Ingest(source=str(write_zarr(tmp_path / "a.zarr", ZYX, version)), layer="x")
    with pytest.raises(BadInput, match="does not say how large"):
        task.outputs(LAYOUT)
    assert np.array_equal(whole(task.model_copy(update={"voxel_size": "1,1,1um"})), ZYX.T)


@pytest.mark.parametrize(("name", "shape"), [("raw", ZYX.shape), ("", ZYX.shape)])
def test_arrays_of_an_npz(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    np.savez_compressed(tmp_path / "a.npz", raw=ZYX, centres=np.ones((5, 3)))
    source = str(tmp_path / "a.npz") + (f":{name}" if name else "")
    assert np.array_equal(whole(Ingest(source=source, voxel_size="1,1,1um", layer="x")), ZYX.T)


@pytest.mark.parametrize("kind", ["a.ims", "a.zarr", "a.h5", "a.nii"])
def test_channels_and_their_names(tmp_path: Path, kind: str) -> None:
    names, axes = ("DAPI", "c-Fos"), ""
    if kind == "a.ims":
        source = write_imaris(tmp_path / kind, CZYX, names)
    elif kind == "a.zarr":
        source = write_ome_zarr(tmp_path / kind, CZYX, "czyx", channels=names)
    elif kind == "a.h5":
        source, names, axes = write_h5(tmp_path / kind, raw=CZYX), (), "czyx"
    else:
        source, names = write_nifti(tmp_path / kind, CZYX.T[:, :, :, None]), ()
    assert open_stack(str(source), axes).facts.names == names
    task = Ingest(source=str(source), axes=axes, voxel_size="1,1,1um", layer="x")
    assert np.array_equal(whole(task), CZYX.T)
    for channel in ("1", *names[1:]):
        assert np.array_equal(whole(task.model_copy(update={"channel": channel})), CZYX[1].T)
    missing = task.model_copy(update={"channel": "gfp"})
    with pytest.raises(BadInput, match="so none is called gfp"):
        missing.outputs(LAYOUT)
    labels = task.model_copy(update={"kind": "labels"})
    with pytest.raises(BadInput, match="labels have one: say which by channel"):
        labels.outputs(LAYOUT)


def test_a_number_counts_from_0_where_channels_are_called_by_numbers(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", CZYX, "czyx", channels=("1", "2"))
    for channel, number in (("0", 0), ("1", 1), ("2", 1)):
        assert np.array_equal(whole(Ingest(source=str(path), channel=channel, layer="x")), CZYX[number].T)


@pytest.mark.parametrize("kind", ["a.ims", "a.zarr", "a.nii.gz", "a.tif", "a.npy"])
def test_one_point_of_time_is_chosen(tmp_path: Path, kind: str) -> None:
    times, axes, path = np.stack([ZYX, ZYX + 1, ZYX + 2]), "", tmp_path / kind
    if kind == "a.ims":
        write_imaris(path, ZYX[None], ["dapi"], points=3)
    elif kind == "a.zarr":
        write_ome_zarr(path, times, "tzyx")
    elif kind == "a.nii.gz":
        write_nifti(path, times.T)
    elif kind == "a.tif":
        tifffile.imwrite(path, times, ome=True, metadata={"axes": "TZYX"}, compression="zlib")
    else:
        np.save(path, times)
        axes = "tzyx"
    task = Ingest(source=str(path), axes=axes, voxel_size="1,1,1um", layer="x")
    with pytest.raises(BadInput, match="holds 3 points of time: say which one by time"):
        task.outputs(LAYOUT)
    assert np.array_equal(whole(task.model_copy(update={"time": 1})), (ZYX + 1).T)
    late = task.model_copy(update={"time": 3})
    with pytest.raises(BadInput, match="so none has the number 3"):
        late.outputs(LAYOUT)


def test_a_point_of_time_of_length_one_goes_without_saying(tmp_path: Path) -> None:
    write_ome_zarr(tmp_path / "a.zarr", ZYX[None, None], "tczyx")
    assert np.array_equal(whole(Ingest(source=str(tmp_path / "a.zarr"), layer="x")), ZYX.T)


def test_nifti_that_is_scaled_becomes_numbers(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ZYX.T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii")
    found = whole(Ingest(source=str(tmp_path / "a.nii"), layer="x"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(stored.dataobj).astype(np.float32))


LABELS = (ZYX % 9).astype(np.uint8)


@pytest.mark.parametrize(
    ("dtype", "made"),
    [
        ("uint8", "uint32"),
        ("uint16", "uint32"),
        ("uint32", "uint32"),
        ("int32", "uint32"),
        ("uint64", "uint64"),
    ],
)
def test_labels_are_whole_numbers(tmp_path: Path, dtype: str, made: str) -> None:
    np.save(tmp_path / "a.npy", LABELS.astype(dtype))
    task = Ingest(source=str(tmp_path / "a.npy"), kind="labels", voxel_size="1,1,1um", layer="x")
    info = task.outputs(LAYOUT)["layer"]
    assert (info.kind, info.dtype) == ("segmentation", made)
    assert np.array_equal(whole(task), LABELS.T)


def test_labels_below_0_and_numbers_with_a_fraction_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", LABELS.astype(np.int16) - 1)
    np.save(tmp_path / "b.npy", LABELS.astype(np.float32))
    task = Ingest(source=str(tmp_path / "a.npy"), kind="labels", voxel_size="1,1,1um", layer="x")
    with pytest.raises(DamagedInput, match=r"holds -1 in .*: labels are at least 0"):
        whole(task)
    with pytest.raises(BadInput, match="of which no labels can be made"):
        Ingest(source=str(tmp_path / "b.npy"), kind="labels", voxel_size="1,1,1um", layer="x").outputs(LAYOUT)


@pytest.mark.parametrize("dtype", ["bool", "int16", "float16", "float64"])
def test_other_numbers_become_an_image_that_can_hold_them(tmp_path: Path, dtype: str) -> None:
    array = (ZYX % 1000).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    task = Ingest(source=str(tmp_path / "a.npy"), voxel_size="1,1,1um", layer="x")
    assert np.array_equal(whole(task), array.T.astype(np.float64))


@pytest.mark.parametrize(
    ("block", "cell"),
    [
        ((1, 1, 1), (64, 64, 64)),
        ((64, 64, 64), (64, 64, 64)),
        ((100, 100, 100), (128, 128, 128)),
        ((1000, 1000, 1), (1024, 512, 32)),  # a whole plane: as many rows as fit
        ((1000, 20, 1), (1024, 32, 32)),
        ((1, 1, 300), (32, 32, 320)),
    ],
)
def test_cells_are_cut_as_the_source_is_stored(
    block: tuple[int, int, int], cell: tuple[int, int, int]
) -> None:
    assert cell_size(block, (64, 64, 64), (32, 32, 32), (1000, 1000, 500), voxel_bytes=4) == cell


@pytest.mark.parametrize("kind", ["ome5.zarr", "two.h5", "a.nii.gz"])
def test_the_layer_is_the_same_however_the_job_is_cut(tmp_path: Path, kind: str) -> None:
    source = written(tmp_path, kind)

    def job_of(folder: Path, chunk: tuple[int, int, int]) -> object:
        task = {"ingest": {"source": source, "layer": "image"}}
        return make_job(
            folder, {"image": str(folder / "image")}, [task], storage=[4, 4, 4], chunk=list(chunk)
        )

    same_everywhere(tmp_path, job_of, (20, 24, 12), [Way((4, 4, 4), shuffled=True), Way((12, 8, 4))])


def test_a_job_makes_a_layer_where_the_source_lies(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX, place=(20.0, 5.0, -4.0))
    layers = {"image": str(tmp_path / "image")}
    task = {"ingest": {"source": str(path), "layer": "image"}}
    assert run_job(make_job(tmp_path, layers, [task], storage=[8, 8, 4], chunk=[8, 8, 8])) == "complete"
    info = layer_at(f"file://{tmp_path}/image")
    assert (info.bounds.start, info.voxel_size) == ((-8, 10, 10), (500, 500, 2000))
    assert np.array_equal(read_layer(tmp_path / "image"), ZYX.T)


NUCLEI = Path(__file__).resolve().parents[5] / "shared" / "data" / "nuclei_instances_1135.h5"


@pytest.mark.skipif(not NUCLEI.exists(), reason="the real data are not on this machine")
def test_real_nuclei() -> None:
    with h5py.File(NUCLEI) as file:
        labels = file["label"][:]
    task = Ingest(source=f"{NUCLEI}:label", kind="labels", layer="nuclei")
    assert np.array_equal(whole(task), labels.T)
    assert task.outputs(LAYOUT)["layer"].voxel_size == pytest.approx((126.786, 126.786, 283.718), abs=1e-3)
