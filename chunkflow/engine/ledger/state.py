"""The state that the records of a ledger add up to, in a few bytes a cell.

A record is plain JSON. Consecutive indexes are packed into pairs: [3, [7, 10]] means 3, 7, 8, 9. The same
records in the same order always give the same state, whether they are applied as they are written or when
they are loaded. On disk a stage is a `step` and its cells are `units`, as in the first ledgers.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chunkflow.engine.ledger.packing import unpack_digests, unpack_indexes
from chunkflow.engine.ledger.record import JobRecord
from chunkflow.engine.ledger.segment import LedgerSegment, Record
from chunkflow.errors import BadInput

UNKNOWN, DONE, FAILED = 0, 1, 2
KEPT_FAILURES = 1000
KEPT_WORKERS = 10_000
_TIMES = ("read", "map", "write")
_ARRAYS = ("states", "attempts", "empties", "digests")
_OF_STAGES = ("done", "failed", "retried", "undone", "again", "prepared")
"""Kinds of records that speak of a stage that is there."""
_ON_DISK = {"last_heartbeat": "heard", "cells": "units"}
"""Fields whose names in a snapshot are those of the first ledgers."""


@dataclass
class Failure:
    """The last failed attempt of one cell."""

    index: int
    attempt: int
    cause: str
    traceback: str
    worker: str
    final: bool


@dataclass
class StageRecord:
    """The cells of one stage and what they took."""

    name: str
    cells: int
    states: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8), repr=False)
    attempts: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8), repr=False)
    empties: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_), repr=False)
    digests: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32), repr=False)
    """Of the files that each cell wrote, but for its part; 0 where that is not known, as in older ledgers."""
    done: int = 0
    failed: int = 0
    empty: int = 0
    repeats: int = 0  # cells that were done once more
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_TIMES, 0.0))
    slowest: float = 0.0  # seconds of map
    bytes_in: int = 0
    bytes_out: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)  # what map counted, over all cells
    failures: dict[int, Failure] = field(default_factory=dict)  # of at most KEPT_FAILURES cells
    workers: dict[str, list[float]] = field(default_factory=dict)
    """The last KEPT_WORKERS that did a cell: name -> [cells, seconds], the latest last."""
    running: int = 0
    prepared: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.states.size != self.cells:
            self.states = np.zeros(self.cells, np.uint8)
            self.attempts = np.zeros(self.cells, np.uint8)
            self.empties = np.zeros(self.cells, np.bool_)
        if self.digests.size != self.cells:
            self.digests = np.zeros(self.cells, np.uint32)

    @property
    def is_complete(self) -> bool:
        return self.done == self.cells

    def indexes(self, state: int) -> NDArray[np.int64]:
        """The cells that are UNKNOWN, DONE or FAILED."""
        return np.flatnonzero(self.states == state)

    def apply_done(self, record: Record) -> None:
        indexes = unpack_indexes(record["index"])
        fresh = np.unique(indexes[self.states[indexes] != DONE])
        self.repeats += len(indexes) - len(fresh)
        self.failed -= int(np.count_nonzero(self.states[fresh] == FAILED))
        self.done += len(fresh)
        self.states[indexes] = DONE
        self.attempts[indexes] = 1
        for attempt, among in record["attempts"]:
            self.attempts[unpack_indexes(among)] = attempt
        self.digests[indexes] = unpack_digests(record["digests"]) if record.get("digests") else 0
        empty = unpack_indexes(record["empty"])
        self.empty -= int(np.count_nonzero(self.empties[np.unique(indexes)]))
        self.empties[indexes] = False
        self.empties[empty] = True
        self.empty += len(np.unique(empty))
        for index in indexes if self.failures else ():
            self.failures.pop(int(index), None)
        for name, seconds in zip(_TIMES, record["seconds"], strict=True):
            self.seconds[name] += seconds
        self.slowest = max(self.slowest, record["slowest"])
        self.bytes_in += record["bytes"][0]
        self.bytes_out += record["bytes"][1]
        self.counts.update(record["counts"])
        for worker, (cells, took) in record["workers"].items():
            before = self.workers.pop(worker, [0, 0.0])
            self.workers[worker] = [before[0] + cells, before[1] + took]
        while len(self.workers) > KEPT_WORKERS:
            del self.workers[next(iter(self.workers))]

    def apply_failed(self, record: Record) -> None:
        index = record["index"]
        self.causes[record["cause"]] += 1
        if self.states[index] == DONE:
            return  # another attempt was quicker
        self.attempts[index] = max(int(self.attempts[index]), min(record["attempt"], 255))
        if record["final"] and self.states[index] != FAILED:
            self.states[index] = FAILED
            self.failed += 1
        if index in self.failures or len(self.failures) < KEPT_FAILURES:
            values = {name: record[name] for name in Failure.__dataclass_fields__}
            self.failures[index] = Failure(**values)

    def apply_retried(self, record: Record) -> None:
        indexes = np.unique(unpack_indexes(record["index"]))
        indexes = indexes[self.states[indexes] != DONE]
        self.failed -= int(np.count_nonzero(self.states[indexes] == FAILED))
        self.states[indexes] = UNKNOWN
        self.attempts[indexes] = 0
        for index in indexes:
            self.failures.pop(int(index), None)

    def apply_undone(self, record: Record) -> None:
        indexes = np.unique(unpack_indexes(record["index"]))
        indexes = indexes[self.states[indexes] == DONE]
        self.done -= len(indexes)
        self.empty -= int(np.count_nonzero(self.empties[indexes]))
        self.states[indexes], self.empties[indexes] = UNKNOWN, False
        if indexes.size:
            self.prepared = None


@dataclass
class State:
    """State of a job as its ledger has it."""

    job: JobRecord | None = None
    versions: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    """Each job and its versions that differed from the last."""
    stages: dict[str, StageRecord] = field(default_factory=dict)
    created: dict[str, str] = field(default_factory=dict)  # URL of a layer or table -> the step that makes it
    staged: dict[str, list[str]] = field(default_factory=dict)
    """Owner -> the places where it has staging folders; the last is that of the last run."""
    begun: int = 0  # how many runs there were when the job was recorded last: a run does so once it is open
    clearing: list[str] = field(default_factory=list)  # steps and stages whose clearing has not ended
    ended: str | None = None  # how the last run ended; None while one runs, or if it was killed
    runs: list[list[Any]] = field(default_factory=list)
    """[host, pid, first segment at, last segment at, how it ended]."""
    last_heartbeat: float = 0.0  # when the last segment was made, by its writer's clock
    progress: list[list[Any]] = field(default_factory=list)  # [at, {stage: done}] of the last minutes
    lossy: bool = False  # whether a segment is lost: others may speak of what it told

    def apply(self, segment: LedgerSegment) -> None:
        """Add one segment."""
        if segment.is_lost:
            self.lossy = True
            return
        if segment.kind == "taken" or not self.runs:
            self.runs.append([segment.writer.host, segment.writer.pid, segment.at, segment.at, None])
            self.ended, self.progress = None, []
            self._set_running({})
        for record in segment.records:
            self._apply_record(record, segment.at)
        self.last_heartbeat = self.runs[-1][3] = segment.at
        if segment.kind == "closed":
            self._set_running({})
        if not self.progress or segment.at - self.progress[-1][0] >= 5:
            self.progress.append([segment.at, {name: stage.done for name, stage in self.stages.items()}])
            del self.progress[:-60]

    @property
    def owner(self) -> str:
        """The owner as which the last run writes; empty where it has no staging folders."""
        return next(reversed(self.staged), "")

    def rate(self, stage: str) -> float:
        """Cells a second over the last minutes of the run; 0 where too little is known."""
        if len(self.progress) < 2:
            return 0.0
        (start, before), stop = self.progress[0], self.last_heartbeat
        finished: int = self.stages[stage].done - before.get(stage, 0)
        return max(finished, 0) / max(float(stop - start), 1.0)

    def _apply_record(self, record: Record, at: float) -> None:
        kind = record["kind"]
        if self.lossy and kind in _OF_STAGES and record["step"] not in self.stages:
            return
        if kind in ("done", "failed", "retried", "undone"):
            apply = getattr(self.stages[record["step"]], f"apply_{kind}")
            apply(record)
        elif kind == "again":
            self.stages[record["step"]].repeats += 1
        elif kind == "job":
            self._apply_job(record, at)
        elif kind == "step":
            self._apply_stage(record["step"], record["units"])
        elif kind == "created":
            self.created[record["url"]] = record["step"]
        elif kind == "staged":
            self.staged[record["owner"]] = record["urls"]
        elif kind == "unstaged":
            self.staged.pop(record["owner"], None)
        elif kind == "prepared":
            self.stages[record["step"]].prepared = record["values"]
        elif kind == "running":
            self._set_running(record["counts"])
        elif kind == "clearing":
            self.clearing = sorted({*self.clearing, *record["steps"]})
        elif kind == "cleared":
            self._apply_cleared(record["steps"])
        elif kind == "ended":
            self.ended = self.runs[-1][4] = record["status"]
        else:
            raise BadInput(f"the ledger holds a record of a kind that this version does not know: {kind}")

    def _apply_job(self, record: Record, at: float) -> None:
        self.job, self.versions = JobRecord.read(record["job"]), record["versions"]
        self.begun = len(self.runs)
        last = self.history[-1] if self.history else {"job": None, "versions": None}
        if (last["job"], last["versions"]) != (self.job, self.versions):
            self.history.append({"at": at, "job": self.job, "versions": self.versions})

    def _apply_stage(self, name: str, cells: int) -> None:
        if name not in self.stages or self.stages[name].cells != cells:  # where its clearing is lost
            self.stages[name] = StageRecord(name, cells)

    def _apply_cleared(self, names: Sequence[str]) -> None:
        for name in names:
            self.stages.pop(name, None)
        self.created = {url: step for url, step in self.created.items() if step not in names}
        self.clearing = [name for name in self.clearing if name not in names]

    def _set_running(self, counts: dict[str, int]) -> None:
        for name, stage in self.stages.items():
            stage.running = counts.get(name, 0)

    def encode(self) -> bytes:
        """The state as bytes, for a snapshot."""
        head = _as_on_disk({name: value for name, value in vars(self).items() if name != "stages"})
        head["steps"], arrays = [], {}
        for number, stage in enumerate(self.stages.values()):
            values = _as_on_disk(vars(stage))
            for name in _ARRAYS:
                arrays[f"{number}.{name}"] = values.pop(name)
            head["steps"].append({**values, "failures": [asdict(f) for f in stage.failures.values()]})
        data = json.dumps(head, default=_document).encode()
        file = io.BytesIO()
        np.savez_compressed(file, head=np.frombuffer(data, np.uint8), **arrays)
        return file.getvalue()

    @staticmethod
    def decode(data: bytes) -> State:
        """The state that `encode` made bytes of."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            stages = {}
            for number, values in enumerate(head.pop("steps")):
                values["causes"], values["counts"] = Counter(values["causes"]), Counter(values["counts"])
                values["failures"] = {f["index"]: Failure(**f) for f in values["failures"]}
                there = [name for name in _ARRAYS if f"{number}.{name}" in arrays]
                named = {name: arrays[f"{number}.{name}"] for name in there}
                stages[values["name"]] = StageRecord(**_as_here(values), **named)
        for entry in (head, *head["history"]):
            entry["job"] = JobRecord.read(entry["job"]) if entry["job"] is not None else None
        return State(**_as_here(head), stages=stages)


def _document(record: JobRecord) -> dict[str, Any]:
    return record.model_dump(mode="json")


def _as_on_disk(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_ON_DISK.get(name, name): value for name, value in values.items()}


def _as_here(values: Mapping[str, Any]) -> dict[str, Any]:
    here = {there: name for name, there in _ON_DISK.items()}
    return {here.get(name, name): value for name, value in values.items()}
