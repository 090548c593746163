"""Files that a stack is read from: more than what was named of a set of TIFFs, less of a folder of arrays."""

from __future__ import annotations

from pathlib import Path

from chunkflow.formats.stacks.outside import names_in_set
from chunkflow.formats.stacks.stack import TIFF, is_n5, is_zarr, split_source
from chunkflow.formats.stacks.tiff import plane_files, whole_tiff

DOCUMENTS = (".zarray", ".zgroup", ".zattrs", "zarr.json", "attributes.json")
"""What a Zarr or N5 says of a group, and of an array."""


def source_files(source: str) -> list[Path]:
    """The files and folders of the stack at a path, or at FILE:NAME."""
    path, _ = split_source(source)
    if not path.is_dir():
        return _set_of(path) if path.suffix.lower() in TIFF else [path]
    return _array_of(path) if is_zarr(path) or is_n5(path) else plane_files(path)


def _set_of(path: Path) -> list[Path]:
    """A TIFF, and those that make a set with it."""
    with whole_tiff(path) as file:
        folder = Path(file.filehandle.dirname)
        others = {folder / name for name in names_in_set(folder, file)}
    return [path, *sorted(other for other in others if other.is_file() and not other.samefile(path))]


def _array_of(path: Path) -> list[Path]:
    """The array that a Zarr or N5 stands for, and what is said of it on the way there: other levels may come
    and go."""
    from chunkflow.formats.stacks.zarr import find_array, read_node  # with it comes tensorstore

    array = find_array(read_node(path), path).path
    above = [folder for folder in array.parents if folder == path or path in folder.parents]
    said = [folder / name for folder in above for name in DOCUMENTS if (folder / name).is_file()]
    return [array, *said]
