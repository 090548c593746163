"""The log of a run: a line of JSON for every attempt at a chunk, in the work folder, for programs and people.

A line says when map began, the task and chunk, which attempt of this run it was, on which worker, node and
device, the seconds read, mapped and written, and the bytes in and out; of one that failed the cause, the
traceback, and whether the chunk was set aside.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.state import DONE, FAILED
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.run.events import CellAgain, CellDone, CellFailed, Decided, Ended, Event, Started
from chunkflow.errors import BadInput, StorageError
from chunkflow.jobs.status import Followed
from chunkflow.jobs.work import Work
from chunkflow.words import in_words, plain

EVERY_SECONDS = 10.0
EVERY_LINES = 10_000
POLL_SECONDS = 2.0
LATE_SECONDS = 10.0
"""For which the last line of a run is waited for that gives no more signs of life."""
LOGS = "logs/"
PARTS = ("read", "map", "write")
_COMPACT = (",", ":")


@dataclass(frozen=True)
class ChunkHistory:
    """Every attempt at one chunk, and its state by the ledger."""

    lines: list[dict[str, Any]]
    """The lines of the logs of all runs, oldest first."""
    state: str
    """done; done, and empty; set aside; not done."""


class Log:
    """Listens, and writes what it heard to logs/<start of the run>-<number>.jsonl every few seconds."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        now = time.time_ns() // 1000
        self._name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now // 10**6)) + f"-{now % 10**6:06d}"
        self._lines: list[str] = []
        self._count = 0
        self._written = time.monotonic()
        self._plan: Plan | None = None
        self._failures: Counter[tuple[int, int]] = Counter()  # attempts of cells that are not done yet

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            self._lines.append(json.dumps(line, separators=_COMPACT))
        due = len(self._lines) >= EVERY_LINES or time.monotonic() - self._written > EVERY_SECONDS
        if self._lines and (due or isinstance(event, Ended)):
            self._write()

    def _line(self, event: Event) -> dict[str, Any] | None:
        now = round(time.time(), 3)
        if isinstance(event, Started):
            self._plan = event.plan
            return {"at": now, "event": "started", "resumed": event.resumed}
        if isinstance(event, CellDone | CellAgain | CellFailed):
            return self._attempt(event)
        if isinstance(event, Decided):
            return {"at": now, "event": "decided", "task": event.stage, "values": event.values}
        if isinstance(event, Ended):
            return {"at": now, "event": event.status}
        return None

    def _attempt(self, event: CellDone | CellAgain | CellFailed) -> dict[str, Any]:
        assert self._plan is not None
        answer = event.answer
        cell = (answer.stage, answer.index)
        line: dict[str, Any] = {
            "at": round(answer.started, 3),
            "task": self._plan.stages[answer.stage].name,
            "chunk": answer.index,
            "attempt": self._failures[cell] + 1,
            "worker": answer.worker,
            "node": answer.place.node,
            "device": answer.place.device,
            "seconds": [round(s, 4) for s in answer.seconds],
            "bytes": [answer.bytes_in, answer.bytes_out],
        }
        line |= {word: True for word in ("alone", "empty") if getattr(answer, word)}
        if isinstance(event, CellAgain):
            return line | {"again": True}
        if isinstance(event, CellDone):
            self._failures.pop(cell, None)
            return line
        self._failures[cell] += 1
        return line | {"cause": str(answer.cause), "final": event.final, "traceback": answer.traceback}

    def _write(self) -> None:
        try:
            self._folder.put(f"{LOGS}{self._name}-{self._count:05d}.jsonl", "\n".join(self._lines).encode())
        except StorageError:
            return  # a log is no reason to stop; it is tried again with the next lines
        self._lines, self._count = [], self._count + 1
        self._written = time.monotonic()


def is_end(line: dict[str, Any]) -> bool:
    """Whether a line tells how a run ended."""
    return line.get("event", "started") not in ("started", "decided")


def read_log(folder: Folder, most: int) -> list[dict[str, Any]]:
    """The last lines of all runs, oldest first."""
    lines: list[dict[str, Any]] = []
    for name in sorted(folder.list(LOGS), reverse=True):
        lines[:0] = list(lines_of_file(folder, name))
        if len(lines) >= most:
            break
    return lines[-most:]


