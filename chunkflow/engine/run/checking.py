"""Check of what a job has made: all that its ledger answers for is there, and is what was written.

1. Of each finished cell the names of its files follow from the plan, and from the part that it left.
2. A part and what `prepare` decided carry their checksums; every other file counts into the digest of the
   cell's record. Where a cell writes storage chunks, these are read and compared only if the check is `deep`;
   else it is enough that they are there.
3. Deep, the voxels of every storage chunk are decoded as well.
4. A cell of which anything is missing or damaged may be done again (`repair`); nothing else is: what others
   made of it stays right, as it will write the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from chunkflow.data.checksums import digest_of, digest_of_all
from chunkflow.data.folder import Folder, side_by_side
from chunkflow.data.info import FolderInfo, TableInfo
from chunkflow.data.tables import table_file
from chunkflow.data.volume import Volume, voxel_files
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import DONE
from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.engine.planning.stages import Stage
from chunkflow.engine.run.outputs import documents_of, is_description
from chunkflow.engine.worker.parts import Parts
from chunkflow.errors import BadInput, DamagedInput

AT_ONCE = 256
"""Cells that are looked at together."""


@dataclass(frozen=True)
class Fault:
    """A file, or a chunk's files, that are missing or damaged."""

    task: str
    """The stage whose chunk wrote it; empty for the ledger, and for descriptions of layers."""
    index: int
    """The chunk; -1 where it is no chunk's."""
    said: str

    def __str__(self) -> str:
        return f"{self.task} chunk {self.index}: {self.said}" if self.task else self.said


@dataclass
class _Found:
    """Files of one cell, as far as they were found."""

    faults: list[str] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)

    def read(self, url: str, name: str) -> None:
        with Folder(url).opened(name) as file:
            if file is None:
                self.faults.append(f"{url}/{name} is missing.")
            else:
                self.digests.append(digest_of(name, file))


def faults_of(plan: Plan, ledger: Ledger, deep: bool = False) -> Iterator[Fault]:
    """All that is missing or damaged; nothing is changed."""
    yield from (Fault("", -1, said) for said in ledger.damaged)
    yield from (Fault("", -1, said) for said in _descriptions(plan, ledger))
    for stage in plan.stages:
        if stage.name in ledger.stages:
            indexes = ledger.stages[stage.name].indexes(DONE).tolist()
            yield from _faults_in(plan, ledger, stage, indexes, deep)


def faults_behind(plan: Plan, ledger: Ledger, failed: Mapping[int, Iterable[int]]) -> Iterator[Fault]:
    """What is missing or damaged of what failed cells read, by the indexes of stages; all of it is read."""
    for number, cells in _behind(plan, failed).items():
        stage = plan.stages[number]
        states = ledger.stages[stage.name].states
        yield from _faults_in(plan, ledger, stage, [cell for cell in cells if states[cell] == DONE], True)


def _behind(plan: Plan, failed: Mapping[int, Iterable[int]]) -> dict[int, list[int]]:
    """The cells that these wait for: of their own step all those before, of other steps the next ones."""
    found: dict[int, set[int]] = {}
    ahead = [(stage, cell) for stage, cells in failed.items() for cell in cells]
    while ahead:
        number, cell = ahead.pop()
        stage = plan.stages[number]
        for wait in stage.waits:
            other = plan.stages[wait.stage]
            i, j, k = (range(s.start, s.stop) for s in wait.needed(stage.grid.position(cell)))
            needed = {other.grid.index(position) for position in itertools.product(i, j, k)}
            fresh = needed - found.setdefault(wait.stage, set())
            found[wait.stage] |= fresh
            if other.step == stage.step:
                ahead += [(wait.stage, cell) for cell in fresh]
    return {number: sorted(cells) for number, cells in sorted(found.items())}


