"""Stacks that refer to other files: refused by name before a voxel is read, whatever the reference is."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from chunkflow.errors import BadInput
from chunkflow.formats.points.binary import open_hdf5
from tasks.volumes.ingest import Ingest
from tests.support.files.refused import refusal
from tests.support.files.stack_files import (
    SIZE,
    ZYX,
    whole,
    write_h5,
    write_imaris,
    write_n5,
    write_ome_zarr,
    write_planes,
    write_zarr,
)


def external_storage(file: h5py.File, name: str, other: Path) -> None:
    """Any file at all has such data: they are no HDF5."""
    other.write_bytes(ZYX.tobytes())
    file.create_dataset(name, ZYX.shape, ZYX.dtype, external=[(str(other), 0, ZYX.nbytes)])


def external_link(file: h5py.File, name: str, other: Path) -> None:
    file[name] = h5py.ExternalLink(str(write_h5(other, raw=ZYX)), "/raw")


def external_group(file: h5py.File, name: str, other: Path) -> None:
    """The link is to a group, within another one."""
    file["deep/within"] = h5py.ExternalLink(str(write_h5(other, raw=ZYX)), "/")
    file[name] = h5py.SoftLink("/deep/within/raw")


def virtual_dataset(file: h5py.File, name: str, other: Path) -> None:
    layout = h5py.VirtualLayout(ZYX.shape, ZYX.dtype)
    layout[...] = h5py.VirtualSource(str(write_h5(other, raw=ZYX)), "raw", ZYX.shape)
    file.create_virtual_dataset(name, layout)


REFERENCES = (external_storage, external_link, external_group, virtual_dataset)
Refer = Callable[[h5py.File, str, Path], None]


@pytest.mark.parametrize("refer", REFERENCES)
@pytest.mark.parametrize("named", ["", ":raw", ":good"])
def test_hdf5_that_refers_to_another_file_is_refused(tmp_path: Path, refer: Refer, named: str) -> None:
    path, other = write_h5(tmp_path / "a.h5", good=ZYX), tmp_path / "private"
    with h5py.File(path, "a") as file:
        refer(file, "raw", other)
    said = refusal(tmp_path, f"{path}{named}")
    assert re.match(f"{path}: (raw|deep/within) .*{other}, and nothing outside of the file is read: ", said)


@pytest.mark.parametrize("refer", REFERENCES)
def test_imaris_that_refers_to_another_file_is_refused(tmp_path: Path, refer: Refer) -> None:
    path, other = write_imaris(tmp_path / "a.ims", ZYX[None], ["dapi"]), tmp_path / "private"
    name = "DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"
    with h5py.File(path, "a") as file:
        del file[name]
        refer(file, name, other)
    said = refusal(tmp_path, path)
    assert str(other) in said
    assert "nothing outside of the file is read" in said


def test_points_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "a.h5", write_h5(tmp_path / "private.h5", x=np.arange(5))
    with h5py.File(path, "w") as file:
        file["x"] = h5py.ExternalLink(str(other), "/x")
    with pytest.raises(BadInput, match=f"a.h5: x is a link to {other}, and nothing outside"):
        open_hdf5(path)


def test_links_within_an_hdf5_file_are_followed(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", raw=ZYX)
    with h5py.File(path, "a") as file:
        file["group/soft"] = h5py.SoftLink("/raw")
        file["group/loop"] = file["/"]
        file["same"] = file["raw"]
        file["gone"] = h5py.SoftLink("/nowhere")
        layout = h5py.VirtualLayout(ZYX.shape, ZYX.dtype)
        layout[...] = h5py.VirtualSource(file["raw"])
        file.create_virtual_dataset("virtual", layout)
    for name in ("raw", "virtual"):
        assert (whole(Ingest(source=f"{path}:{name}", voxel_size=SIZE, layer="x")) == ZYX.T).all()


def moved_out(tmp_path: Path, within: Path) -> Path:
    """Moved to another folder, with a link in its place."""
    (tmp_path / "private").mkdir(exist_ok=True)
    place = tmp_path / "private" / within.name
    shutil.move(within, place)
    within.symlink_to(os.path.relpath(place, within.parent))
    return place


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "n5", "ome"])
@pytest.mark.parametrize("part", ["chunk", "folder"])
def test_a_zarr_or_n5_with_a_link_out_of_it_is_refused(tmp_path: Path, kind: str, part: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "n5":
        write_n5(path, ZYX.T, {})
    elif kind == "ome":
        write_ome_zarr(path, ZYX, version="0.5")
    else:
        write_zarr(path, ZYX, int(kind[-1]))
    files = [file for file in path.rglob("[0-9]*") if file.is_file()]
    folders = [folder for folder in path.rglob("[0-9]*") if folder.is_dir()]
    within = sorted(folders if part == "folder" and folders else files)[-1]
    place = moved_out(tmp_path, within)
    said = refusal(tmp_path, path)
    assert f"{within} leads out of {path}, to {place}, and nothing outside of what is named is read" in said


@pytest.mark.parametrize("key", ["../private", "0/../../private", "{folder}/private", "0/link", "a\0b"])
def test_a_level_that_lies_outside_of_its_group_is_refused(tmp_path: Path, key: str) -> None:
    write_zarr(tmp_path / "private", ZYX, 2)
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX)
    (path / "0" / "link").symlink_to("../../private")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["path"] = key.format(folder=tmp_path)
    (path / ".zattrs").write_text(json.dumps(attributes))
    said = refusal(tmp_path, path)
    assert f"leads out of {path}, to {tmp_path / 'private'}" in said or "is no path" in said


def test_a_group_whose_only_array_is_a_link_out_of_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_zarr(tmp_path / "private", ZYX, 2)
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / "raw").symlink_to(tmp_path / "private")
    assert f"{path}/raw leads out of {path}" in refusal(tmp_path, path)


def test_links_within_a_zarr_and_a_link_to_all_of_it_are_followed(tmp_path: Path) -> None:
    """As git-annex keeps them: all files in one folder of the dataset, with links in their places."""
    path = write_ome_zarr(tmp_path / "a.zarr", ZYX)
    (path / ".git").mkdir()
    for number, file in enumerate(sorted(file for file in (path / "0").rglob("*") if file.is_file())):
        shutil.move(file, path / ".git" / str(number))
        file.symlink_to(os.path.relpath(path / ".git" / str(number), file.parent))
    (path / "0" / "again").symlink_to("..")
    (tmp_path / "linked.zarr").symlink_to("a.zarr")
    task = Ingest(source=str(tmp_path / "linked.zarr"), layer="x")
    assert (whole(task) == ZYX.T).all()
    assert "name that place itself or a folder that holds both" in refusal(tmp_path, path / "0")


def test_planes_may_be_links_to_whole_tiffs_and_to_nothing_else(tmp_path: Path) -> None:
    """So people pick the planes of a channel; a link to any other file is refused by its name."""
    planes = write_planes(tmp_path / "all", ZYX)
    picked = tmp_path / "picked"
    picked.mkdir()
    for file in planes.iterdir():
        (picked / file.name).symlink_to(file)
    assert (whole(Ingest(source=str(picked), voxel_size=SIZE, layer="x")) == ZYX.T).all()
    (picked / "plane_3.tif").unlink()
    (picked / "plane_3.tif").symlink_to("/etc/passwd")
    assert "plane_3.tif is damaged or no TIFF" in refusal(tmp_path, picked)
