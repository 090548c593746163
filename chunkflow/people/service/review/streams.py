"""Streams of edits to pages: those behind a number, those to come, and that the table was made anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from chunkflow.errors import ChunkflowError
from chunkflow.people.review.live import LiveTable
from chunkflow.people.review.log.edits import Edit
from chunkflow.people.service.review.followers import Follower

LOOK_SECONDS = 5.0
"""How often a stream on which nothing happens looks whether the table is still the same, and says that it is
open."""
MADE_ANEW = (
    "The table was made anew since this page was opened, so what is decided here is no longer about its "
    "objects: load the page again."
)
ANEW = f"event: anew\ndata: {json.dumps({'error': MADE_ANEW})}\n\n"


async def told_edits(
    live: LiveTable,
    follower: Follower,
    since: int,
    find: Callable[[], Awaitable[LiveTable | None]],
    closing: asyncio.Event,
) -> AsyncIterator[str]:
    """All edits behind a number and those to come, until the table that `find` gives is another."""
    with follower.heard() as queue:
        yield ":\n\n"
        for edit in await run_in_threadpool(live.since, since):
            since = edit.seq
            yield _event(live, edit)
        while follower.serves(queue) and not closing.is_set():
            heard: Edit | None = None
            with suppress(TimeoutError):
                heard = await asyncio.wait_for(queue.get(), LOOK_SECONDS)
            if heard is None:
                if await _is_replaced(live, find):
                    yield ANEW
                    return
                yield ":\n\n"
            elif heard.seq > since:
                yield _event(live, heard)


async def _is_replaced(live: LiveTable, find: Callable[[], Awaitable[LiveTable | None]]) -> bool:
    """Whether a table was made anew; one that is away, or is just being made, was not yet."""
    try:
        found = await find()
    except ChunkflowError:
        return False
    return found is not None and found is not live


def _event(live: LiveTable, edit: Edit) -> str:
    known = {"seq": edit.seq, "object": live.described(edit.object), "counts": live.counts}
    return f"id: {edit.seq}\ndata: {json.dumps(known)}\n\n"
