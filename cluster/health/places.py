"""Whether a place can be read, written and deleted in from where this runs."""

from __future__ import annotations

import posixpath
import secrets
from dataclasses import dataclass
from pathlib import Path

from chunkflow.data.describe import layer_at, read_info
from chunkflow.data.folder import Folder
from chunkflow.data.info import VoxelsInfo, full_url
from chunkflow.data.volume import Volume
from chunkflow.errors import ChunkflowError
from chunkflow.people.viewing.looks import kind_of

NOTHING = "nothing is there: no layer, no work folder"
WORK = "a work folder"
YES = "yes"


@dataclass(frozen=True)
class Tried:
    """What became of the tries at one place: yes, or the reason why not."""

    what: str
    """What lies there, or why it cannot be read."""
    read: str
    write: str
    delete: str

    @property
    def fault(self) -> str:
        """What is wrong, if anything: what is there must be readable, and what is yet to be made writable.
        An image may well be read only, a work folder not."""
        if self.what == NOTHING and self.write != YES:
            return f"nothing is there, and it cannot be made: {self.write}"
        if self.what != NOTHING and self.read != YES:
            return self.what
        if self.what in (WORK, NOTHING):
            return next((said for said in (self.write, self.delete) if said != YES), "")
        return self.delete if self.write == YES and self.delete != YES else ""


def try_place(location: str) -> Tried:
    """Read a layer's first storage chunk; write a small file and delete it again, where files would go."""
    what, readable = reach(location)
    write, delete = _try_writing(full_url(location))
    if what == NOTHING:
        return Tried(what, "no", write, delete)
    return Tried(what, YES if readable else "no", write, delete)


def reach(location: str) -> tuple[str, bool]:
    """What lies at a place, and whether it could be read."""
    try:
        url = full_url(location)
        folder = Folder(url)
        if folder.get("info") is None:
            return (WORK, True) if next(iter(folder.list("ledger")), None) else (NOTHING, False)
        info = read_info(url)
        kind = kind_of(info, url)
        if kind in ("image", "segmentation"):
            return describe_volume(layer_at(url)), True
        return f"a layer of kind {kind}", True
    except ChunkflowError as error:
        return str(error), False
    except Exception as error:  # missing keys, refused connections: each client has errors of its own
        return f"{type(error).__name__}: {error}", False


def describe_volume(layer: VoxelsInfo) -> str:
    """One storage chunk is read, so that voxels too, not only the description, are known to be there."""
    size = " x ".join(str(n) for n in layer.bounds.size)
    corner = layer.bounds.clip(type(layer.bounds).of_size(layer.storage, layer.bounds.start))
    Volume(layer).read(corner)
    voxel = " x ".join(f"{v:g}" for v in layer.voxel_size)
    return f"{layer.kind} of {size} voxels of {voxel} nm, {layer.dtype}; a first chunk was read"


def _try_writing(url: str) -> tuple[str, str]:
    """Whether a file can be made there and deleted; nothing of it stays."""
    name = f"probe-{secrets.token_hex(8)}"
    try:
        folder = Folder(_existing(url))
        folder.put(name, b"")
    except Exception as error:
        return _said(error, name), "not tried"
    try:
        folder.discard([name])
        return YES, "it was deleted, and is still there" if folder.exists(name) else YES
    except Exception as error:
        return YES, f"{posixpath.join(folder.url, name)} stays: {_said(error, name)}"


def _existing(url: str) -> str:
    """On a disk the folder that is there already, so that none is made; a bucket has no folders."""
    if not url.startswith("file://"):
        return url
    path = Path(url.removeprefix("file://"))
    return f"file://{next(folder for folder in (path, *path.parents) if folder.is_dir())}"


def _said(error: Exception, name: str) -> str:
    """Without the number of the file, so that nodes which found the same say the same."""
    text = str(error) if isinstance(error, ChunkflowError) else f"{type(error).__name__}: {error}"
    return text.replace(name, "probe")
