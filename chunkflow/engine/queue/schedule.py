"""The pure scheduler: which cells of which stage are ready, as others are done.

For each cell it keeps one byte of state and how many cells it still waits for; a cell that is done lowers
the counts of those that wait for it. Later stages go first, so that what has begun is finished and little
lies half-made. Cells are taken for one kind of worker at a time: those for GPUs hold up none for cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

from chunkflow.engine.planning.stages import Stage, Wait
from chunkflow.engine.queue.cells import Range

WAITING, READY, LEASED, DONE, FAILED = range(5)
STATE_NAMES = ("waiting", "ready", "running", "done", "failed")
MANY = 1000


class _StageState:
    """What is known of one stage's cells; arrays are indexed x, y, z and lie x fastest."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        shape = stage.grid.shape
        self.state = np.zeros(shape, np.uint8, order="F")
        self.empty = np.zeros(shape, bool, order="F")
        missing = np.zeros(shape, np.int32, order="F")
        for wait in stage.waits:
            missing += wait.counts()
        self.missing = missing.astype(np.min_scalar_type(int(missing.max(initial=0))))  # most take a byte
        self.flat_missing = self.missing.reshape(-1, order="F")
        self.flat = self.state.reshape(-1, order="F")
        self.flat_empty = self.empty.reshape(-1, order="F")
        self.at_start: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self.cursor = 0
        self.fresh: deque[int] = deque()

    def ready(self) -> Iterator[int]:
        """Takes ready cells, in order of the grid; a cell that became ready later comes first.

        A cell that was answered for after it had been given back is in here and yet done: it is passed over.
        """
        while self.fresh:
            cell = self.fresh.popleft()
            if self.flat[cell] == READY:
                yield cell
        while self.cursor < len(self.at_start):
            cell = int(self.at_start[self.cursor])
            self.cursor += 1
            if self.flat[cell] == READY:
                yield cell

    def free(self, cells: npt.NDArray[np.int64]) -> None:
        """Cells are ready now. Many at once are kept as an array, which takes a tenth of the memory."""
        if len(cells) < MANY:
            self.fresh.extend(cells.tolist())
            return
        left = self.at_start[self.cursor :]
        self.at_start, self.cursor = np.sort(np.concatenate([left, cells.astype(np.int32)])), 0


