"""Voxel sizes and places as each format says them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from chunkflow.errors import BadInput
from chunkflow.formats.stacks.stack import open_stack
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import LAYOUT, N5_SIZE, ZYX, write_n5, write_nifti, write_ome_zarr


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
    cell = Cell(0, info.bounds, info.bounds, info.bounds, info.voxel_size, LAYOUT, {}, task.setup(LAYOUT))
    return task.map(cell).array


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
