"""Check of what a job has made: all that its ledger answers for is there, and is what was written.

1. Of each finished cell the names of its files follow from the plan, and from the part that it left.
2. A cell of which anything is missing or damaged may be done again (`repair`); nothing else is: what others
   made of it stays right, as it will write the same.
3. Where a cell failed as what it read was damaged, only what it read is looked at: first what its own step
   left for it, and then what other steps wrote.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from chunkflow.data.folder import Folder, side_by_side
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import DONE
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.planning.stages import Stage, Wait
from chunkflow.engine.run.cell_look import CellLook, noting
from chunkflow.engine.run.outputs import agrees, documents_of
from chunkflow.shapes import SentRows

AT_ONCE = 256
"""Cells that are looked at together."""
HELD_BYTES = 2**31
"""Fewer where the files that are held of them would take more."""

Cells = dict[int, list[int]]
"""Cells by the index of their stage."""


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


def faults_of(plan: Plan, ledger: Ledger, deep: bool = False) -> Iterator[Fault]:
    """All that is missing or damaged; nothing is changed."""
    yield from (Fault("", -1, said) for said in ledger.damaged)
    yield from (Fault("", -1, said) for said in _descriptions(plan, ledger))
    look = CellLook(plan, deep).cell
    for stage in plan.stages:
        if stage.name in ledger.stages:
            indexes = ledger.stages[stage.name].indexes(DONE).tolist()
            yield from _faults_in(plan, ledger, stage, indexes, look)


def faults_behind(plan: Plan, ledger: Ledger, failed: Mapping[int, Iterable[int]]) -> Iterator[Fault]:
    """What is missing or damaged of what failed cells read, by the indexes of stages."""
    look = CellLook(plan, deep=True)
    for number, some in failed.items():
        cells = list(some)
        own = _all_faults(plan, ledger, _before_in_step(plan, number, cells), look.part)
        if first := next(own, None):
            yield first
            yield from own
        else:
            yield from _all_faults(plan, ledger, _read_of_others(plan, number, cells), look.cell)


def _before_in_step(plan: Plan, number: int, cells: Iterable[int]) -> Cells:
    """The cells of the same step, near and far, whose parts these cells of a stage may read."""
    step = plan.stages[number].step
    found: dict[int, set[int]] = {}
    ahead = {number: set(cells)}
    while ahead:
        at, some = ahead.popitem()
        waits = [w for w in plan.stages[at].waits if w.stage != at and plan.stages[w.stage].step == step]
        for other, needed in _needed(plan.stages[at], some, waits, plan).items():
            fresh = needed - found.setdefault(other, set())
            found[other] |= fresh
            if fresh:
                ahead.setdefault(other, set()).update(fresh)
    return {other: sorted(needed) for other, needed in sorted(found.items())}


def _read_of_others(plan: Plan, number: int, cells: Iterable[int]) -> Cells:
    """The cells of other steps whose layers and tables these cells of a stage read. Beside `prepare` and
    `map` only the finish of rows that are sent row by row reads any: what the maps over its box do."""
    stage = plan.stages[number]
    shape = plan.steps[stage.step].shape
    if stage.kind == "finish" and isinstance(shape, SentRows) and shape.row_by_row:
        boxes = [stage.grid.box(cell) for cell in cells]
        stage = plan.stages[plan.stages_of(stage.step, "map")[0]]
        cells = {cell for box in boxes for cell in stage.grid.indexes_meeting(box)}
    elif stage.kind not in ("prepare", "map"):
        return {}
    waits = [wait for wait in stage.waits if plan.stages[wait.stage].step != stage.step]
    found = _needed(stage, cells, waits, plan)
    return {other: sorted(needed) for other, needed in sorted(found.items())}


def _needed(stage: Stage, cells: Iterable[int], waits: Iterable[Wait], plan: Plan) -> dict[int, set[int]]:
    """What cells of a stage wait for; the same range is gone through once, however many wait for it."""
    positions = [stage.grid.position(cell) for cell in cells]
    found: dict[int, set[int]] = {}
    for wait in waits:
        grid = plan.stages[wait.stage].grid
        ranges = {tuple(range(s.start, s.stop) for s in wait.needed(position)) for position in positions}
        needed = (grid.index((i, j, k)) for x, y, z in ranges for i, j, k in itertools.product(x, y, z))
        found.setdefault(wait.stage, set()).update(needed)
    return found


def _all_faults(
    plan: Plan, ledger: Ledger, cells: Cells, look: Callable[[Stage, int, int], list[str]]
) -> Iterator[Fault]:
    """The faults of cells of several stages, of those that are done."""
    for number, some in cells.items():
        stage = plan.stages[number]
        if (record := ledger.stages.get(stage.name)) is not None:
            done = [cell for cell in some if record.states[cell] == DONE]
            yield from _faults_in(plan, ledger, stage, done, look)


def _faults_in(
    plan: Plan,
    ledger: Ledger,
    stage: Stage,
    indexes: Sequence[int],
    look: Callable[[Stage, int, int], list[str]],
) -> Iterator[Fault]:
    """The faults of some cells of a stage, each told by its index and its digest."""
    digests, together = ledger.stages[stage.name].digests, _cells_at_once(plan, stage)
    for start in range(0, len(indexes), together):
        some = indexes[start : start + together]
        found = side_by_side(lambda index: look(stage, index, int(digests[index])), some)
        for index, faults in zip(some, found, strict=True):
            yield from (Fault(stage.name, index, said) for said in faults)


def _cells_at_once(plan: Plan, stage: Stage) -> int:
    """How many cells may be looked at together: of each a file is held, if it lies in a store, or one storage
    chunk, once it is decoded."""
    made = plan.steps[stage.step].layer_outputs if stage.kind == "map" else []
    layers = [product.voxels for _, product in made]
    sizes = [prod(i.write_block if i.compressed else i.storage) * i.bytes_per_voxel for i in layers]
    return min(AT_ONCE, max(HELD_BYTES // max(sizes, default=1), 1))


def repair(ledger: Ledger, plan: Callable[[], Plan], deep: bool = False) -> tuple[tuple[Fault, ...], int]:
    """Let what is missing or damaged be made again by the next run: the faults, and how many chunks it will
    do again. This process is the ledger's writer, and `plan` tells what the job is by now.

    It was no run of the job, so how the last one ended stays on record; one that was killed was interrupted.
    """
    before = ledger.state.runs[-2][4] if len(ledger.state.runs) > 1 else None
    again = 0
    try:
        known = plan()
        faults = tuple(faults_of(known, ledger, deep))
        again = mark_undone(ledger, faults)
        ledger.flush(now=True)
        if before == "complete":  # also what was lost with the ledger's own files
            records = [ledger.stages[stage.name] for stage in known.stages if stage.name in ledger.stages]
            again = sum(record.cells - record.done for record in records)
        ledger.mend()
        return faults, again
    finally:
        ended = "incomplete" if again and before == "complete" else before
        ledger.record_ended(ended or "interrupted")


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


def _descriptions(plan: Plan, ledger: Ledger) -> list[str]:
    """What is wrong with the descriptions of what was made: the next run writes them anew."""
    faults: list[str] = []
    for url, name, document in documents_of(plan):
        if url not in ledger.state.created:
            continue
        with noting(faults, f"{url}/{name}"):
            data = Folder(url).get(name)
            if data is None:
                faults.append(f"{url}/{name} is missing; the next run writes it anew.")
            elif not agrees(name, data, document):
                faults.append(
                    f"{url}/{name} is damaged: it is not what was written; the next run writes it anew."
                )
    return faults
