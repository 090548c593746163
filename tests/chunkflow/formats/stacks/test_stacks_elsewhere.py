"""Stacks that refer to other files: refused by name before a voxel is read, whatever the reference is."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from chunkflow.errors import BadInput
from chunkflow.formats.points.binary import open_hdf5
from chunkflow.jobs.ingesting import ingest_job
from tasks.volumes.ingest import Ingest
from tests.support.files.stack_files import (
    MICROMETRES,
    ZYX,
    Array,
    whole,
    write_h5,
    write_imaris,
    write_n5,
    write_ome_zarr,
    write_planes,
    write_zarr,
)

SIZE = "0.5,0.5,2um"


def refusal(tmp_path: Path, source: Path | str) -> str:
    """What is said to who brings the stack in, and nothing is written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput) as refused:
        ingest_job(str(source), str(tmp_path / "to" / "layer"), {"voxel_size": SIZE})
    assert sorted(tmp_path.rglob("*")) == before
    return str(refused.value)


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


def ome_set(folder: Path, other: str, elsewhere: Path) -> Path:
    """Two files of one OME-TIFF: the second half of the planes is in the other."""
    half = 5
    sizes = "".join(f' Size{a}="{n}"' for a, n in zip("XYZCT", (17, 21, 2 * half, 1, 1), strict=True))
    physical = "".join(
        f' PhysicalSize{a}="{n}" PhysicalSize{a}Unit="um"' for a, n in zip("XYZ", MICROMETRES, strict=True)
    )
    data = "".join(
        f'<TiffData FirstZ="{half * k}" IFD="0" PlaneCount="{half}"><UUID FileName="{name}">'
        f"urn:uuid:{k}</UUID></TiffData>"
        for k, name in enumerate(("a.ome.tif", other))
    )
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"{sizes}{physical}>'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    elsewhere.parent.mkdir(exist_ok=True)
    tifffile.imwrite(elsewhere, ZYX[half : 2 * half], description=text, metadata=None, compression="zlib")
    path = folder / "a.ome.tif"
    tifffile.imwrite(path, ZYX[:half], description=text, metadata=None, compression="zlib")
    return path


@pytest.mark.parametrize(
    "name", ["../private/b.ome.tif", "{folder}/private/b.ome.tif", "&#46;./private/b.ome.tif"]
)
def test_an_ome_tiff_whose_set_lies_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "given").mkdir()
    other = tmp_path / "private" / "b.ome.tif"
    path = ome_set(tmp_path / "given", name.format(folder=tmp_path), other)
    assert f"leads out of {path.parent}, to {other}" in refusal(tmp_path, path)


def test_an_ome_tiff_whose_set_lies_beside_it_is_read_also_by_a_link(tmp_path: Path) -> None:
    path = ome_set(tmp_path, "b.ome.tif", tmp_path / "b.ome.tif")
    (tmp_path / "links").mkdir()
    for name in ("a.ome.tif", "b.ome.tif"):
        (tmp_path / "links" / name).symlink_to(tmp_path / name)
    for source in (path, tmp_path / "links" / "a.ome.tif"):
        assert (whole(Ingest(source=str(source), voxel_size=SIZE, layer="x")) == ZYX[:10].T).all()


def test_an_ome_tiff_may_bear_a_name_that_it_once_had(tmp_path: Path) -> None:
    """It is the file itself by its UUID, so the name is not followed."""
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, ZYX, ome=True, metadata={"axes": "ZYX"}, compression="zlib")
    text = tifffile.tiffcomment(path)
    assert isinstance(text, str)
    uuid = re.findall(r'UUID="([^"]*)"', text)[0]
    named = re.sub(
        r"<TiffData ([^>]*)/>|<TiffData ([^>]*)>.*?</TiffData>",
        rf'<TiffData \1\2><UUID FileName="/once/b.tif">{uuid}</UUID></TiffData>',
        text,
    )
    assert "/once/b.tif" in named
    tifffile.tiffcomment(path, named.encode())
    assert (whole(Ingest(source=str(path), voxel_size=SIZE, layer="x")) == ZYX.T).all()


def ndtiff(path: Path, plane: Array) -> None:
    """A TIFF of one plane with the header of Micro-Manager's NDTiff, version 2."""
    summary, text = b"{}", b'{"a": 1}'
    data = struct.pack("<IIII", 483729, 2, 2355492, len(summary)) + summary + text
    at = 8 + len(data)
    rows, columns = plane.shape
    tags = [(256, 4, columns), (257, 4, rows), (258, 4, 16), (259, 4, 1), (262, 4, 1), (273, 4, at)]
    tags += [(277, 4, 1), (278, 4, rows), (279, 4, plane.nbytes)]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags]
    entries.append(struct.pack("<HHII", 51123, 2, len(text), at - len(text)))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    header = b"II*\0" + struct.pack("<I", at + plane.nbytes)
    path.write_bytes(header + data + plane.tobytes() + directory)


@pytest.mark.parametrize("name", ["b.tif", "../private/b.tif"])
def test_an_ndtiff_whose_index_names_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for folder in ("given", "private"):
        (tmp_path / folder).mkdir()
    index = b""
    for z, file in enumerate(("a.tif", name)):
        ndtiff(tmp_path / "given" / file, ZYX[z])
        axes = json.dumps({"z": z}).encode()
        index += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(file)) + file.encode()
        index += struct.pack("<IiiiiIii", 26, 17, 21, 1, 0, 0, 0, 0)
    (tmp_path / "given" / "NDTiff.index").write_bytes(index)
    path = tmp_path / "given" / "a.tif"
    if name == "b.tif":
        assert (whole(Ingest(source=str(path), voxel_size=SIZE, layer="x")) == ZYX[:2].T).all()
    else:
        assert f"leads out of {path.parent}, to {tmp_path / 'private' / 'b.tif'}" in refusal(tmp_path, path)


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
