"""A layer that is exported and brought in again is the same layer: voxels, size of voxels, and place."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
import zarr

from chunkflow.data.describe import layer_at
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.export import volume_files as layer_files
from chunkflow.formats.export.volumes import LAYER_ENDINGS, ending_of, export_layer
from chunkflow.geometry import Box
from chunkflow.task import Layout
from tasks.volumes.ingest import Ingest
from tests.support.jobs import make_job, make_layer, read_layer, run_job

RANDOM = np.random.default_rng(8)
SIZE, OFFSET = (227, 227, 1300.5), (12, -7, 30)
XYZ = RANDOM.integers(0, 60000, (37, 29, 23)).astype(np.uint16)
KINDS = ["stack.tif", "planes", "a.ome.zarr", "a.nii", "a.nii.gz"]


@pytest.fixture
def layer(tmp_path: Path) -> str:
    return make_layer(tmp_path / "dapi", XYZ, voxel_size=SIZE, offset=OFFSET, chunk=(8, 16, 8))


def brought_in(folder: Path, source: Path, **fields: object) -> tuple[LayerInfo, np.ndarray]:
    """The layer that the ingest task makes of a file."""
    url = folder / f"{source.name}.layer"
    task = {"ingest": {"source": str(source), "layer": "x", **fields}}
    assert run_job(make_job(folder, {"x": str(url)}, [task], storage=[16, 16, 16])) == "complete"
    return layer_at(f"file://{url}"), read_layer(url)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_comes_back_as_it_was(
    tmp_path: Path, kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.formats.export.volumes.PIECE_BYTES", 5000)
    array = XYZ.astype(dtype)
    layer = make_layer(tmp_path / "dapi", array, voxel_size=SIZE, offset=OFFSET, chunk=(8, 16, 8))
    assert repr(export_layer(layer, tmp_path / kind)) == (
        f"37 x 29 x 23 voxels (x, y, z) of {dtype}, of 0.227 x 0.227 x 1.3005 micrometres, from 12, -7, 30 "
        f"are in {tmp_path}/{kind}."
    )
    info, found = brought_in(tmp_path, tmp_path / kind)
    assert np.array_equal(found, array)
    assert (info.voxel_size, info.bounds.start, info.dtype) == (SIZE, OFFSET, dtype)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("kind", [*KINDS, "a.npy"])
def test_channels_come_back(tmp_path: Path, kind: str) -> None:
    array = RANDOM.integers(0, 60000, (20, 18, 9, 3)).astype(np.uint16)
    layer = make_layer(tmp_path / "rgb", array, voxel_size=SIZE, offset=OFFSET, chunk=(8, 16, 8))
    export_layer(layer, tmp_path / kind)
    fields = {"axes": "czyx", "voxel_size": "1,1,1um"} if kind == "a.npy" else {}
    info, found = brought_in(tmp_path, tmp_path / kind, **fields)
    assert info.channels == 3
    assert np.array_equal(found, array)


@pytest.mark.parametrize("size", [(3, 12, 10), (12, 4, 10), (12, 10, 3)])
@pytest.mark.parametrize("kind", ["stack.tif", "planes", "a.nii", "a.ome.zarr"])
def test_three_or_four_voxels_along_an_axis_are_no_colours(
    tmp_path: Path, kind: str, size: tuple[int, int, int]
) -> None:
    labels = RANDOM.integers(0, 70000, size).astype(np.uint32)
    layer = make_layer(tmp_path / "seg", labels, "segmentation", SIZE, OFFSET, (8, 8, 8))
    export_layer(layer, tmp_path / kind)
    info, found = brought_in(tmp_path, tmp_path / kind, kind="labels")
    assert np.array_equal(found, labels)
    assert (info.voxel_size, info.bounds.start) == (SIZE, OFFSET)


def test_other_programs_see_size_and_place(tmp_path: Path, layer: str) -> None:
    for kind in ("a.tif", "a.nii.gz", "a.zarr", "a.npy"):
        export_layer(layer, tmp_path / kind)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["spacing"], file.imagej_metadata["unit"]) == (1.3005, "um")
        assert file.pages[0].resolution == pytest.approx((1 / 0.227, 1 / 0.227))
        assert np.array_equal(file.asarray(), XYZ.T)
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert np.allclose(image.get_sform(), image.get_qform())
    assert image.header.get_zooms() == pytest.approx((0.000227, 0.000227, 0.0013005))
    assert image.affine[:3, 3] == pytest.approx([12 * 0.000227, -7 * 0.000227, 30 * 0.0013005])
    assert np.array_equal(np.asarray(image.dataobj), XYZ)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    scale, place = group.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1.3005, 0.227, 0.227]
    assert place["translation"] == pytest.approx([30 * 1.3005, -7 * 0.227, 12 * 0.227])
    assert np.array_equal(group["0"][...], XYZ.T)
    assert np.array_equal(np.load(tmp_path / "a.npy"), XYZ.T)


def test_a_stack_too_large_for_imagej_is_bigtiff_of_ome(
    tmp_path: Path, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_files, "CLASSIC_TIFF", 1000)
    export_layer(layer, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert (file.is_bigtiff, file.is_ome) == (True, True)
    info, found = brought_in(tmp_path, tmp_path / "a.tif")
    assert np.array_equal(found, XYZ)
    assert (info.voxel_size, info.bounds.start) == (SIZE, OFFSET)


@pytest.fixture
def pyramid(tmp_path: Path, layer: str) -> str:
    """The layer with two mips more."""
    tasks = [{"copy": {"source": "dapi", "target": "out"}}, {"downsample": {"layer": "out", "mips": 2}}]
    layers = {"dapi": layer, "out": str(tmp_path / "out")}
    assert run_job(make_job(tmp_path / "job", layers, tasks, storage=[8, 8, 8])) == "complete"
    return layers["out"]


def test_a_box_and_a_mip(tmp_path: Path, pyramid: str) -> None:
    export_layer(pyramid, tmp_path / "a.npy", box=Box.parse("16-33,-4-11,32-48"))
    assert np.array_equal(np.load(tmp_path / "a.npy"), XYZ[4:21, 3:18, 2:18].T)
    coarse = layer_at(f"file://{pyramid}", 1)
    whole = read_layer(pyramid, 1)
    export_layer(pyramid, tmp_path / "b.nii", mip=1)
    info, found = brought_in(tmp_path, tmp_path / "b.nii")
    assert np.array_equal(found, whole)
    assert (info.voxel_size, info.bounds) == (coarse.voxel_size, coarse.bounds)
    export_layer(pyramid, tmp_path / "c.npy", box=Box.parse("16-34,-4-10,32-48"), mip=1)
    at = np.subtract((8, -2, 32), coarse.bounds.start)
    part = whole[at[0] : at[0] + 9, at[1] : at[1] + 7]
    assert np.array_equal(np.load(tmp_path / "c.npy").shape[::-1][:2], part.shape[:2])
    assert np.array_equal(np.load(tmp_path / "c.npy")[0], part[:, :, at[2]].T)


def test_all_mips_go_into_an_ome_zarr_and_each_lies_where_it_did(tmp_path: Path, pyramid: str) -> None:
    made = export_layer(pyramid, tmp_path / "a.zarr")
    assert made.mips == 3
    assert "in 3 mips" in repr(made)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    places = [d["coordinateTransformations"][1] for d in group.attrs["multiscales"][0]["datasets"]]
    # the centre of a voxel of mip 1 lies between the centres of two of mip 0
    assert places[0]["translation"][2] == pytest.approx(12 * 0.227)
    assert places[1]["translation"][2] == pytest.approx(12.5 * 0.227)
    assert places[2]["translation"][2] == pytest.approx(13.5 * 0.227)
    for mip in range(3):
        there = layer_at(f"file://{pyramid}", mip)
        task = Ingest(source=str(tmp_path / "a.zarr" / str(mip)), layer="x")
        made = task.outputs(Layout({}, (8, 8, 8), (8, 8, 8)))["layer"]
        assert (made.bounds, made.voxel_size) == (there.bounds, there.voxel_size)
        assert np.array_equal(group[str(mip)][...], read_layer(pyramid, mip).T)


@pytest.mark.parametrize(
    ("values", "dtype", "renumbered"),
    [
        ([0, 3, 70], "uint16", False),
        ([0, 3, 2**32 - 1], "uint32", False),
        ([0, 5, 2**40, 2**63], "uint16", True),
        ([0], "uint16", False),
    ],
)
@pytest.mark.parametrize("kind", ["a.tif", "planes", "a.nii.gz", "a.zarr"])
def test_labels_come_back(tmp_path: Path, kind: str, values: list[int], dtype: str, renumbered: bool) -> None:
    labels = np.array(values, np.uint64)[RANDOM.integers(0, len(values), XYZ.shape)]
    layer = make_layer(tmp_path / "seg", labels, "segmentation", SIZE, OFFSET, (16, 16, 16))
    made = export_layer(layer, tmp_path / kind)
    said = repr(made)
    info, found = brought_in(tmp_path, tmp_path / kind, kind="labels")
    assert (info.voxel_size, info.bounds.start, info.kind) == (SIZE, OFFSET, "segmentation")
    table = tmp_path / f"{kind}.ids.csv"
    assert made.ids == (table if renumbered and kind != "a.zarr" else None)
    assert table.exists() == (made.ids is not None) == ("numbered anew" in said)
    if kind != "a.zarr":
        assert f" of {dtype}," in said
    old = {0: 0}
    if table.exists():
        with table.open() as file:
            old |= {int(row["new"]): int(row["id"]) for row in csv.DictReader(file)}
        found = np.vectorize(old.__getitem__, otypes=[np.uint64])(found)
    assert np.array_equal(found, labels)


def test_what_fails_leaves_nothing(tmp_path: Path, layer: str) -> None:
    chunk = sorted((tmp_path / "dapi").glob("227*/*"))[-1]
    chunk.unlink()
    before = sorted(tmp_path.iterdir())
    for kind in (*KINDS, "a.npy"):
        with pytest.raises(DamagedInput, match="lacks a storage chunk"):
            export_layer(layer, tmp_path / kind)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_replaced_only_when_asked(tmp_path: Path, layer: str, kind: str) -> None:
    export_layer(layer, tmp_path / kind, box=Box.parse("12-20,-7-10,30-38"))
    with pytest.raises(BadInput, match="exists already"):
        export_layer(layer, tmp_path / kind)
    export_layer(layer, tmp_path / kind, overwrite=True)
    assert np.array_equal(brought_in(tmp_path, tmp_path / kind)[1], XYZ)


def test_what_was_there_stays_where_the_new_cannot_take_its_place(
    tmp_path: Path, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_layer(layer, tmp_path / "planes", box=Box.parse("12-20,-7-10,30-38"))
    before = sorted(path.read_bytes() for path in (tmp_path / "planes").iterdir())
    rename = os.replace

    def refused(old: Path, new: Path) -> None:
        if old.suffix == ".tmp":
            raise PermissionError(13, "Permission denied")
        rename(old, new)

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(BadInput, match="cannot be written: Permission denied"):
        export_layer(layer, tmp_path / "planes", overwrite=True)
    assert sorted(path.read_bytes() for path in (tmp_path / "planes").iterdir()) == before
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path, layer: str) -> None:
    for name in ("thesis", "notes.zarr", "folder.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.docx").write_text("years of work")
        with pytest.raises(BadInput, match=r"name another place|name a file"):
            export_layer(layer, tmp_path / name, overwrite=True)
        assert (tmp_path / name / "thesis.docx").exists()


def test_silly_input_is_refused_in_a_sentence(tmp_path: Path, layer: str) -> None:
    wrong: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path / "a.jpg", {}, r"must end in \.tif"),
        (tmp_path / "a.tif", {"mip": 1}, "has the mips 0 to 0, and no mip 1"),
        (tmp_path / "a.tif", {"box": Box.parse("500-600,0-1,0-1")}, "lies outside the layer"),
        (tmp_path / "nowhere" / "a.tif", {}, "there is no folder"),
    ]
    for to, more, said in wrong:
        with pytest.raises(BadInput, match=said):
            export_layer(layer, to, **more)
    with pytest.raises(BadInput, match="no precomputed layer"):
        export_layer(str(tmp_path), tmp_path / "a.tif")


def test_a_disk_that_is_too_small_is_told(
    tmp_path: Path, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(BadInput, match="GB left"):
        export_layer(layer, tmp_path / "a.tif")


def test_endings() -> None:
    endings = {ending_of(Path("a" + ending.replace("/", "planes"))) for ending in LAYER_ENDINGS}
    assert endings == set(LAYER_ENDINGS)
