"""Status of a job from its ledger: each stage's chunks, rate and time left, and the cost."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chunkflow.engine.cost.accounts import dollars_of, read_accounts
from chunkflow.engine.ledger.heartbeat import FENCE_HEARTBEATS
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import DONE, FAILED, Failure, StageRecord, State
from chunkflow.errors import Incomplete, Interrupted, StorageError
from chunkflow.geometry import Vec
from chunkflow.jobs.budget import OVER_BUDGET
from chunkflow.words import counted, dollars, html_table, in_words, plain, text_table

RECENT_HEARTBEATS = 6
LOOK_SECONDS = 2.0
"""How often a work folder is looked at in which there is no run."""
WIDEST = 64
SHADES = " ░▒▓█"


def alive(state: State) -> bool:
    """Whether a run has given a sign of life of late, if its machine's clock is as this one's."""
    if state.job is None:
        return False
    heartbeat = state.job.plan.job.heartbeat
    return state.ended is None and time.time() - state.last_heartbeat < RECENT_HEARTBEATS * heartbeat


class Followed:
    """The ledger of a work folder, and whether a run goes on, as seen from here.

    Each segment is a sign of life. When it was heard is told by this machine's clock, as that of the run's
    machine may be another.
    """

    def __init__(self, ledger: Ledger, heard: bool = False) -> None:
        """`heard` where a run that has not ended is thought to go on until it was silent for long enough."""
        self._ledger = ledger
        self._segments = ledger.segments
        self._heard = time.monotonic() if heard else float("-inf")

    @property
    def state(self) -> State:
        return self._ledger.state

    def look(self) -> bool:
        """Read on; whether there was a heartbeat of the runner. Storage that does not answer says nothing."""
        try:
            self._ledger.refresh()
        except StorageError:
            return False
        if self._ledger.segments == self._segments:
            return False
        self._segments, self._heard = self._ledger.segments, time.monotonic()
        return True

    @property
    def goes_on(self) -> bool:
        """Whether a run has given signs of life of late and has not ended."""
        return self.state.ended is None and time.monotonic() - self._heard < FENCE_HEARTBEATS * self.heartbeat

    @property
    def is_on(self) -> bool:
        """Whether it has also recorded its job, so that its chunks can be worked on."""
        return self.state.begun == len(self.state.runs) > 0 and self.goes_on

    @property
    def heartbeat(self) -> float:
        """Seconds between the runner's signs of life."""
        return self.state.job.plan.job.heartbeat if self.state.job else LOOK_SECONDS


@dataclass(frozen=True)
class StageStatus:
    """Progress of a stage: how many of its chunks are done, and how fast it goes on."""

    name: str
    chunks: int
    done: int
    empty: int
    """Those of the done that hold nothing."""
    running: int
    failed: int
    waiting: int
    """Those that have not begun; once a job ended incomplete, they are blocked by those that failed."""
    rate: float
    """Chunks a second over the last minutes; 0 where too little is known."""
    left: float | None
    """Seconds that the rest takes at this rate, while a run lasts."""
    failures: tuple[Failure, ...]
    picture: str
    """The grid seen along z, a character for each column of chunks; empty for a stage that has no grid."""

    @classmethod
    def of(cls, stage: StageRecord, state: State) -> StageStatus:
        assert state.job is not None
        rate, rest = state.rate(stage.name), stage.cells - stage.done - stage.failed
        # merges have grids of their own, which show nothing that the chunks do not
        grid = None if "." in stage.name else state.job.grids.get(stage.name)
        return cls(
            name=stage.name,
            chunks=stage.cells,
            done=stage.done,
            empty=stage.empty,
            running=stage.running,
            failed=stage.failed,
            waiting=max(rest - stage.running, 0),
            rate=rate,
            left=rest / rate if rate and rest and state.ended is None else None,
            failures=tuple(stage.failures.values()),
            picture=_picture(stage.states, grid) if grid and stage.cells > 1 else "",
        )

    def row(self) -> list[str]:
        """The row of a table, under `Status.head`."""
        return [
            self.name,
            f"{self.chunks:,}",
            f"{self.done:,}",
            f"{self.running:,}" if self.running else "",
            f"{self.waiting:,}" if self.chunks > self.done + self.failed else "",
            f"{self.failed:,}" if self.failed else "",
            f"{self.rate:,.1f}/s" if self.rate else "",
            in_words(self.left) if self.left is not None else "",
        ]


@dataclass(frozen=True)
class FailedChunk:
    """A chunk that failed in its last attempt."""

    task: str
    index: int
    outcome: str
    """The cause, and what became of the chunk, in words."""
    traceback: str


