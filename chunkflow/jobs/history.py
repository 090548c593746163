"""The history of a job: the lines that its runs logged, and all that is known of one chunk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from chunkflow.errors import BadInput
from chunkflow.ledger_state import DONE, FAILED
from chunkflow.storage import Folder
from cli.log import LOGS, is_end, lines_of_chunk, lines_of_file
from cli.status import alive
from cli.work import Work

POLL_SECONDS = 2.0
LATE_SECONDS = 10.0
"""For which the last line of a run is waited for that gives no more signs of life."""


@dataclass(frozen=True)
class ChunkHistory:
    """Every attempt at one chunk, and its state by the ledger."""

    lines: list[dict[str, Any]]
    """The lines of the logs of all runs, oldest first."""
    state: str
    """done; done, and empty; set aside; not done."""


def log_lines(work: Work, follow: bool = False) -> Iterator[dict[str, Any]]:
    """The lines of all runs; following, those of files that appear, until the end of the run was told. One
    that was killed has none, and one that ends writes it after the ledger, when its workers have ended."""
    folder, told = Folder(work.url), set[str]()
    until, ended = time.monotonic(), 0.0
    while True:
        state = work.ledger.refresh()
        if follow and alive(state):
            until = time.monotonic() + LATE_SECONDS
        for name in sorted(set(folder.list(LOGS)) - told):
            told.add(name)
            for line in lines_of_file(folder, name):
                yield line
                ended = line["at"] if is_end(line) else ended
        if time.monotonic() >= until or ended >= state.runs[-1][2]:
            return
        time.sleep(POLL_SECONDS)


def chunk_history(work: Work, task: str, index: int) -> ChunkHistory:
    """All that is known of one chunk of a task, from all runs.

    for line in chunk_history(Work.open("work/demo"), "segment", 17).lines:
        print(line["at"], line.get("cause", "done"))
    """
    steps = work.ledger.state.steps
    if task not in steps:
        raise BadInput(f"There is no task {task!r}; tasks: {', '.join(steps)}.")
    step = steps[task]
    if not 0 <= index < step.units:
        raise BadInput(f"{task} has chunks 0 to {step.units - 1}, not {index}.")
    standing = {DONE: "done, and empty" if step.empties[index] else "done", FAILED: "set aside"}
    lines = list(lines_of_chunk(Folder(work.url), task, index))
    return ChunkHistory(lines, standing.get(int(step.states[index]), "not done"))
