"""Stacks as microscopes and other programs leave them, whatever the format; read box by box.

1. `open_stack` tells by the path what it is, and opens it: nothing but headers is read.
2. `check` looks for what is damaged or missing before anything is made of the stack.
3. `read` gives the voxels of a box, decoding no more than the pieces that the box meets.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.facts import Facts
from chunkflow.geometry import Box, Vec

TIFF = (".tif", ".tiff", ".btf", ".tf8")
OPENERS = {
    **dict.fromkeys(TIFF, "chunkflow.formats.stacks.tiff:open_tiff"),
    ".npy": "chunkflow.formats.stacks.arrays:open_npy",
    ".npz": "chunkflow.formats.stacks.arrays:open_npz",
    ".nii": "chunkflow.formats.stacks.nifti:open_nifti",
    ".nii.gz": "chunkflow.formats.stacks.nifti:open_nifti",
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".he5"), "chunkflow.formats.stacks.hdf5:open_hdf5"),
    ".ims": "chunkflow.formats.stacks.hdf5:open_imaris",
    ".czi": "chunkflow.formats.stacks.microscopes:open_czi",
    ".nd2": "chunkflow.formats.stacks.microscopes:open_nd2",
    ".lif": "chunkflow.formats.stacks.microscopes:open_lif",
}
"""What opens a file, by its ending; imported only then."""
WITHOUT_NAMES = ("open_tiff", "open_folder", "open_zarr", "open_npy", "open_nifti", "open_imaris")
READABLE = (
    "a TIFF stack, a folder of TIFF planes, Zarr (OME-Zarr, too), N5, HDF5 (.h5), Imaris (.ims), "
    "NIfTI (.nii, .nii.gz), NumPy (.npy, .npz), or a microscope's .czi, .nd2 or .lif"
)


class Stack(Protocol):
    """Voxels that can be read by boxes; x, y, z and channel whatever the file's own order."""

    @property
    def size(self) -> Vec: ...

    @property
    def channels(self) -> int: ...

    @property
    def dtype(self) -> str: ...

    @property
    def block(self) -> Vec:
        """The voxels x, y, z that must be decoded to read any one of them."""

    @property
    def facts(self) -> Facts: ...

    def check(self) -> None:
        """Raise BadInput that names what is damaged or missing, as far as that can be seen beforehand."""

    def read(self, box: Box, channel: int | None = None) -> Array:
        """The voxels x, y, z, channel of a box, counted from the first voxel; all channels, or one."""


def refuse_unreadable(stack: Stack, box: Box) -> None:
    """Voxels are decoded, to see that they can be."""
    try:
        stack.read(box)
    except DamagedInput as error:
        raise BadInput(f"{error}.") from error


def open_stack(source: str, axes: str = "", time: int | None = None) -> Stack:
    """The stack at a path, or at FILE:NAME for one of several arrays in a file.

    `axes` are its axes in order (zyx, czyx), where it does not say so itself; `time` is the point of time.
    """
    path, name = split_source(source)
    if path.is_dir():
        location = "chunkflow.formats.stacks.tiff:open_folder"
        if is_zarr(path) or is_n5(path):
            location = "chunkflow.formats.stacks.zarr:open_zarr"
    else:
        ending = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
        if ending not in OPENERS:
            raise BadInput(f"{path} cannot be read: it must be {READABLE}.")
        location = OPENERS[ending]
    module, _, function = location.partition(":")
    if name and function in WITHOUT_NAMES:
        raise BadInput(f"{path} holds no arrays with names, so none is called {name}.")
    opener: Callable[[Path, str, str, int | None], Stack] = getattr(import_module(module), function)
    return opener(path, name, axes, time)


def is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (".zarray", ".zgroup", "zarr.json", ".zattrs"))


def is_n5(folder: Path) -> bool:
    """A group of an N5 may have no attributes of its own."""
    named = any(place.suffix.lower() == ".n5" for place in (folder, *folder.parents))
    return named or (folder / "attributes.json").is_file()


def split_source(source: str) -> tuple[Path, str]:
    """A path, and what is named inside it after a colon."""
    path = Path(source)
    if path.exists():
        return path, ""
    before, colon, name = source.rpartition(":")
    if colon and Path(before).exists():
        return Path(before), name.strip("/")
    raise BadInput(f"{path} does not exist.")