class Schedule:
    """All cells of all stages of a job."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = [_StageState(stage) for stage in stages]
        self._followers: list[list[tuple[int, Wait]]] = [[] for _ in stages]
        for index, stage in enumerate(stages):
            for wait in stage.waits:
                self._followers[wait.stage].append((index, wait))
        self._by_kind: dict[int, list[int]] = {}  # the stages of each kind of worker, later ones first
        for index in reversed(range(len(stages))):
            self._by_kind.setdefault(stages[index].worker_kind, []).append(index)
        self.counts = np.zeros((len(stages), len(STATE_NAMES)), np.int64)
        for index, stage in enumerate(stages):
            self.counts[index, WAITING] = len(stage.grid)

    def resume(self, done: Sequence[npt.NDArray[np.bool_]], empty: Sequence[npt.NDArray[np.bool_]]) -> None:
        """Start from what a ledger knows: flat arrays by stage. Call once, before anything is taken."""
        for index, known in enumerate(self._stages):
            known.flat[:] = np.where(done[index], DONE, WAITING)
            known.flat_empty[:] = empty[index]
            if not done[index].any():
                continue
            for follower, wait in self._followers[index]:
                self._discount_all(known, self._stages[follower], wait)
        self.begin()

    @staticmethod
    def _discount_all(known: _StageState, follower: _StageState, wait: Wait) -> None:
        """Lower the follower's counts by what is done already, by sums over cuboids (integral image)."""
        total = np.zeros(tuple(n + 1 for n in known.state.shape), np.int32)
        inner = total[1:, 1:, 1:]
        inner[:] = known.state == DONE
        for axis in range(3):
            np.cumsum(inner, axis, out=inner)
        for axis in range(3):
            high, low = wait.high[axis], wait.low[axis]
            total = np.take(total, high, axis) - np.take(total, low, axis)
        follower.missing -= total.astype(follower.missing.dtype)

    def begin(self) -> None:
        """Find what is ready at the start."""
        for index, known in enumerate(self._stages):
            ready = (known.flat_missing == 0) & (known.flat == WAITING)
            known.at_start = np.flatnonzero(ready).astype(np.int32)
            known.cursor = 0
            known.flat[ready] = READY
            self.counts[index] = np.bincount(known.flat, minlength=len(STATE_NAMES))

    def take(self, most: int, worker_kind: int = 0) -> list[Range]:
        """Up to `most` ready cells for workers of one kind, as ranges; they count as leased until done,
        failed or given back."""
        taken: list[Range] = []
        for index in self._by_kind.get(worker_kind, ()):
            known = self._stages[index]
            if most <= 0:
                break
            count = min(most, int(self.counts[index, READY]))
            if count:
                cells = np.fromiter(islice(known.ready(), count), np.int64, count)
                taken += self._lease(index, cells)
                most -= count
        return taken

    def ready(self, worker_kind: int = 0) -> int:
        """How many cells are ready for workers of one kind."""
        return sum(int(self.counts[index, READY]) for index in self._by_kind.get(worker_kind, ()))

    def _lease(self, index: int, cells: npt.NDArray[np.int64]) -> list[Range]:
        known = self._stages[index]
        known.flat[cells] = LEASED
        self.counts[index, READY] -= len(cells)
        self.counts[index, LEASED] += len(cells)
        skips = self._skips(known, cells)
        breaks = np.flatnonzero((np.diff(cells) != 1) | (np.diff(skips.astype(np.int8)) != 0)) + 1
        edges = [0, *breaks.tolist(), len(cells)]
        kind = known.stage.worker_kind
        return [
            Range(index, int(cells[a]), int(cells[b - 1]) + 1, bool(skips[a]), worker_kind=kind)
            for a, b in pairwise(edges)
        ]

    def _skips(self, known: _StageState, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these cells have nothing to do, as all that spares them is empty."""
        skips = np.zeros(len(cells), bool)
        sparing = [wait for wait in known.stage.waits if wait.sparing]
        for wait in sparing:
            source = self._stages[wait.stage]
            if not source.flat_empty.any():
                continue
            for place, cell in enumerate(cells.tolist()):
                needed = source.empty[wait.needed(known.stage.grid.position(cell))]
                skips[place] = bool(needed.size) and bool(needed.all())
        return skips

    def done(self, stage: int, cell: int, empty: bool = False) -> bool:
        """Record that a cell is done; says whether that is news."""
        known = self._stages[stage]
        if known.flat[cell] == DONE:
            return False
        self._move(stage, cell, DONE)
        if empty:
            known.flat_empty[cell] = True
        for follower, wait in self._followers[stage]:
            self._discount(follower, wait.waiting(known.stage.grid.position(cell)))
        return True

    def _discount(self, index: int, waiting: tuple[slice, slice, slice]) -> None:
        """One of those that these cells of a stage wait for is done."""
        known = self._stages[index]
        x, y, z = waiting
        if (x.stop - x.start, y.stop - y.start, z.stop - z.start) == (1, 1, 1):  # most are such: be quick
            nx, ny, _ = known.stage.grid.shape
            cell = x.start + nx * (y.start + ny * z.start)
            known.flat_missing[cell] -= 1
            if known.flat_missing[cell] == 0 and known.flat[cell] == WAITING:
                self._move(index, cell, READY)
                known.fresh.append(cell)
            return
        missing = known.missing[x, y, z]
        missing -= 1
        if missing.size and not missing.all():
            self._free(index, (x.start, y.start, z.start), np.argwhere(missing == 0))

    def _free(self, index: int, origin: tuple[int, int, int], places: npt.NDArray[np.int64]) -> None:
        known = self._stages[index]
        nx, ny, _ = known.stage.grid.shape
        x, y, z = (places + origin).T
        cells = np.sort(x + nx * (y + ny * z))
        cells = cells[known.flat[cells] == WAITING]
        known.flat[cells] = READY
        self.counts[index, WAITING] -= len(cells)
        self.counts[index, READY] += len(cells)
        known.free(cells)

    def failed(self, stage: int, cell: int) -> None:
        """Set a cell aside; those that wait for it stay waiting."""
        self._move(stage, cell, FAILED)

    def give_back(self, lease: Range) -> None:
        """Leased cells that nobody works on any more are ready again."""
        known = self._stages[lease.stage]
        for cell in range(lease.stop - 1, lease.start - 1, -1):
            if known.flat[cell] == LEASED:
                self._move(lease.stage, cell, READY)
                known.fresh.appendleft(cell)

    def lease_again(self, stage: int, cell: int, alone: bool) -> Range:
        """The lease of one cell that is leased already, for another attempt."""
        known = self._stages[stage]
        skip = bool(self._skips(known, np.array([cell]))[0])
        return Range(stage, cell, cell + 1, skip, alone, known.stage.worker_kind)

    def state_of(self, stage: int, cell: int) -> int:
        return int(self._stages[stage].flat[cell])

    def states(self, stage: int) -> npt.NDArray[np.uint8]:
        """The states of a stage's cells, indexed x, y, z."""
        return self._stages[stage].state

    def _move(self, stage: int, cell: int, state: int) -> None:
        known = self._stages[stage]
        self.counts[stage, known.flat[cell]] -= 1
        self.counts[stage, state] += 1
        known.flat[cell] = state

    @property
    def ready_count(self) -> int:
        return int(self.counts[:, READY].sum())

    @property
    def leased_count(self) -> int:
        return int(self.counts[:, LEASED].sum())

    @property
    def complete(self) -> bool:
        return int(self.counts[:, DONE].sum()) == int(self.counts.sum())
