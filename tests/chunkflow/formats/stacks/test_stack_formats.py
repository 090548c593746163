"""Every format but TIFF and .npy gives the voxels, the size, the place and the channels that it holds."""

from __future__ import annotations

import gzip
import json
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
from chunkflow.task import Layout
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import (
    write_h5,
    write_imaris,
    write_n5,
    write_nifti,
    write_ome_zarr,
    write_zarr,
)
from tests.support.jobs import make_job, read_layer, run_job
from tests.support.same import Way, same_everywhere
from tests.tasks.volumes.test_ingest import CZYX, ZYX, whole

LAYOUT = Layout({}, (8, 16, 8), (4, 8, 4))
N5_SIZE = {"pixelResolution": {"unit": "um", "dimensions": [0.5, 0.5, 2]}}


def written(folder: Path, kind: str) -> str:
    """The path of the one volume in a format."""
    path = folder / kind
    if kind in ("ome4.zarr", "ome5.zarr"):
        version = "0.4" if kind == "ome4.zarr" else "0.5"
        return str(write_ome_zarr(path, ZYX, version=version))
    if kind == "n5":
        return str(write_n5(folder / "a.n5" / "setup0" / "s0", ZYX.T, N5_SIZE).parent)
    if kind == "one.h5":
        return str(write_h5(path, raw=ZYX, other=ZYX[0]))
    if kind == "two.h5":
        return f"{write_h5(path, raw=ZYX, label=ZYX + 1)}:raw"
    if kind == "a.ims":
        return str(write_imaris(path, ZYX[None], ["dapi"]))
    return str(write_nifti(path, ZYX.T))


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


@pytest.mark.parametrize("unit", ["micron", "mm", "meter"])
def test_the_units_of_nifti(tmp_path: Path, unit: str) -> None:
    factor = {"micron": 1, "mm": 1e-3, "meter": 1e-6}[unit]
    write_nifti(tmp_path / "a.nii", ZYX.T, unit, np.diag([0.227 * factor, 0.227 * factor, 1.3 * factor, 1]))
    assert open_stack(str(tmp_path / "a.nii")).facts.voxel_size == (227, 227, 1300)


def test_nifti_without_a_unit_is_asked_for_its_size(tmp_path: Path) -> None:
    task = Ingest(source=str(write_nifti(tmp_path / "a.nii", ZYX.T, "unknown")), layer="x")
    with pytest.raises(BadInput, match="does not say how large"):
        task.outputs(LAYOUT)


def test_nifti_lies_where_its_affine_says_unless_it_is_turned(tmp_path: Path) -> None:
    affine = np.diag([0.5, 0.5, 2, 1])
    affine[:3, 3] = (-3, 10, 8)
    path = write_nifti(tmp_path / "a.nii", ZYX.T, "mm", affine)
    task = Ingest(source=str(path), layer="x")
    info = task.outputs(LAYOUT)["layer"]
    assert info.bounds.start == (-6, 20, 4)
    assert np.array_equal(whole_at(task), ZYX.T)
    affine[0, 0] = -0.5
    write_nifti(path, ZYX.T, "mm", affine)
    assert task.outputs(LAYOUT)["layer"].bounds.start == (0, 0, 0)


def whole_at(task: Ingest) -> np.ndarray:
    """The voxels of a volume that does not begin at 0."""
    from chunkflow.task import Cell

    info = task.outputs(LAYOUT)["layer"]
    cell = Cell(0, info.bounds, info.bounds, info.bounds, info.voxel_size, LAYOUT, {}, task.setup())
    return task.map(cell).array


