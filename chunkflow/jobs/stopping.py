"""End the run of a job in good order, through its work folder, from any machine that can write there."""

from __future__ import annotations

import time
from collections.abc import Iterator

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.heartbeat import STOP
from chunkflow.jobs.status import alive
from chunkflow.jobs.work import Work

POLL_SECONDS = 1.0


def request_stop(work: Work) -> bool:
    """Ask the run of a job to begin nothing new and finish what is in flight; False where none is at work."""
    if not alive(work.ledger.state):
        return False
    Folder(work.url).put(STOP, b"")
    return True


def until_ended(work: Work) -> Iterator[int]:
    """The number of chunks in flight, every second until the run has ended."""
    state = work.ledger.state
    while alive(state):
        yield sum(stage.running for stage in state.stages.values())
        time.sleep(POLL_SECONDS)
        state = work.ledger.refresh()
