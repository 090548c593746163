"""The one thread of a process that writes to the log: all edits that wait are one transaction."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from chunkflow.errors import ChunkflowError, StorageError
from chunkflow.people.database import Database
from chunkflow.people.review.log.edits import Edit
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.log.taking import hold_log, take_edit

MOST_TOGETHER = 200


@dataclass(frozen=True)
class Waiting:
    """An edit that waits to be written, and whoever waits for it."""

    table: int
    person: str
    proposed: ProposedEdit
    answer: Future[Edit] = field(default_factory=Future)


class LogWriter:
    """Takes edits from any thread, in the order in which they come."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, name="review log", daemon=True)
        self._thread.start()

    def submit(self, table: int, person: str, proposed: ProposedEdit) -> Future[Edit]:
        """Queue an edit."""
        waiting = Waiting(table, person, proposed)
        with self._lock:
            if self._closed:
                raise StorageError("The log of the review is closed.")
            self._queue.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        goes_on = True
        while goes_on:
            batch = [self._queue.get()]
            try:
                while len(batch) < MOST_TOGETHER:
                    batch.append(self._queue.get_nowait())
            except Empty:
                pass
            goes_on = None not in batch
            self._write(
                [one for one in batch if one is not None and one.answer.set_running_or_notify_cancel()]
            )

    def _write(self, batch: list[Waiting]) -> None:
        """One transaction. An edit that is refused has written nothing, and does not harm the others."""
        answers: list[Edit | ChunkflowError] = []
        if not batch:
            return
        try:
            with self._database.write() as connection:
                hold_log(connection)
                for one in batch:
                    try:
                        answers.append(take_edit(connection, one.table, one.person, one.proposed))
                    except ChunkflowError as error:
                        answers.append(error)
        except Exception as error:
            for one in batch:
                one.answer.set_exception(error)
            return
        for one, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Edit):
                one.answer.set_result(answer)
            else:
                one.answer.set_exception(answer)