def lines_of_file(folder: Folder, name: str) -> Iterator[dict[str, Any]]:
    """The lines of one file of a log, which holds a few seconds of a run."""
    for line in (folder.get(name) or b"").splitlines():
        if line:
            yield json.loads(line)


def lines_of_chunk(folder: Folder, task: str, chunk: int) -> Iterator[dict[str, Any]]:
    """All that the logs of all runs say of one chunk, oldest first; one file at a time is in memory."""
    marked = json.dumps({"task": task, "chunk": chunk}, separators=_COMPACT)[1:-1].encode() + b","
    for name in sorted(folder.list(LOGS)):
        for line in (folder.get(name) or b"").splitlines():
            if marked in line:
                yield json.loads(line)


def log_lines(work: Work, follow: bool = False) -> Iterator[dict[str, Any]]:
    """The lines of all runs; following, those of files that appear, until the end of the run was told. One
    that was killed has none, and one that ends writes it after the ledger, when its workers have ended."""
    folder, told = Folder(work.url), set[str]()
    followed = Followed(work.ledger, heard=follow)
    until, ended = time.monotonic(), 0.0
    while True:
        followed.look()
        if followed.goes_on:
            until = time.monotonic() + LATE_SECONDS
        for name in sorted(set(folder.list(LOGS)) - told):
            told.add(name)
            for line in lines_of_file(folder, name):
                yield line
                ended = line["at"] if is_end(line) else ended
        if time.monotonic() >= until or ended >= followed.state.runs[-1][2]:
            return
        time.sleep(POLL_SECONDS)


def chunk_history(work: Work, task: str, index: int) -> ChunkHistory:
    """All that is known of one chunk of a task, from all runs.

    for line in chunk_history(Work.open("work/demo"), "segment", 17).lines:
        print(line["at"], line.get("cause", "done"))
    """
    stages = work.ledger.state.stages
    if task not in stages:
        raise BadInput(f"There is no task {task!r}; tasks: {', '.join(stages)}.")
    stage = stages[task]
    if not 0 <= index < stage.cells:
        raise BadInput(f"{task} has chunks 0 to {stage.cells - 1}, not {index}.")
    standing = {DONE: "done, and empty" if stage.empties[index] else "done", FAILED: "set aside"}
    lines = list(lines_of_chunk(Folder(work.url), task, index))
    return ChunkHistory(lines, standing.get(int(stage.states[index]), "not done"))


def log_texts(work: Work, follow: bool = False) -> Iterator[str]:
    """The lines of all runs for people; where there is none, a sentence that says so."""
    is_empty = True
    for line in log_lines(work, follow):
        is_empty = False
        yield in_a_line(line)
    if is_empty:
        yield f"Nothing was logged yet in {plain(work.url)}."


def in_a_line(line: dict[str, Any]) -> str:
    """A line of a log for people."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(line.get("at", 0))))
    if "event" in line:
        rest = {k: v for k, v in line.items() if k not in ("at", "event") and v}
        return " ".join([at, str(line["event"]), *(f"{k} {v}" for k, v in rest.items())])
    return f"{at} {line['task']} chunk {line['chunk']}" + "".join(f", {said}" for said in _outcome(line))


def _outcome(line: dict[str, Any]) -> Iterator[str]:
    if line.get("attempt", 1) > 1:
        yield f"attempt {line['attempt']}"
    if line.get("alone"):
        yield "alone on its worker"
    if "cause" in line:
        yield f"{line['cause']}: {'set aside' if line['final'] else 'to be tried again'}"
    elif line.get("again"):
        yield "done again, and counted once"
    else:
        yield "empty" if line.get("empty") else "done"
    yield (
        ", ".join(
            f"{part} {in_words(seconds)}"
            for part, seconds in zip(PARTS, line["seconds"], strict=True)
            if seconds or "cause" not in line
        )
        or "nothing was timed"
    )
    if "bytes" in line:
        yield "{:,} bytes in, {:,} out".format(*line["bytes"])
    place = " ".join(filter(None, (line.get("device"), line.get("node", "")[:12])))
    yield f"by {line['worker'] or 'no worker'}" + (f" on {place}" if place else "")
