"""The log of a run: a line of JSON for every chunk, in the work folder, for the timeline and for people."""

from __future__ import annotations

import json
import time
from typing import Any

from chunkflow.errors import StorageError
from chunkflow.events import CellDone, CellFailed, Decided, Ended, Event, Started
from chunkflow.plan import Plan
from chunkflow.storage import Folder

EVERY_SECONDS = 10.0
EVERY_LINES = 10_000


class Log:
    """Listens, and writes what it heard to logs/<start of the run>-<number>.jsonl every few seconds."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._name = time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{time.time_ns() % 10**6:06d}"
        self._lines: list[str] = []
        self._count = 0
        self._written = time.monotonic()
        self._plan: Plan | None = None

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            self._lines.append(json.dumps(line, separators=(",", ":")))
        due = len(self._lines) >= EVERY_LINES or time.monotonic() - self._written > EVERY_SECONDS
        if self._lines and (due or isinstance(event, Ended)):
            self._write()

    def _line(self, event: Event) -> dict[str, Any] | None:
        if isinstance(event, Started):
            self._plan = event.plan
            return {"at": round(time.time(), 3), "event": "started", "resumed": event.resumed}
        assert self._plan is not None
        if isinstance(event, CellDone | CellFailed):
            answer = event.answer
            line: dict[str, Any] = {
                "at": round(answer.started, 3),
                "task": self._plan.stages[answer.stage].name,
                "chunk": answer.index,
                "worker": answer.worker,
                "seconds": [round(s, 4) for s in answer.seconds],
            }
            if isinstance(event, CellFailed):
                line |= {"cause": str(answer.cause), "final": event.final, "traceback": answer.traceback}
            return line
        if isinstance(event, Decided):
            return {
                "at": round(time.time(), 3),
                "event": "decided",
                "task": event.step,
                "values": event.values,
            }
        if isinstance(event, Ended):
            return {"at": round(time.time(), 3), "event": event.status}
        return None

    def _write(self) -> None:
        try:
            self._folder.put(f"logs/{self._name}-{self._count:05d}.jsonl", "\n".join(self._lines).encode())
        except StorageError:
            return  # a log is no reason to stop; it is tried again with the next lines
        self._lines, self._count = [], self._count + 1
        self._written = time.monotonic()


def read_log(folder: Folder, most: int) -> list[dict[str, Any]]:
    """The last lines of all runs, oldest first."""
    lines: list[dict[str, Any]] = []
    for name in sorted(folder.list("logs/"), reverse=True):
        data = folder.get(name) or b""
        lines[:0] = [json.loads(line) for line in data.splitlines() if line]
        if len(lines) >= most:
            break
    return lines[-most:]
