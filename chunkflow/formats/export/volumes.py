"""Export an image or labels to a file of another format, box by box, whole or not at all.

1. The file is made under a temporary name, at its full length.
2. Boxes of whole storage chunks are read from the layer, and put into it one after the other.
3. It is renamed. Labels of 64 bits, which few programs read from TIFF or NIfTI, first get 32.
"""

from __future__ import annotations

import csv
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from chunkflow.chunk import Array
from chunkflow.data.atomic import refuse_existing
from chunkflow.data.describe import layer_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import LabelsInfo, VoxelsInfo, full_url
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.formats.export.volume_files import (
    LayerFile,
    NiftiFile,
    NpyFile,
    PlanesFolder,
    TiffStack,
    VoxelBox,
    ZarrArray,
    ome_attributes,
)
from chunkflow.geometry import Box, Grid, VoxelSize, ratios, vec
from chunkflow.words import plain

LAYER_ENDINGS = (".tif", ".tiff", ".zarr", ".nii", ".nii.gz", ".npy", "/")
"""The endings of the files that a layer can go to; a name without any is a folder of TIFF planes."""
NIFTI = (".nii", ".nii.gz")
NARROW = (".tif", ".tiff", *NIFTI, "/")
"""Where programs expect labels of 32 bits or fewer."""
PIECE_BYTES = 64 << 20


@dataclass(frozen=True, repr=False)
class ExportedVoxels:
    """A file of voxels, or a folder, that was written."""

    path: Path
    box: Box
    """The part of the layer, in voxels of its mip, or of the finest where there are several."""
    voxel_size: VoxelSize
    """Nanometres along x, y, z."""
    dtype: str
    mips: int
    ids: Path | None = None
    """Of labels whose ids were numbered anew, the table of which was which."""

    def __repr__(self) -> str:
        """The size and place of what was written, so that it can be checked in the other program."""
        size = " x ".join(map(str, self.box.size))
        unit = " x ".join(f"{s / 1000:g}" for s in self.voxel_size)
        start = ", ".join(map(str, self.box.start))
        more = f" in {self.mips} mips" if self.mips > 1 else ""
        ids = f" Its ids are numbered anew; which was which is in {self.ids}." if self.ids else ""
        return (
            f"{size} voxels (x, y, z) of {self.dtype}, of {unit} micrometres, from {start}{more} are in "
            f"{self.path}.{ids}"
        )


def export_layer(
    layer: str, to: Path, box: Box | None = None, mip: int = 0, overwrite: bool = False
) -> ExportedVoxels:
    """Write an image or labels to a file, or what of it lies in `box` (voxels of mip 0)."""
    url, ending = full_url(layer), ending_of(to)
    refuse_existing(to, overwrite)
    _refuse_other(to, ending)
    if ending in NIFTI:
        optional_import("nibabel", "Writing NIfTI files")  # before all labels are read for their ids
    levels = _levels(url, mip, box, all_mips=ending == ".zarr")
    labels = isinstance(levels[0], LabelsInfo)
    ids = None
    if labels and levels[0].dtype == "uint64" and ending in NARROW:
        ids = Renumbering.of(levels[0])
        levels = [levels[0].model_copy(update={"dtype": ids.dtype})]
    name = plain(url).rstrip("/").rsplit("/", 1)[-1]
    wanted = [
        VoxelBox(name, info.bounds, info.voxel_size, info.dtype, info.channels, info.storage)
        for info in levels
    ]
    _refuse_small_disk(to, sum(v.nbytes for v in wanted) * (2 if ending == ".nii.gz" else 1))
    with _whole(to) as temporary:
        _write(temporary, ending, levels, wanted, ids)
    table = None
    if ids is not None and ids.renumbered:
        table = to.with_name(f"{to.name}.ids.csv")
        with _whole(table) as temporary:
            ids.write(temporary)
    first = wanted[0]
    return ExportedVoxels(to, first.box, first.voxel_size, first.dtype, len(levels), table)


def ending_of(to: Path) -> str:
    """How a layer is written to a place of this name."""
    name = to.name.lower()
    if name.endswith(".nii.gz"):
        return ".nii.gz"
    ending = to.suffix.lower() or "/"
    if ending not in LAYER_ENDINGS:
        known = ", ".join(e for e in LAYER_ENDINGS if e != "/")
        raise BadInput(f"{to} must end in {known}, or be a folder of planes: the name says what is written.")
    return ending


def _refuse_other(to: Path, ending: str) -> None:
    """A folder is replaced only if it is one that could have been written here."""
    if not to.exists():
        return
    if ending in ("/", ".zarr"):
        names = [file.name for file in to.iterdir()] if to.is_dir() else [to.name]
        ours = ".zattrs" in names if ending == ".zarr" else all(name.endswith(".tif") for name in names)
        if not ours:
            raise BadInput(f"{to} holds other things than an exported layer: name another place.")
    elif to.is_dir():
        raise BadInput(f"{to} is a folder: name a file.")


