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
from typing import Any

from chunkflow.errors import StorageError
from chunkflow.events import CellAgain, CellDone, CellFailed, Decided, Ended, Event, Started
from chunkflow.plan import Plan
from chunkflow.storage import Folder

EVERY_SECONDS = 10.0
EVERY_LINES = 10_000
LOGS = "logs/"
_COMPACT = (",", ":")


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
            return {"at": now, "event": "decided", "task": event.step, "values": event.values}
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
