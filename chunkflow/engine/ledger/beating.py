"""Signs of life of a runner while it does something else than to loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import Overtaken, StorageError

BEATS = 4
"""The ledger is flushed so often in a heartbeat; it writes when one is due."""


@contextmanager
def beating(ledger: Ledger, heartbeat: float) -> Iterator[None]:
    """Flush the ledger from a thread while this one does what takes long, and records nothing. Raises
    Overtaken in the end where another runner came all the same."""
    over = threading.Event()
    overtaken: list[Overtaken] = []

    def beat() -> None:
        while not over.wait(heartbeat / BEATS) and not overtaken:
            try:
                with suppress(StorageError):  # it is tried again, and the runner will say what is wrong
                    ledger.flush()
            except Overtaken as error:
                overtaken.append(error)

    thread = threading.Thread(target=beat, name="beating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if overtaken:
        raise overtaken[0]
