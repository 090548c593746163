"""Signs of life of a runner while it does something else than to loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import StorageError

BEATS = 4
"""The ledger is flushed so often in a heartbeat; it writes when one is due."""


@contextmanager
def beating(ledger: Ledger, heartbeat: float) -> Iterator[Callable[[], None]]:
    """Flush the ledger from a thread while this one does what takes long, and records nothing. Raises
    Overtaken in the end where another runner came all the same; what is yielded does so when it is called."""
    over = threading.Event()
    errors: list[BaseException] = []

    def beat() -> None:
        while not over.wait(heartbeat / BEATS) and not errors:
            try:
                with suppress(StorageError):  # it is tried again, and the runner will say what is wrong
                    ledger.flush()
            except BaseException as error:
                errors.append(error)

    def check() -> None:
        if errors:
            raise errors[0]

    thread = threading.Thread(target=beat, name="beating", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        over.set()
        thread.join()
    check()
