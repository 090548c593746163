"""Many open pages at once: each holds a stream of events, as the review page does."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

AT_ONCE = 200
"""Pages that connect at the same time."""
SECONDS = 60.0


class EventStreams:
    """Streams of events that were asked for: what each was answered, and those that are open."""

    def __init__(self, url: str, token: str = "") -> None:
        """`url` is the address of a stream; `token` the account of whoever asks."""
        self._place = urlsplit(url)
        known = f"Authorization: Bearer {token}\r\n" if token else ""
        path = self._place.path + (f"?{self._place.query}" if self._place.query else "")
        self._asked = f"GET {path} HTTP/1.1\r\nHost: {self._place.netloc}\r\n{known}\r\n".encode()
        self.answers: Counter[int] = Counter()
        """How many had which status; 0 are those that were not answered."""
        self._open: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, count: int) -> None:
        """Ask for so many more, and wait for all answers."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask() -> None:
            async with turns:
                self.answers[await self._ask()] += 1

        await asyncio.gather(*(ask() for _ in range(count)))

    async def _ask(self) -> int:
        try:
            reader, writer = await asyncio.open_connection(self._place.hostname, self._place.port)
            writer.write(self._asked)
            status = int((await asyncio.wait_for(reader.readline(), SECONDS)).split()[1])
        except (OSError, IndexError, TimeoutError):
            return 0
        if status == 200:
            self._open.append((reader, writer))
        else:
            writer.close()
        return status

    def going_on(self) -> int:
        """How many streams are open still."""
        return sum(not reader.at_eof() for reader, _ in self._open)

    async def heard(self, word: bytes) -> int:
        """How many of the open streams say this within a minute."""

        async def hears(reader: asyncio.StreamReader) -> bool:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.wait_for(reader.readuntil(word), SECONDS)
                return True
            return False

        return sum(await asyncio.gather(*(hears(reader) for reader, _ in self._open)))

    async def close(self, count: int | None = None) -> None:
        """Close so many of the open ones, or all."""
        closed, self._open = self._open[:count], self._open[len(self._open[:count]) :]
        for _, writer in closed:
            writer.close()
        for _, writer in closed:
            with suppress(OSError):
                await writer.wait_closed()