def _faults_in(
    plan: Plan, ledger: Ledger, stage: Stage, indexes: Sequence[int], deep: bool
) -> Iterator[Fault]:
    """The faults of some cells of a stage."""
    look = partial(_cell_faults, plan, stage, Parts(Folder(plan.work)), deep)
    for start in range(0, len(indexes), AT_ONCE):
        some = indexes[start : start + AT_ONCE]
        digests = ledger.stages[stage.name].digests[some].tolist()
        found = side_by_side(look, list(zip(some, digests, strict=True)))
        for index, faults in zip(some, found, strict=True):
            yield from (Fault(stage.name, index, said) for said in faults)


def mark_undone(ledger: Ledger, faults: Iterable[Fault]) -> int:
    """Record that the chunks whose files are missing or damaged are to be done again; returns how many there
    are. This process is the ledger's writer."""
    chunks: dict[str, set[int]] = {}
    for fault in faults:
        if fault.task:
            chunks.setdefault(fault.task, set()).add(fault.index)
    for task, indexes in chunks.items():
        ledger.record_undone(task, sorted(indexes))
    return sum(map(len, chunks.values()))


def _descriptions(plan: Plan, ledger: Ledger) -> Iterator[str]:
    """What is wrong with the descriptions of what was made: the next run writes them anew."""
    for url, name, document in documents_of(plan):
        if url in ledger.state.created:
            data = Folder(url).get(name)
            if data is None:
                yield f"{url}/{name} is missing."
            elif not is_description(data, document):
                yield f"{url}/{name} is damaged: it is not what was written."


def _cell_faults(plan: Plan, stage: Stage, parts: Parts, deep: bool, cell: tuple[int, int]) -> list[str]:
    """The faults of one cell, told by its index and its digest."""
    index, digest = cell
    step, found = plan.steps[stage.step], _Found()
    if stage.kind == "prepare":
        try:
            parts.values(stage.name)
        except DamagedInput as error:
            found.faults.append(str(error))
        return found.faults
    whole = _look_at_voxels(step, stage, index, found, deep)
    if step.leaves_parts:
        _look_at_part(step, stage, parts, index, found)
    if stage.kind == step.table_stage:
        for product in step.outputs.values():
            if isinstance(product.info, TableInfo):
                found.read(product.info.url, table_file(index))
    if whole and digest and not found.faults and digest_of_all(found.digests) != digest:
        made = ", ".join(sorted({product.info.url for product in step.outputs.values()}))
        found.faults.append(f"What this chunk wrote in {made} is damaged: its checksum is another.")
    return found.faults


def _look_at_voxels(step: Step, stage: Stage, index: int, found: _Found, deep: bool) -> bool:
    """Look at the storage chunks or shards of a cell; returns whether all of its voxels were read."""
    if stage.kind != "map":
        return True
    whole = True
    for _, product in step.layer_outputs:
        info, box = product.voxels, stage.grid.box(index)
        for name in voxel_files(info, box):
            if deep or info.sharded:
                found.read(info.url, name)
            elif not Folder(info.url).exists(name):
                found.faults.append(f"{info.url}/{name} is missing.")
        whole = whole and (deep or info.sharded)
        if deep and not found.faults:
            try:
                Volume(info).read(box)
            except DamagedInput as error:
                found.faults.append(str(error))
            except BadInput:  # its description is damaged, of which there is a fault already
                pass
    return whole


def _look_at_part(step: Step, stage: Stage, parts: Parts, index: int, found: _Found) -> None:
    """Look at a part, and at the files that it names."""
    try:
        files = parts.checked(stage.name, index)
    except DamagedInput as error:
        found.faults.append(str(error))
        return
    folders = [product.info.url for product in step.outputs.values() if isinstance(product.info, FolderInfo)]
    for name in files:
        there = [url for url in folders if len(folders) == 1 or Folder(url).exists(name)]
        for url in there:
            found.read(url, name)
        if not there:
            found.faults.append(f"{name} is missing in {' and '.join(folders)}.")