def test_nifti_that_is_scaled_becomes_numbers(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ZYX.T.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "a.nii")
    stored = nibabel.load(tmp_path / "a.nii")
    found = whole(Ingest(source=str(tmp_path / "a.nii"), layer="x"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.asarray(stored.dataobj).astype(np.float32))


def test_ome_zarr_lies_where_it_says(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX, place=(20.0, 5.2, -4.0))
    task = Ingest(source=str(path), layer="x")
    assert task.outputs(LAYOUT)["layer"].bounds.start == (-8, 10, 10)
    assert np.array_equal(whole_at(task), ZYX.T)
    assert Ingest(source=f"{path}/0", layer="x").outputs(LAYOUT)["layer"].bounds.start == (-8, 10, 10)


def test_ome_zarr_may_say_more_of_all_levels_at_once(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX, place=(10.0, 5.0, -4.0), scale=(1, 0.5, 0.5))
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [2, 2, 2]},
        {"type": "translation", "translation": [2, 0, 0]},
    ]
    (path / ".zattrs").write_text(json.dumps(attributes))
    facts = open_stack(str(path)).facts
    assert (facts.voxel_size, facts.offset) == ((1000, 1000, 2000), (-8, 10, 11))


@pytest.mark.parametrize(
    ("scale", "unit", "said"),
    [
        ((0.0, 1.0, 1.0), "micrometer", "which cannot be"),
        ((float("inf"), 1.0, 1.0), "micrometer", "which cannot be"),
        ((1.0, -1.0, 1.0), "micrometer", "which cannot be"),
        ((1.0, 1.0, 1.0), "parsec", "does not say how large"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    tmp_path: Path, scale: tuple[float, float, float], unit: str, said: str
) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX, scale=scale, unit=unit)
    task = Ingest(source=str(path), layer="x")
    with pytest.raises(BadInput, match=said):
        task.outputs(LAYOUT)


@pytest.mark.parametrize(
    "attributes",
    [
        N5_SIZE,
        {"resolution": [500, 500, 2000], "units": ["nm", "nm", "nm"]},
        {"transform": {"axes": ["z", "y", "x"], "scale": [2, 0.5, 0.5], "units": ["um", "um", "um"]}},
    ],
)
def test_n5_says_its_size_in_several_ways(tmp_path: Path, attributes: dict[str, object]) -> None:
    path = write_n5(tmp_path / "a.n5" / "s0", ZYX.T, attributes)
    assert open_stack(str(path)).facts.voxel_size == (500, 500, 2000)
    write_n5(tmp_path / "b.n5" / "s0", ZYX.T, {})
    write_n5(tmp_path / "b.n5" / "s1", ZYX.T, {"downsamplingFactors": [2, 2, 1]})
    (tmp_path / "b.n5" / "attributes.json").write_text(json.dumps(N5_SIZE))
    assert open_stack(str(tmp_path / "b.n5")).facts.voxel_size == (500, 500, 2000)
    assert open_stack(str(tmp_path / "b.n5" / "s1")).facts.voxel_size == (1000, 1000, 2000)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_tiff_says_its_size_and_place(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    if kind == "imagej":
        metadata = {"axes": "ZYX", "spacing": 2, "unit": "um"}
        tifffile.imwrite(path, ZYX, imagej=True, resolution=(2, 2), metadata=metadata)
    else:
        size = {f"PhysicalSize{a}": s for a, s in zip("XYZ", (500, 500, 2000), strict=True)}
        units = {f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}
        tifffile.imwrite(path, ZYX, ome=True, metadata={"axes": "ZYX", **size, **units})
    assert open_stack(str(path)).facts.voxel_size == (500, 500, 2000)


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
    assert cell_size(block, (64, 64, 64), (32, 32, 32), (1000, 1000, 500), 512 * 1024 * 32) == cell


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


NUCLEI = Path(__file__).resolve().parents[3] / "shared" / "data" / "nuclei_instances_1135.h5"


@pytest.mark.skipif(not NUCLEI.exists(), reason="the real data are not on this machine")
def test_real_nuclei() -> None:
    with h5py.File(NUCLEI) as file:
        labels = file["label"][:]
    task = Ingest(source=f"{NUCLEI}:label", kind="labels", layer="nuclei")
    assert np.array_equal(whole(task), labels.T)
    assert task.outputs(LAYOUT)["layer"].voxel_size == pytest.approx((126.786, 126.786, 283.718), abs=1e-3)