def _levels(url: str, mip: int, box: Box | None, all_mips: bool) -> list[VoxelsInfo]:
    """The mips that are written, cut to the box."""
    finest = layer_at(url)
    count = len(json.loads(Folder(url).get("info") or b"{}").get("scales", []))
    if mip >= count:
        raise BadInput(f"{url} has the mips 0 to {count - 1}, and no mip {mip}.")
    levels = []
    for number in range(mip, count if all_mips else mip + 1):
        info = layer_at(url, number)
        larger, smaller = ratios(info.voxel_size, finest.voxel_size)
        part = info.bounds if box is None else box.refine(smaller).coarsen(larger).clip(info.bounds)
        if part.empty:
            raise BadInput(f"The box {box} lies outside the layer {url}, which covers {finest.bounds}.")
        levels.append(info.model_copy(update={"bounds": part}))
    return levels


def _refuse_small_disk(to: Path, needed: int) -> None:
    """A file that is mapped into memory and does not fit would end the process without a word."""
    if not to.absolute().parent.is_dir():
        raise BadInput(f"{to} cannot be written: there is no folder {to.absolute().parent}.")
    free = shutil.disk_usage(to.absolute().parent).free
    if needed > free:
        raise BadInput(f"{to} needs {needed / 1e9:.1f} GB, and there are {free / 1e9:.1f} GB left.")


@contextmanager
def _whole(to: Path) -> Iterator[Path]:
    """A temporary name beside `to`, which in the end is its own; nothing is left of it if that fails."""
    token = secrets.token_hex(6)
    temporary, before = (to.with_name(f".{to.name}.{token}.{ending}") for ending in ("tmp", "old"))
    try:
        yield temporary
        if to.is_dir():
            os.replace(to, before)
        try:
            os.replace(temporary, to)
        except OSError:
            if before.is_dir():
                os.replace(before, to)
            raise
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror or error}.") from error
    finally:
        for path in (temporary, before):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _write(
    to: Path, ending: str, levels: list[VoxelsInfo], wanted: list[VoxelBox], ids: Renumbering | None
) -> None:
    if ending == ".zarr":
        to.mkdir()
        for number, (info, voxels) in enumerate(zip(levels, wanted, strict=True)):
            _fill(ZarrArray(to / str(number), voxels), info)
        (to / ".zgroup").write_text(json.dumps({"zarr_format": 2}))
        (to / ".zattrs").write_text(
            json.dumps(ome_attributes(wanted, isinstance(levels[0], LabelsInfo)), indent=1)
        )
        return
    _fill(_opened(to, ending, wanted[0]), levels[0], ids)


def _opened(to: Path, ending: str, voxels: VoxelBox) -> LayerFile:
    if ending == "/":
        return PlanesFolder(to, voxels)
    if ending in NIFTI:
        return NiftiFile(to, voxels, packed=ending == ".nii.gz")
    return NpyFile(to, voxels) if ending == ".npy" else TiffStack(to, voxels)


def _fill(file: LayerFile, info: VoxelsInfo, ids: Renumbering | None = None) -> None:
    for place, array in _pieces(info):
        file.put(place, array if ids is None else ids.applied(array))
    file.close()


def _pieces(info: VoxelsInfo) -> Iterator[tuple[Box, Array]]:
    """The voxels x, y, z, channel of whole storage chunks, slab by slab, with their place from the first."""
    volume = Volume(info)
    x, y, z = info.storage
    chunks = max(PIECE_BYTES // (prod(info.storage) * info.bytes_per_voxel), 1)
    wide = min(chunks, -(-info.bounds.size[0] // x))
    high = max(chunks // wide, 1)
    grid = Grid.chunks(info.bounds, (x * wide, y * high, z))
    for index in range(len(grid)):
        chunk = volume.read(grid.box(index))
        array = chunk.array if chunk.array.ndim == 4 else chunk.array[..., np.newaxis]
        yield chunk.box.shift(vec(-n for n in info.bounds.start)), array


class Renumbering:
    """Renumbering of 64-bit labels into fewer bits: kept as they are, or numbered anew from 1."""

    def __init__(self, ids: Array) -> None:
        """`ids` are all there are, sorted, without 0."""
        self.ids = ids
        self.renumbered = len(ids) > 0 and int(ids[-1]) >= 2**32
        largest = len(ids) if self.renumbered else int(ids[-1]) if len(ids) else 0
        if largest >= 2**32:
            raise BadInput(f"{largest:,} ids do not fit into 32 bits: export to .zarr or .npy.")
        self.dtype = "uint16" if largest < 2**16 else "uint32"

    @classmethod
    def of(cls, info: VoxelsInfo) -> Renumbering:
        """All ids of a layer, which is read once for them; they alone are held."""
        found = np.zeros(0, np.uint64)
        for _, array in _pieces(info):
            found = np.union1d(found, np.unique(array))
        return cls(found[found > 0])

    def applied(self, array: Array) -> Array:
        if not self.renumbered:
            return array.astype(self.dtype)
        return np.where(array > 0, np.searchsorted(self.ids, array) + 1, 0).astype(self.dtype)

    def write(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "new"])
            rows.writerows((int(value), number) for number, value in enumerate(self.ids, start=1))
