"""Kills of serving processes, one every few seconds, as a machine that runs out of memory does it."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


@contextmanager
def processes_killed(
    process_ids: Callable[[], Sequence[int]], every: float, seed: int
) -> Iterator[list[int]]:
    """Kill one of the processes that serve every so many seconds; the ids of those that were."""
    killed: list[int] = []
    ended = threading.Event()
    chance = random.Random(seed)

    def kill() -> None:
        while not ended.wait(every):
            chosen = chance.choice(list(process_ids()))
            with suppress(ProcessLookupError):
                os.kill(chosen, signal.SIGKILL)
                killed.append(chosen)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()
