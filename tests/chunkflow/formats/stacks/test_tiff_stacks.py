"""TIFF and .npy stacks give the same voxels, and damaged ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.stack import open_stack
from chunkflow.jobs.ingesting import ingest_job as ingestion_of
from chunkflow.task import Layout
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import CZYX, RANDOM, SIZE, ZYX, stacks, whole, write_planes


@pytest.mark.parametrize(
    "kind", ["plain", "packed", "big-endian", "imagej", "tiled", "array", "fortran", "planes"]
)
def test_every_kind_gives_the_same_voxels(tmp_path: Path, kind: str) -> None:
    source = str(stacks(tmp_path)[kind])
    assert np.array_equal(whole(Ingest(source=source, voxel_size=SIZE, layer="image")), ZYX.T)
    found = ingestion_of(source, str(tmp_path / "made"), {"voxel_size": SIZE})
    assert found.extent == "17 x 21 x 11 voxels (x, y, z) of uint16: 0.0085 x 0.0105 x 0.022 mm"


@pytest.mark.parametrize("name", ["c.npy", "z.npy", "imagej.tif", "ome.tif", "packed.tif"])
def test_channels_come_last(tmp_path: Path, name: str) -> None:
    path, axes = tmp_path / name, ""
    zcyx = CZYX.transpose(1, 0, 2, 3)
    if name == "c.npy":
        np.save(path, CZYX)
        axes = "czyx"
    elif name == "z.npy":
        np.save(path, zcyx)
        axes = "zcyx"
    elif name == "imagej.tif":
        tifffile.imwrite(path, zcyx, imagej=True, metadata={"axes": "ZCYX"})
    elif name == "ome.tif":
        tifffile.imwrite(path, CZYX, ome=True, metadata={"axes": "CZYX"})
    else:
        tifffile.imwrite(path, zcyx, compression="zlib", metadata={"axes": "ZCYX"})
    task = Ingest(source=str(path), voxel_size=SIZE, axes=axes, layer="image")
    assert np.array_equal(whole(task), CZYX.transpose(3, 2, 1, 0))
    one = task.model_copy(update={"channel": "1"})
    assert np.array_equal(whole(one), CZYX[1].T)


def test_colour_planes_have_three_channels(tmp_path: Path) -> None:
    rgb = RANDOM.integers(0, 255, (4, 21, 17, 3)).astype(np.uint8)
    folder = tmp_path / "rgb"
    folder.mkdir()
    for number, plane in enumerate(rgb):
        tifffile.imwrite(folder / f"{number}.tif", plane, photometric="rgb")
    task = Ingest(source=str(folder), voxel_size=SIZE, layer="image")
    assert np.array_equal(whole(task), rgb.transpose(2, 1, 0, 3))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_largest_image_of_a_file_is_the_stack(tmp_path: Path, compression: str | None) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for array in (ZYX[0, :9, :8], ZYX, ZYX[:, :9]):
            file.write(array, compression=compression)
    task = Ingest(source=str(tmp_path / "a.tif"), voxel_size=SIZE, layer="image")
    task.stack().check()
    assert np.array_equal(whole(task), ZYX.T)
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for plane in ZYX:
            file.write(plane, compression=compression)
    assert "holds 11 images of sizes [21, 17]" in refusal(tmp_path / "b.tif")


def test_axes_that_are_given_are_those_of_each_plane(tmp_path: Path) -> None:
    task = Ingest(source=str(write_planes(tmp_path / "planes", ZYX)), voxel_size=SIZE, layer="image")
    assert np.array_equal(whole(task.model_copy(update={"axes": "zyx"})), ZYX.T)
    assert np.array_equal(whole(task.model_copy(update={"axes": "zxy"})), ZYX.transpose(1, 2, 0))
    assert "called 'cyx': say what they are by axes" in refusal(tmp_path / "planes", "czyx")


def test_planes_are_taken_in_natural_order(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX, first=0)
    assert sorted(f.name for f in folder.iterdir())[1] == "plane_1.tif"
    assert sorted(f.name for f in folder.iterdir())[2] == "plane_10.tif"
    assert np.array_equal(whole(Ingest(source=str(folder), voxel_size=SIZE, layer="image")), ZYX.T)


def test_planes_may_be_numbered_by_their_distance(tmp_path: Path) -> None:
    folder = tmp_path / "planes"
    folder.mkdir()
    for number, plane in enumerate(ZYX):
        tifffile.imwrite(folder / f"Z{number * 20:05d}_ch00.tif", plane)
    assert open_stack(str(folder)).size == (17, 21, 11)


def refusal(path: Path, axes: str = "") -> str:
    task = Ingest(source=str(path), voxel_size=SIZE, axes=axes, layer="image")
    layout = Layout({}, (8, 8, 8), (8, 8, 8))
    with pytest.raises(BadInput) as refused:
        task.prepare(layout, task.outputs(layout))
    return str(refused.value)


def test_a_missing_plane_is_named(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    (folder / "plane_6.tif").unlink()
    assert "lacks a plane between plane_5.tif and plane_7.tif" in refusal(folder)


def test_a_plane_of_another_shape_or_type_is_named(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    tifffile.imwrite(folder / "plane_8.tif", ZYX[0, :20])
    assert "plane_8.tif is 17 by 20 pixels of uint16" in refusal(folder)
    tifffile.imwrite(folder / "plane_8.tif", ZYX[0].astype(np.uint8))
    assert "plane_8.tif is 17 by 21 pixels of uint8" in refusal(folder)


@pytest.mark.parametrize("keep", [0, 4, 100, 500])
def test_a_plane_that_is_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    damaged = folder / "plane_4.tif"
    damaged.write_bytes(damaged.read_bytes()[:keep])
    assert "plane_4.tif" in refusal(folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.98])
@pytest.mark.parametrize("kind", ["plain", "packed", "big-endian", "imagej", "tiled", "array"])
def test_a_stack_that_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = stacks(tmp_path)[kind]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    try:
        voxels, refused = whole(Ingest(source=str(path), voxel_size=SIZE, layer="image")), ""
    except BadInput as error:
        voxels, refused = None, str(error)
    assert str(path) in refused or share == 0.98
    assert voxels is None or np.array_equal(voxels, ZYX.T)  # what was cut off held none


def test_channels_in_one_folder_are_told_apart(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    tifffile.imwrite(folder / "other_1.tif", ZYX[0])
    assert "a folder of its own" in refusal(folder)
    (folder / "other_1.tif").unlink()
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.replace("plane", f"ch{len(file.name) % 2}"))
    assert "more than one number varies" in refusal(folder)


@pytest.mark.parametrize("dtype", ["int32", "uint64", "complex64", "datetime64[s]"])
def test_types_that_images_do_not_have_are_refused(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "array.npy", np.ones((3, 4, 5), dtype=dtype))
    assert f"holds {dtype}" in refusal(tmp_path / "array.npy")


def test_what_is_no_stack_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "objects.npy").write_bytes(b"")
    np.save(tmp_path / "four.npy", CZYX)
    assert "does not exist" in refusal(tmp_path / "nothing")
    assert "no TIFF planes" in refusal(tmp_path / "empty")
    assert "it must be a TIFF stack" in refusal(tmp_path / "notes.txt")
    assert "damaged or no NumPy array" in refusal(tmp_path / "objects.npy")
    assert "say what they are by axes" in refusal(tmp_path / "four.npy")
    assert "say what they are by axes" in refusal(tmp_path / "four.npy", "zyx")
    assert "so none is called 7" in channel_refusal(tmp_path / "four.npy")


def channel_refusal(path: Path) -> str:
    task = Ingest(source=str(path), voxel_size=SIZE, axes="czyx", channel="7", layer="image")
    with pytest.raises(BadInput) as refused:
        task.outputs(Layout({}, (8, 8, 8), (8, 8, 8)))
    return str(refused.value)


def test_a_plane_that_changes_while_it_is_read_is_damage(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "planes", ZYX)
    stack = open_stack(str(folder))
    stack.check()
    (folder / "plane_3.tif").write_bytes(b"no TIFF any more")
    info = Ingest(source=str(folder), voxel_size=SIZE, layer="i").outputs(Layout({}, (8, 8, 8), (8, 8, 8)))
    with pytest.raises(DamagedInput, match=r"plane_3\.tif"):
        stack.read(info["layer"].bounds)


DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "brain_tiff" / "signal"


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not on this machine")
def test_real_planes() -> None:
    task = Ingest(source=str(DATA), voxel_size="2,2,5um", layer="signal")
    planes = [tifffile.imread(file) for file in sorted(DATA.iterdir())]
    assert np.array_equal(whole(task), np.stack(planes).T)
