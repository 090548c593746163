"""Files of a layer's voxels, filled box by box: TIFF, TIFF planes, NIfTI, NumPy, Zarr.

All but Zarr are made at their full length and then mapped into memory: no more than a box is held.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorstore as ts
import tifffile

from chunkflow.chunk import Array
from chunkflow.extras import optional_import
from chunkflow.geometry import Box, Vec, VoxelSize, vec

CLASSIC_TIFF = 2**32 - 2**25
"""Bytes of voxels that fit into a TIFF that is no BigTIFF."""
IMAGEJ = ("uint8", "uint16", "float32")
NIFTI_1 = 32_767
"""The most voxels on an axis of the first NIfTI."""


@dataclass(frozen=True)
class VoxelBox:
    """A box of a layer at one mip, to be written."""

    name: str
    box: Box
    voxel_size: VoxelSize
    dtype: str
    channels: int
    storage: Vec

    @property
    def nbytes(self) -> int:
        return self.box.voxels * self.channels * np.dtype(self.dtype).itemsize

    @property
    def micrometres(self) -> VoxelSize:
        x, y, z = (size / 1000 for size in self.voxel_size)
        return x, y, z


class LayerFile(Protocol):
    """Takes boxes of voxels, and is whole when it is closed."""

    def put(self, place: Box, array: Array) -> None:
        """The voxels x, y, z, channel of a box that is counted from the first voxel written."""

    def close(self) -> None: ...


def tiff_fields(voxels: VoxelBox, axes: str) -> dict[str, Any]:
    """ImageJ's TIFF where ImageJ knows the type and 4 GB are enough, else OME's; size and place are told."""
    x, y, z = voxels.micrometres
    place = ",".join(map(str, voxels.box.start))
    grey = {"photometric": "minisblack"}  # three or four voxels along an axis are no colours
    if voxels.dtype in IMAGEJ and voxels.nbytes <= CLASSIC_TIFF:
        metadata = {"axes": axes, "spacing": z, "unit": "um", "voxel_offset": place}
        return grey | {"imagej": True, "byteorder": ">", "resolution": (1 / x, 1 / y), "metadata": metadata}
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (x, y, z), strict=True)}
    metadata = {"axes": axes, "Description": f"voxel_offset={place}", **sizes}
    return grey | {"ome": True, "bigtiff": voxels.nbytes > CLASSIC_TIFF, "metadata": metadata}


class TiffStack:
    """One stack, its planes uncompressed one after the other."""

    def __init__(self, path: Path, voxels: VoxelBox) -> None:
        x, y, z = voxels.box.size
        self._many = voxels.channels > 1
        shape = (z, voxels.channels, y, x) if self._many else (z, y, x)
        fields = tiff_fields(voxels, "ZCYX" if self._many else "ZYX")
        self._array = tifffile.memmap(path, shape=shape, dtype=voxels.dtype, **fields)

    def put(self, place: Box, array: Array) -> None:
        x, y, z = place.slices((0, 0, 0))
        if self._many:
            self._array[z, :, y, x] = array.transpose(2, 3, 1, 0)
        else:
            self._array[z, y, x] = array[..., 0].T

    def close(self) -> None:
        self._array.flush()


class PlanesFolder:
    """A folder of one TIFF a plane; as many are open as a box is deep."""

    def __init__(self, path: Path, voxels: VoxelBox) -> None:
        self._path, self._voxels = path, voxels
        self._open: dict[int, TiffStack] = {}
        path.mkdir()

    def put(self, place: Box, array: Array) -> None:
        x, y, _ = place.size
        planes = range(place.start[2], place.stop[2])
        if planes and planes[0] not in self._open:
            self.close()
            self._open = {z: self._plane(z) for z in planes}
        for k, z in enumerate(planes):
            section = Box.of_size((x, y, 1), (*place.start[:2], 0))
            self._open[z].put(section, array[:, :, k : k + 1])

    def _plane(self, z: int) -> TiffStack:
        box = self._voxels.box
        size = vec((*box.size[:2], 1))
        plane = VoxelBox(
            self._voxels.name,
            Box.of_size(size, box.start),
            self._voxels.voxel_size,
            self._voxels.dtype,
            self._voxels.channels,
            self._voxels.storage,
        )
        return TiffStack(self._path / f"plane_{z:06d}.tif", plane)

    def close(self) -> None:
        for file in self._open.values():
            file.close()


class NpyFile:
    """An array z, y, x; or channel, z, y, x."""

    def __init__(self, path: Path, voxels: VoxelBox) -> None:
        shape = (voxels.channels, *voxels.box.size[::-1])
        self._array = np.lib.format.open_memmap(
            path, "w+", voxels.dtype, shape if voxels.channels > 1 else shape[1:]
        )

    def put(self, place: Box, array: Array) -> None:
        within = place.slices((0, 0, 0))[::-1]
        self._array[(..., *within)] = array.T if self._array.ndim == 4 else array[..., 0].T

    def close(self) -> None:
        self._array.flush()


class NiftiFile:
    """x, y, z (and channel as the fifth axis), in millimetres, as most programs expect."""

    def __init__(self, path: Path, voxels: VoxelBox, packed: bool = False) -> None:
        """`packed` is whether to compress it in the end; until then the voxels are in a nameless file."""
        nibabel = optional_import("nibabel", "Writing NIfTI files")
        self._path, self._packed = path, packed
        # close() closes it
        self._file = tempfile.TemporaryFile(dir=path.parent) if packed else path.open("w+b")  # noqa: SIM115
        size = voxels.box.size
        shape = (*size, 1, voxels.channels) if voxels.channels > 1 else size
        millimetres = [s * 1e-6 for s in voxels.voxel_size]
        affine = np.diag([*millimetres, 1.0])
        affine[:3, 3] = [o * s for o, s in zip(voxels.box.start, millimetres, strict=True)]
        kind = nibabel.Nifti1Header if max(size) <= NIFTI_1 else nibabel.Nifti2Header
        header = kind()
        header.set_data_dtype(voxels.dtype)
        header.set_data_shape(shape)
        header.set_zooms([*millimetres, 1, 1][: len(shape)])
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner")
        header.set_xyzt_units("mm")
        header.set_slope_inter(1, 0)
        if kind is nibabel.Nifti1Header:
            header["magic"] = b"n+1"
        header.set_data_offset(header.single_vox_offset)
        offset = int(header.single_vox_offset)
        header.write_to(self._file)
        self._file.truncate(offset + voxels.nbytes)
        self._array = np.memmap(self._file, voxels.dtype, "r+", offset, (*size, voxels.channels), "F")

    def put(self, place: Box, array: Array) -> None:
        self._array[place.slices((0, 0, 0))] = array

    def close(self) -> None:
        self._array.flush()
        if self._packed:
            self._file.seek(0)
            with self._path.open("wb") as raw, gzip.GzipFile("", "wb", 3, raw, mtime=0) as file:
                shutil.copyfileobj(self._file, file, 1 << 20)
        self._file.close()


class ZarrArray:
    """One level of an OME-Zarr: z, y, x or channel, z, y, x, in chunks as the layer has."""

    def __init__(self, path: Path, voxels: VoxelBox) -> None:
        many = voxels.channels > 1
        shape = [voxels.channels] * many + list(voxels.box.size[::-1])
        chunks = [1] * many + [min(s, n) for s, n in zip(voxels.storage, voxels.box.size, strict=True)][::-1]
        dtype = np.dtype(voxels.dtype)
        metadata = {
            "shape": shape,
            "chunks": chunks,
            "dtype": dtype.str if dtype.itemsize == 1 else dtype.newbyteorder("<").str,
            "compressor": {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1},
            "dimension_separator": "/",
            "fill_value": 0,
        }
        kvstore = {"driver": "file", "path": f"{path}/"}
        spec = {"driver": "zarr", "kvstore": kvstore, "metadata": metadata}
        self._store = ts.open(spec, create=True, read=True, write=True).result()
        self._many = many

    def put(self, place: Box, array: Array) -> None:
        within = place.slices((0, 0, 0))[::-1]
        part = array.T if self._many else array[..., 0].T
        self._store[(..., *within)].write(part).result()

    def close(self) -> None:
        """Each box was written when it was put."""


def ome_attributes(levels: list[VoxelBox], labels: bool) -> dict[str, Any]:
    """The multiscales of OME-Zarr 0.4; a level's first voxel is told by its centre, as that format has it."""
    first = levels[0]
    many = first.channels > 1
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] * many
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "zyx"]
    datasets = []
    for number, level in enumerate(levels):
        place = [
            start * size + (size - finest) / 2
            for start, size, finest in zip(level.box.start, level.micrometres, first.micrometres, strict=True)
        ]
        transforms = [
            {"type": "scale", "scale": [1.0] * many + list(level.micrometres)[::-1]},
            {"type": "translation", "translation": [0.0] * many + place[::-1]},
        ]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
    scales = {"version": "0.4", "name": first.name, "axes": axes, "datasets": datasets}
    return {"multiscales": [scales]} | ({"image-label": {"version": "0.4"}} if labels else {})
