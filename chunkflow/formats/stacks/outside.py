"""Refusal of stacks that would bring in data from outside the file or folder that was named.

Whoever made a stack chose where its links lead, and its reader may read more than its maker may: a link to a
private file would make voxels of it. So links, external storage, virtual datasets and names of other files
are looked at before any voxel is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import

if TYPE_CHECKING:
    import h5py
    import tifffile


def inside(folder: Path, path: Path) -> Path:
    """A path as it is; BadInput where links or `..` lead out of the folder."""
    try:
        real = Path(os.path.realpath(path))
    except ValueError as error:  # a zero byte
        raise BadInput(f"{path!s:.200} is no path: {error}.") from error
    if not real.is_relative_to(os.path.realpath(folder)):
        raise BadInput(
            f"{path} leads out of {folder}, to {real}, and nothing outside of what is named is read: name "
            "that place itself or a folder that holds both, or put a copy where it is needed."
        )
    return path


def refuse_links_out(folder: Path, root: Path) -> None:
    """Look at every entry below a folder; links may lead to other places in `root`."""
    waiting, seen = [os.path.realpath(folder)], set[str]()
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink() and os.path.isdir(inside(root, Path(entry.path))):
                        waiting.append(os.path.realpath(entry.path))
        except OSError as error:
            raise BadInput(f"{at} cannot be looked through: {error.strerror}.") from error


def refuse_hdf5_references(path: Path, file: h5py.File) -> None:
    """Look at all links and datasets of an HDF5 file; soft links stay within it.

    By the library's own functions: `get` and `visititems_links` of h5py open the file that a link leads to.
    """
    h5py = optional_import("h5py", f"Reading {path}")

    def look_at_link(name: bytes, link: Any) -> tuple[bytes, str] | None:
        if link.type in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            return None
        external = link.type == h5py.h5l.TYPE_EXTERNAL
        return name, f"is a link to {_text(file.id.links.get_val(name)[0]) if external else 'another place'}"

    def look_at_object(name: bytes, node: Any) -> tuple[bytes, str] | None:
        if node.type != h5py.h5o.TYPE_DATASET:
            return None
        created = h5py.h5d.open(file.id, name).get_create_plist()
        if created.get_external_count():
            return name, f"has its data in {_text(created.get_external(0)[0])}"
        virtual = created.get_layout() == h5py.h5d.VIRTUAL
        sources = [
            created.get_virtual_filename(n) for n in range(created.get_virtual_count() if virtual else 0)
        ]
        others = [source for source in sources if source != "."]
        return (name, f"is made of data in {others[0]}") if others else None

    try:
        found = file.id.links.visit(look_at_link, info=True)
        found = found or h5py.h5o.visit(file.id, look_at_object, info=True)
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise BadInput(f"{path} is damaged: {error}.") from error
    if found is not None:
        raise BadInput(
            f"{path}: {_text(found[0])} {found[1]}, and nothing outside of the file is read: name the file "
            "that has the data, or copy them into this one."
        )


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def refuse_tiffs_elsewhere(file: tifffile.TiffFile) -> None:
    """Look at the files that make a set with this one. tifffile looks for them beside the file itself, also
    where a link to it was named."""
    folder = Path(file.filehandle.dirname)
    for name in names_in_set(folder, file):
        inside(folder, folder / name)


def names_in_set(folder: Path, file: tifffile.TiffFile) -> Iterator[str]:
    """The files that tifffile would open with this one: of an OME-TIFF, an NDTiff or an MMStack."""
    if file.is_ndtiff:
        from tifffile import read_ndtiff_index

        index = inside(folder, folder / "NDTiff.index")
        yield from {fields[1] for fields in read_ndtiff_index(index)}
    if file.is_mmstack:
        yield from _names_of_mmstack(folder, file)
    try:
        root = ElementTree.fromstring(file.ome_metadata or "<none/>")
    except ElementTree.ParseError:
        return  # tifffile takes it for no OME-TIFF
    own = root.get("UUID")
    for element in root.iter():
        if "FileName" in element.attrib and (own is None or element.text != own):
            yield element.attrib["FileName"]


def _names_of_mmstack(folder: Path, file: tifffile.TiffFile) -> list[str]:
    """The files beside this one that have its prefix, by the pattern with which tifffile looks for them."""
    summary = file.micromanager_metadata["Summary"]
    if not isinstance(summary, dict):
        return []  # tifffile takes it for no such set
    prefix = summary.get("Prefix", file.filename.split("_MMStack")[0])
    if not file.filename.startswith(prefix):
        return []
    return glob(os.path.join(folder, f"{prefix}_MMStack*.tif"))
