"""The queues of one job on SQS: NAME-work-0, -1, ... for each kind of worker, NAME-answers, NAME-dead.

The runner makes them if they are not there, and removes at the end of a complete job those that chunkflow
made: they bear the tag `chunkflow` with the job's work folder. What cannot be read goes to NAME-dead.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from chunkflow.engine.queue.sqs.client import TOGETHER, JustRemoved, NoQueue, QueueDepth, Received, SqsClient
from chunkflow.engine.queue.sqs.messages import AnswersMessage, RunKey, Unreadable, WorkMessage
from chunkflow.errors import BadInput

SCHEME = "sqs://"
TAG = "chunkflow"
TAGGABLE = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")
RECEIVES = "1000"
"""How often SQS hands out a message before it takes it for unreadable itself. Nobody is judged by it: each
preemption hands out again."""
DEAD_SECONDS = 14 * 86400
"""For which SQS keeps what could not be read: as long as it can."""
MOST_DEAD_BYTES = 100_000
MADE_AGAIN_SECONDS = 90.0
DEAD_SHOWN = 100
PEEK_SECONDS = 20
PEEK_WAIT = 1
"""SQS asks all of its servers only where it may wait."""
AWAY_SECONDS = 5
"""For which a message of a later run is left alone: this one is about to learn that it is over."""

M = TypeVar("M", WorkMessage, AnswersMessage)


@dataclass(frozen=True)
class Timing:
    """Seconds of this and that."""

    visibility: int = 120
    """For which a message is a pool's alone, unless it asks for more; it asks while it works on it."""
    poll: int = 5
    """For which a pool waits for messages at a time, and so at most when it ends."""
    answers_poll: int = 5
    gather: float = 1.0
    """For which small things are gathered before they are sent."""
    held: float = 5.0
    """For which a pool keeps cells that it does not begin."""
    look: float = 1.0
    """For which what SQS said of the length of a queue is taken for true."""
    lost: float = 60.0


USUAL = Timing()


class Queues:
    """The URLs of a job's queues."""

    def __init__(self, client: SqsClient, url: str, kinds: int, run: RunKey) -> None:
        """Find those of sqs://NAME; raises NoQueue."""
        self.client, self.url, self.run = client, url, run
        *self.work, self.answers, self.dead = [client.find(queue) for queue in _names(url, kinds)]

    def count_work(self, kind: int) -> QueueDepth:
        return self.client.count(self.work[kind])

    def sift(self, url: str, received: Sequence[Received], read: Callable[[str], M]) -> list[tuple[str, M]]:
        """What was received of this run, with its handles. Deletes what is of earlier runs, leaves alone for
        a moment what is of a later one, and lays aside what cannot be read."""
        ours: list[tuple[str, M]] = []
        earlier: list[str] = []
        later: list[str] = []
        for message in received:
            try:
                said = read(message.body)
            except Unreadable as error:
                self._bury(message, str(error))
                earlier.append(message.handle)
                continue
            if said.run == self.run:
                ours.append((message.handle, said))
            else:
                (later if said.run.follows(self.run) else earlier).append(message.handle)
        self.client.acknowledge(url, earlier)
        self.client.keep(url, later, AWAY_SECONDS)
        return ours

    def _bury(self, message: Received, reason: str) -> None:
        body = message.body.encode("ascii", "backslashreplace").decode()[:MOST_DEAD_BYTES]
        self.client.send(self.dead, [body], reason.encode("ascii", "replace").decode() or "unknown")


def _names(url: str, kinds: int) -> list[str]:
    name = url.removeprefix(SCHEME)
    return [*(_work_name(url, kind) for kind in range(kinds)), f"{name}-answers", f"{name}-dead"]


def _work_name(url: str, kind: int) -> str:
    return f"{url.removeprefix(SCHEME)}-work-{kind}"


def make_queues(url: str, kinds: int, work: str, say: Callable[[str], None] = lambda _: None) -> SqsClient:
    """Let all queues of a job be there; refuses those of another work folder. May be called again."""
    client, tag = SqsClient(), _tag(work)
    *others, dead = _names(url, kinds)
    dead_arn = client.arn(_made(client, dead, {"MessageRetentionPeriod": str(DEAD_SECONDS)}, tag, say))
    redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": RECEIVES})
    for other in others:
        _made(client, other, {"VisibilityTimeout": "120", "RedrivePolicy": redrive}, tag, say)
    return client


def _made(
    client: SqsClient, name: str, attributes: dict[str, str], tag: str, say: Callable[[str], None]
) -> str:
    try:
        url = client.find(name)
    except NoQueue:
        return _create(client, name, attributes, tag, say)
    owner = client.tags(url).get(TAG, tag)
    if owner != tag:
        raise BadInput(
            f"The queue {name} serves the job in {owner}: give this job's `queue:` another name, "
            "or delete that queue if that job is over."
        )
    return url


def _create(
    client: SqsClient, name: str, attributes: dict[str, str], tag: str, say: Callable[[str], None]
) -> str:
    """SQS makes no queue of a name that it removed less than a minute ago: that is waited for."""
    until = time.monotonic() + MADE_AGAIN_SECONDS
    told = False
    while True:
        try:
            return client.create(name, attributes, {TAG: tag})
        except JustRemoved:
            if time.monotonic() > until:
                raise
        if not told:
            say(f"The queue {name} was removed less than a minute ago; until SQS makes it again, this waits.")
            told = True
        time.sleep(5.0)


def remove_queues(queues: Queues, work: str) -> None:
    """Remove what chunkflow made for this work folder; unread letters stay, for who looks at them."""
    client = queues.client
    for url in [*queues.work, *_of_more_kinds(queues), queues.answers, queues.dead]:
        is_ours = client.tags(url).get(TAG) == _tag(work)
        if is_ours and not (url == queues.dead and client.count(url).waiting):
            client.delete(url)


def _of_more_kinds(queues: Queues) -> Iterator[str]:
    """The queues of an earlier run of the job, which had more kinds of workers."""
    for kind in count(len(queues.work)):
        try:
            yield queues.client.find(_work_name(queues.url, kind))
        except NoQueue:
            return


def dead_letters(url: str) -> list[tuple[str, str]]:
    """The reasons and the texts of what could not be read; none where there is no such queue."""
    client = SqsClient()
    try:
        dead = client.find(_names(url, 0)[-1])
    except NoQueue:
        return []
    found: list[Received] = []
    while len(found) < DEAD_SHOWN and (received := client.receive(dead, TOGETHER, PEEK_WAIT, PEEK_SECONDS)):
        found += received
    client.keep(dead, [message.handle for message in found], 0)
    return [(message.reason, message.body) for message in found]


def _tag(work: str) -> str:
    return TAGGABLE.sub("_", work)[:256]
