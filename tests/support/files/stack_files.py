"""One volume in every format that Ingest reads, written by other programs' libraries, or byte by byte."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import tifffile
import zarr

from chunkflow.task import Cell, Layout
from tasks.volumes.ingest import Ingest

Array = np.ndarray[Any, Any]
MICROMETRES = (0.5, 0.5, 2.0)
"""x, y, z"""

RANDOM = np.random.default_rng(3)
ZYX = RANDOM.integers(0, 60000, (11, 21, 17)).astype(np.uint16)
CZYX = RANDOM.integers(0, 60000, (2, 11, 21, 17)).astype(np.uint16)
SIZE = "0.5,0.5,2um"

LAYOUT = Layout({}, (8, 16, 8), (4, 8, 4))
N5_SIZE = {"pixelResolution": {"unit": "um", "dimensions": [0.5, 0.5, 2]}}


def write_ome_zarr(
    path: Path,
    array: Array,
    letters: str = "zyx",
    version: str = "0.4",
    place: Sequence[float] | None = None,
    scale: Sequence[float] | None = None,
    channels: Sequence[str] = (),
    unit: str = "micrometer",
) -> Path:
    sizes = dict(zip("xyz", MICROMETRES, strict=True))
    axes = [
        {"name": a, "type": "space", "unit": unit} if a in sizes else {"name": a, "type": "channel"}
        for a in letters
    ]
    transforms: list[dict[str, Any]] = [
        {"type": "scale", "scale": list(scale or [sizes.get(a, 1) for a in letters])}
    ]
    if place is not None:
        transforms.append({"type": "translation", "translation": list(place)})
    scales = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
        "version": version,
    }
    attributes: dict[str, Any] = {"multiscales": [scales]}
    if channels:
        attributes["omero"] = {"channels": [{"label": name} for name in channels]}
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.attrs.update(attributes if version == "0.4" else {"ome": attributes})
    chunks = tuple(min(8, n) for n in array.shape)
    more: dict[str, Any] = {} if version == "0.4" else {"shards": tuple(2 * n for n in chunks)}
    made = group.create_array("0", shape=array.shape, chunks=chunks, dtype=array.dtype, **more)
    made[...] = array
    return path


def write_zarr(path: Path, array: Array, version: int) -> Path:
    made = zarr.create_array(
        path, shape=array.shape, chunks=(4, 8, 8), dtype=array.dtype, zarr_format=version
    )
    made[...] = array
    return path


def write_n5(path: Path, xyz: Array, attributes: dict[str, Any], block: Sequence[int] = (8, 16, 4)) -> Path:
    """An N5 dataset: blocks of big-endian voxels, x fastest, each with a header of its own."""
    path.mkdir(parents=True)
    document = {
        "dimensions": list(xyz.shape),
        "blockSize": list(block),
        "dataType": str(xyz.dtype),
        "compression": {"type": "gzip", "level": -1},
    }
    (path / "attributes.json").write_text(json.dumps(document | attributes))
    counts = [range(-(-n // b)) for n, b in zip(xyz.shape, block, strict=True)]
    for at in itertools.product(*counts):
        part = xyz[tuple(slice(i * b, (i + 1) * b) for i, b in zip(at, block, strict=True))]
        file = path.joinpath(*map(str, at))
        file.parent.mkdir(parents=True, exist_ok=True)
        header = struct.pack(">HHIII", 0, 3, *part.shape)
        big = part.astype(part.dtype.newbyteorder(">"))
        file.write_bytes(header + gzip.compress(big.tobytes(order="F")))
    return path


def write_h5(path: Path, **datasets: Array) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            made = file.create_dataset(
                name, data=array, chunks=tuple(min(8, n) for n in array.shape), compression="gzip"
            )
            if array.ndim == 3:
                made.attrs["element_size_um"] = MICROMETRES[::-1]
    return path


def as_bytes(text: object) -> Array:
    return np.array([letter.encode() for letter in str(text)], dtype="S1")


def write_imaris(path: Path, czyx: Array, names: Sequence[str], points: int = 1) -> Path:
    """As Imaris does: each channel a dataset, padded to whole chunks, and texts as single bytes."""
    z, y, x = czyx.shape[1:]
    with h5py.File(path, "w") as file:
        image = file.create_group("DataSetInfo/Image")
        for letter, length in zip("XYZ", (x, y, z), strict=True):
            image.attrs[letter] = as_bytes(length)
        for axis, (length, size) in enumerate(zip((x, y, z), MICROMETRES, strict=True)):
            image.attrs[f"ExtMin{axis}"] = as_bytes(10.0)
            image.attrs[f"ExtMax{axis}"] = as_bytes(10.0 + length * size)
        image.attrs["Unit"] = as_bytes("um")
        for t, (c, channel) in itertools.product(range(points), enumerate(czyx)):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
            for letter, length in zip("XYZ", (x, y, z), strict=True):
                group.attrs[f"ImageSize{letter}"] = as_bytes(length)
            padded = np.pad(channel, [(0, -n % 8) for n in channel.shape])
            group.create_dataset("Data", data=padded + t, chunks=(4, 8, 8), compression="gzip")
            file.require_group(f"DataSetInfo/Channel {c}").attrs["Name"] = as_bytes(names[c])
    return path


def write_nifti(path: Path, xyz: Array, unit: str = "micron", affine: Array | None = None) -> Path:
    image = nibabel.Nifti1Image(xyz, np.diag([*MICROMETRES, 1]) if affine is None else affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def whole(task: Ingest) -> np.ndarray:
    """What the engine would write: every cell of the task's grid, put together."""
    layout = Layout({}, (8, 16, 8), (4, 8, 4))
    info = task.outputs(layout)["layer"]
    layout = Layout({"layer": (info,)}, layout.chunk, layout.storage)
    grid = task.grid(layout, info.bounds)
    assert all(c % s == 0 for c, s in zip(grid.cell, layout.storage, strict=True))
    values = task.prepare(layout, ())
    shape = info.bounds.size if info.channels == 1 else (*info.bounds.size, info.channels)
    result = np.zeros(shape, dtype=info.dtype)
    for index in range(len(grid)):
        box = grid.box(index)
        cell = Cell(index, box, info.bounds, info.bounds, info.voxel_size, layout, values, task.setup(layout))
        chunk = task.map(cell)
        assert chunk.array.flags.f_contiguous
        assert chunk.array.dtype == info.dtype
        result[box.slices((0, 0, 0))] = chunk.array
    return result


def write_planes(folder: Path, array: np.ndarray, first: int = 1, name: str = "plane_{}.tif") -> Path:
    folder.mkdir()
    for number, plane in enumerate(array, start=first):
        tifffile.imwrite(folder / name.format(number), plane)
    return folder


def stacks(folder: Path) -> dict[str, Path]:
    """One volume in every way that it may come."""
    paths = {name: folder / f"{name}.tif" for name in ("plain", "packed", "big-endian", "imagej", "tiled")}
    tifffile.imwrite(paths["plain"], ZYX)
    tifffile.imwrite(paths["packed"], ZYX, compression="zlib")
    tifffile.imwrite(paths["big-endian"], ZYX, byteorder=">")
    tifffile.imwrite(paths["imagej"], ZYX, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(
        paths["tiled"], ZYX, tile=(16, 16), compression="zlib", metadata={"axes": "ZYX"}, ome=True
    )
    np.save(folder / "array.npy", ZYX)
    np.save(folder / "fortran.npy", np.asfortranarray(ZYX))
    planes = write_planes(folder / "planes", ZYX, first=5)
    return {**paths, "array": folder / "array.npy", "fortran": folder / "fortran.npy", "planes": planes}


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
