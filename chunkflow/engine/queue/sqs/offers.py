"""The runner's side of a queue over SQS: it offers cells, and hears answers.

1. What is put is gathered for up to a second and sent as messages that several pools can share.
2. A thread waits for answers, so that the runner never does. An answer that SQS brings twice is heard once.
3. What was put and has no answer is remembered. Where SQS holds no message of that kind any more, in nobody's
   hands either, and none comes for a minute, the messages were lost (somebody purged the queue; they could
   not be read): they are sent again. A pool deletes a message only after it has sent all its answers.
4. Messages of runs before this one are deleted wherever they turn up.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from chunkflow.engine.queue.batcher import Batcher
from chunkflow.engine.queue.cells import Answer, Range
from chunkflow.engine.queue.sqs.client import TOGETHER, Received
from chunkflow.engine.queue.sqs.messages import (
    MOST_CELLS,
    SHARES,
    joined,
    read_answers,
    read_work,
    singles,
    work_messages,
)
from chunkflow.engine.queue.sqs.queues import Queues, Timing
from chunkflow.errors import ChunkflowError

HEARD_BEFORE = 10_000
"""Messages of answers that are remembered, to know one that comes twice."""
READ_SECONDS = 60
"""For which a message of answers is this runner's, to be read and deleted."""


class Offers:
    """Puts, and hears, for one run."""

    def __init__(self, queues: Queues, cells: Sequence[int], timing: Timing) -> None:
        self._queues, self._client = queues, queues.client
        self._cells, self._timing = cells, timing
        self._out: Batcher[Range] = Batcher(self._send, timing.gather, MOST_CELLS * SHARES)
        self._unanswered: list[dict[tuple[int, int], Range]] = [{} for _ in queues.work]
        self.holding = [0.0 for _ in queues.work]
        """Cells in a message of each kind, as they were last sent; 0 where none was."""
        self._answers: list[Answer] = []
        self._heard: deque[str] = deque(maxlen=HEARD_BEFORE)
        self._quiet_since: float | None = None
        self._swept: list[Range] = []
        self._changed = threading.Condition()
        self._closed = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def put(self, ranges: Sequence[Range]) -> None:
        with self._changed:
            for offered in ranges:
                known = self._unanswered[offered.worker_kind]
                for cell in singles(offered):
                    known[cell.stage, cell.start] = cell
            self._quiet_since = None
        self._out.add(ranges)

    def answers(self, wait: float) -> list[Answer]:
        with self._changed:
            if self._error is not None:
                raise self._error
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="answers", daemon=True)
                self._thread.start()
            if not self._answers:
                self._changed.wait(wait)
            found, self._answers = self._answers, []
            return found

    def unsent(self, kind: int) -> int:
        """Cells of a kind that are put and still gathered."""
        return sum(len(offered) for offered in self._out.waiting() if offered.worker_kind == kind)

    def withdrawn(self) -> list[Range]:
        """What is not sent yet, and what `sweep` has found."""
        found = self._out.take_back()
        with self._changed:
            found += self._swept
            self._swept = []
            for offered in found:
                for index in range(offered.start, offered.stop):
                    self._unanswered[offered.worker_kind].pop((offered.stage, index), None)
        return found

    def sweep(self) -> None:
        """Take back all that SQS still holds for anyone."""
        for kind in range(len(self._queues.work)):
            self._sweep(kind)

    def _sweep(self, kind: int) -> None:
        url = self._queues.work[kind]
        while received := self._client.receive(url, TOGETHER, 0, READ_SECONDS):
            ours = self._queues.sift(url, received, lambda body: read_work(body, self._cells, kind))
            with self._changed:
                self._swept += [r for _, work in ours for r in work.ranges]
            self._client.acknowledge(url, [handle for handle, _ in ours])

    def close(self) -> None:
        """Send nothing more, and listen no more."""
        self._out.take_back()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self) -> None:
        """After `close`: wait until no more messages can come, and none is sent."""
        if self._thread is not None:
            self._thread.join()
        self._out.take_back()  # what the listener may have put again meanwhile
        with suppress(ChunkflowError):  # what was not sent is for the next run to put
            self._out.close()

    def _send(self, ranges: list[Range]) -> None:
        for kind, url in enumerate(self._queues.work):
            of_kind = [r for r in ranges if r.worker_kind == kind]
            if not of_kind:
                continue
            messages = work_messages(self._queues.run, of_kind)
            self.holding[kind] = sum(map(len, of_kind)) / len(messages)
            self._client.send(url, messages)

    def _listen(self) -> None:
        try:
            while not self._closed:
                received = self._client.receive(
                    self._queues.answers, TOGETHER, self._timing.answers_poll, READ_SECONDS
                )
                self._hear(received)
                if not received and not self._closed:
                    self._look_for_lost()
        except BaseException as error:  # the runner must hear of it
            with self._changed:
                if not self._closed:
                    self._error = error
                self._changed.notify_all()

    def _hear(self, received: Sequence[Received]) -> None:
        url = self._queues.answers
        ours = self._queues.sift(url, received, lambda body: read_answers(body, self._cells))
        for _, said in ours:
            if said.id not in self._heard:
                self._heard.append(said.id)
                self._note(said.answers)
        self._client.acknowledge(url, [handle for handle, _ in ours])

    def _note(self, answers: Sequence[Answer]) -> None:
        with self._changed:
            for answer in answers:
                for known in self._unanswered:
                    known.pop((answer.stage, answer.index), None)
            self._answers += answers
            self._quiet_since = None
            self._changed.notify_all()

    def _look_for_lost(self) -> None:
        """Send again what no message holds any more. SQS counts about right, so it is looked at twice."""
        with self._changed:
            lost = [kind for kind, known in enumerate(self._unanswered) if known and not self._out.waiting()]
        held = [self._queues.count_work(kind) for kind in lost]
        if not lost or any(count.waiting or count.in_flight for count in held):
            self._quiet_since = None
            return
        now = time.monotonic()
        with self._changed:
            self._quiet_since = self._quiet_since or now
            if self._closed or now - self._quiet_since < self._timing.lost:
                return
            self._quiet_since = None
            ranges = [r for kind in lost for r in self._unanswered[kind].values()]
        self._out.add(joined(ranges))
