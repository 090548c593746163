"""A look at one finished cell: all files that it wrote are there, and are what it wrote.

1. A part, and what `prepare` decided, carry their checksums, and are read always.
2. Every other file counts into the digest of the cell's record. They are read where all of them are, and else
   only looked for: storage chunks, and what was written with them, are read by a deep look alone.
3. Where they do not add up to the digest, or there is none, storage chunks are decoded one by one.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from chunkflow.data.checksums import digest_of, digest_of_all
from chunkflow.data.folder import Folder
from chunkflow.data.info import FolderInfo, TableInfo, VoxelsInfo
from chunkflow.data.tables import table_file
from chunkflow.data.volume import Volume, voxel_files
from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.worker.parts import UNTOLD, Files, Parts, values_file
from chunkflow.errors import BadInput, DamagedInput, StorageError
from chunkflow.geometry import Box, Grid

_UNREADABLE = (errno.EIO, errno.EACCES, errno.EISDIR)
"""What a disk says of one file; whatever else storage says is said of all."""


@contextmanager
def noting(faults: list[str], place: str) -> Iterator[None]:
    """Add to the faults what is damaged, and what its disk cannot read. A store that does not answer is no
    fault of one file."""
    try:
        yield
    except DamagedInput as error:
        faults.append(str(error))
    except (StorageError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _UNREADABLE:
            raise
        faults.append(f"{place} cannot be read: {os.strerror(cause.errno)}.")


@dataclass
class _Found:
    """Files of one cell, as far as they were found; without `reads` they are only looked for."""

    reads: bool
    faults: list[str] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)
    certain: bool = True
    """Whether it is known that these are all files of the cell, and of no other."""

    def look_at(self, url: str, name: str) -> None:
        with noting(self.faults, f"{url}/{name}"):
            if not self.reads:
                if not Folder(url).exists(name):
                    self.faults.append(f"{url}/{name} is missing.")
                return
            with Folder(url).opened(name) as file:
                if file is None:
                    self.faults.append(f"{url}/{name} is missing.")
                else:
                    self.digests.append(digest_of(name, file))


class CellLook:
    """Looks at the cells of one plan, from several threads; a layer is opened once."""

    def __init__(self, plan: Plan, deep: bool = False) -> None:
        self.plan = plan
        self._deep = deep
        self._parts = Parts(Folder(plan.work))
        self._volumes: dict[tuple[str, int], Volume] = {}
        self._lock = threading.Lock()

    def part(self, stage: Stage, index: int, digest: int = 0) -> list[str]:
        """The faults of what a cell left for other cells of its step."""
        faults: list[str] = []
        if stage.kind == "prepare":
            with noting(faults, f"{self.plan.work}/{values_file(stage.name)}"):
                self._parts.values(stage.name)
        elif self.plan.steps[stage.step].leaves_parts:
            with noting(faults, self._parts.place(stage.name, index)):
                self._parts.checked(stage.name, index)
        return faults

    def cell(self, stage: Stage, index: int, digest: int) -> list[str]:
        """The faults of all that a cell left; `digest` is that of its record, 0 where it has none."""
        if stage.kind == "prepare":
            return self.part(stage, index)
        step, box = self.plan.steps[stage.step], stage.grid.box(index)
        layers = [product.voxels for _, product in step.layer_outputs] if stage.kind == "map" else []
        found = _Found(self._deep or (digest > 0 and all(info.sharded for info in layers)))
        for info in layers:
            for name in voxel_files(info, box):
                found.look_at(info.url, name)
        if step.leaves_parts:
            self._look_at_part(step, stage, index, found)
        if stage.kind == step.table_stage:
            for product in step.outputs.values():
                if isinstance(product.info, TableInfo):
                    found.look_at(product.info.url, table_file(index))
        if found.reads and not found.faults:
            self._compare(step, layers, box, digest, found)
        return found.faults

    def _look_at_part(self, step: Step, stage: Stage, index: int, found: _Found) -> None:
        """Look at a part, and at the files that it names."""
        files: Files = {}
        with noting(found.faults, self._parts.place(stage.name, index)):
            files = self._parts.checked(stage.name, index)
        outputs = {n: p.info.url for n, p in step.outputs.items() if isinstance(p.info, FolderInfo)}
        for output, url in outputs.items():
            for name in files.get(output, ()):
                found.look_at(url, name)
        for name, count in Counter(files.get(UNTOLD, ())).items():
            self._look_in(list(outputs.values()), name, count, found)

    def _look_in(self, folders: list[str], name: str, count: int, found: _Found) -> None:
        """Look at a file of which it is not told in which of the folders it lies, but in how many."""
        there = [url for url in folders if len(folders) == 1 or Folder(url).exists(name)]
        for url in there:
            found.look_at(url, name)
        if not there:
            found.faults.append(f"{name} is missing in {' and '.join(folders)}.")
        found.certain = found.certain and len(there) == count

    def _compare(self, step: Step, layers: list[VoxelsInfo], box: Box, digest: int, found: _Found) -> None:
        """Hold all files of a cell against the digest of its record, and name what is wrong, if it can be."""
        if digest and (digest_of_all(found.digests) == digest or not found.certain):
            return
        for info in layers:
            self._decode(info, box, found)
        if digest and not found.faults:
            made = ", ".join(sorted({product.info.url for product in step.outputs.values()}))
            found.faults.append(f"What this chunk wrote in {made} is damaged: its checksum does not match.")

    def _decode(self, info: VoxelsInfo, box: Box, found: _Found) -> None:
        """Decode the storage chunks in a box, one at a time."""
        try:
            volume = self._volume(info)
        except BadInput:  # its description is damaged, of which there is a fault already
            return
        grid = Grid.chunks(info.bounds, info.storage)
        for index in grid.indexes_meeting(box):
            with noting(found.faults, info.url), self._lock if info.sharded else nullcontext():
                volume.read(grid.box(index))

    def _volume(self, info: VoxelsInfo) -> Volume:
        with self._lock:
            if (info.url, info.mip) not in self._volumes:
                self._volumes[info.url, info.mip] = Volume(info)
            return self._volumes[info.url, info.mip]