@dataclass(frozen=True, repr=False)
class Status:
    """Status of a job: its stages by name, how it stands, its cost; in a notebook a table."""

    name: str
    standing: str
    """Whether it runs, and since when it does not, in words."""
    ended: str | None
    """How its last run ended; None while one runs, or where it was killed."""
    alive: bool
    cost: float | None
    """Dollars that all runs have cost, where anything was paid."""
    stages: dict[str, StageStatus]
    warnings: dict[str, str]
    """By task, a sentence on what it decided for itself and should be looked at."""

    @classmethod
    def of(cls, state: State) -> Status:
        """The status of the job that a ledger's state tells of."""
        assert state.job is not None
        job = state.job.plan.job
        accounts = read_accounts(job.work)
        paid = any(account.spent for account in accounts)
        return cls(
            name=job.name,
            standing=_standing(state),
            ended=state.ended,
            alive=alive(state),
            cost=dollars_of(accounts) if paid else None,
            stages={name: StageStatus.of(stage, state) for name, stage in state.stages.items()},
            warnings=warnings_of(state),
        )

    @property
    def failures(self) -> list[FailedChunk]:
        """The chunks that failed, of all tasks."""
        return [
            FailedChunk(stage.name, failure.index, _outcome(failure), failure.traceback.rstrip())
            for stage in self.stages.values()
            for failure in stage.failures
        ]

    def complete(self, url: str) -> Status:
        """The status itself; Interrupted or Incomplete where the job in the work folder is not complete."""
        if self.ended is None or self.ended == "interrupted":
            raise Interrupted(f"The run in {plain(url)} did not finish: {self.standing}.")
        if self.ended == OVER_BUDGET:
            done = sum(stage.done for stage in self.stages.values())
            chunks = sum(stage.chunks for stage in self.stages.values())
            raise Incomplete(
                f"The budget ended the run in {plain(url)}: {done:,} of {chunks:,} chunks are done, and "
                f"{dollars(self.cost or 0)} was spent. Go on with another budget, or with prices for all "
                f"devices: chunkflow retry {plain(url)}"
            )
        if self.ended != "complete":
            raise Incomplete(f"The job in {plain(url)} is {self.ended}: {self._lacking(url)}.")
        return self

    def _lacking(self, url: str) -> str:
        """What keeps the job from being complete, in words: where none failed, a check found chunks that are
        to be done again."""
        failed = sum(stage.failed for stage in self.stages.values())
        if failed:
            return f"{counted(failed, 'chunk')} failed"
        left = sum(stage.chunks - stage.done for stage in self.stages.values())
        return f"{counted(left, 'chunk')} to be done again: chunkflow retry {plain(url)}"

    @property
    def title(self) -> str:
        """The job, how it stands, and what it cost, in a line."""
        cost = f"; {dollars(self.cost)} spent" if self.cost is not None else ""
        return f"{self.name}: {self.standing}{cost}"

    @property
    def said(self) -> list[str]:
        """The warnings, a line each."""
        return [f"{task}: {warning}" for task, warning in self.warnings.items()]

    @property
    def head(self) -> list[str]:
        """The names of a row's columns; behind what failed nothing waits any more."""
        failed = any(stage.failed for stage in self.stages.values())
        rest = "blocked" if failed and self.ended == "incomplete" else "waiting"
        return ["task", "chunks", "done", "running", rest, "failed", "rate", "left"]

    def __repr__(self) -> str:
        table = text_table(self.head, (stage.row() for stage in self.stages.values()))
        return "\n".join([self.title, table, *self.said])

    def _repr_html_(self) -> str:
        table = html_table(self.head, (stage.row() for stage in self.stages.values()))
        bad = ' style="color:#c00000"' if any(stage.failed for stage in self.stages.values()) else ""
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self.said)
        return f"<p{bad}>{html.escape(self.title)}</p>{table}{said}"


def warnings_of(state: State) -> dict[str, str]:
    """By task, what it decided for itself and should be looked at, as a sentence."""
    found = {
        name.removesuffix(".prepare"): stage.prepared.get("warning", "")
        for name, stage in state.stages.items()
        if stage.prepared
    }
    return {name: f"{warning.rstrip('.')}." for name, warning in found.items() if warning}


def _outcome(failure: Failure) -> str:
    then = "set aside" if failure.final else "to be tried again"
    return f"{failure.cause}, {then} after attempt {failure.attempt}"


def _standing(state: State) -> str:
    ago = in_words(max(time.time() - state.last_heartbeat, 0))
    if state.ended is not None:
        return f"{state.ended}, {ago} ago"
    if alive(state):
        return f"running, last heard of {ago} ago"
    return f"no sign of life for {ago}: the run was killed, or its machine is gone (chunkflow retry)"


def _picture(states: npt.NDArray[np.uint8], shape: Vec) -> str:
    """A character for each column of chunks: how much of it is done; ! where one failed."""
    grid = states.reshape(shape, order="F")
    step = -(-max(grid.shape[0], grid.shape[1]) // WIDEST)
    lines = []
    for j in range(0, grid.shape[1], step):
        blocks = (grid[i : i + step, j : j + step] for i in range(0, grid.shape[0], step))
        lines.append("".join(map(_shade, blocks)))
    return "\n".join(lines)


def _shade(block: npt.NDArray[np.uint8]) -> str:
    if (block == FAILED).any():
        return "!"
    share = float((block == DONE).mean())
    return SHADES[int(share * (len(SHADES) - 1))] if share else "·"
