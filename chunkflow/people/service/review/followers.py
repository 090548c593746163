"""Followers of a log: what any process writes reaches all pages that listen to this one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from starlette.concurrency import run_in_threadpool

from chunkflow.errors import ChunkflowError, StorageError
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.log.edits import Edit

LOOK_SECONDS = 0.25
"""How often the log is asked for what other processes wrote, while somebody listens."""
MOST_UNREAD = 10_000
"""Edits that wait for one page; one that is slower is cut off, and asks again from where it was."""
MADE_ANEW = (
    "The table was made anew since this page was opened, so what is decided here is no longer about its "
    "objects: load the page again."
)
ANEW = f"event: anew\ndata: {json.dumps({'error': MADE_ANEW})}\n\n"
Events = asyncio.Queue[Edit | None]


class Follower:
    """Reads a table's log while pages listen, and hands each edit to all of them."""

    def __init__(self, live: LiveTable) -> None:
        self._live = live
        self._queues: set[Events] = set()
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()

    @contextmanager
    def heard(self) -> Iterator[Events]:
        """A queue that gets every edit from now on; None means: look whether to go on."""
        queue: Events = asyncio.Queue(MOST_UNREAD)
        self._queues.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())
        try:
            yield queue
        finally:
            self._queues.discard(queue)

    def serves(self, queue: Events) -> bool:
        """Whether a queue still gets edits: one that was full no longer does."""
        return queue in self._queues

    async def look(self) -> None:
        """Take what the log has now."""
        async with self._looking:  # else an edit could be handed on before one that was written earlier
            for edit in await run_in_threadpool(self._live.follow):
                for queue in list(self._queues):
                    try:
                        queue.put_nowait(edit)
                    except asyncio.QueueFull:
                        self._queues.discard(queue)

    def wake(self) -> None:
        """Let all that listen look whether to go on."""
        for queue in self._queues:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(None)

    async def _follow(self) -> None:
        while self._queues:
            with suppress(StorageError):  # the database is away: the next look finds all that it has then
                await self.look()
            await asyncio.sleep(LOOK_SECONDS)


async def was_made_anew(live: LiveTable, find: Callable[[], Awaitable[LiveTable | None]]) -> bool:
    """Whether another table is found now; one that is away, or is just being made, was not yet made anew."""
    try:
        found = await find()
    except ChunkflowError:
        return False
    return found is not None and found is not live
