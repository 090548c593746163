"""Scripted reviewers: each takes objects, decides on them, and sends each edit until it is answered.

As the review page does, they send an edit that gets no answer again, with the same key.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ANSWERED = (200, 400, 409)
"""The answers that settle an edit: it is durable, or refused for good."""
REST_SECONDS = 0.2
TIMEOUT = 10.0


@dataclass
class ScriptedReviewer:
    """A person who decides at random, and remembers what was answered."""

    url: str
    """The address of the service, or of what stands before it."""
    table: str
    """The address of a reviewed table below it, as /api/review/cells/objects."""
    token: str
    objects: Sequence[str]
    """The ids of objects to decide on."""
    rate: float
    """Edits a second."""
    seed: int
    acknowledged: dict[str, int] = field(default_factory=dict)
    """The numbers of the edits that were taken, by their keys."""
    refused: set[str] = field(default_factory=set)
    tries: int = 0
    seconds: list[float] = field(default_factory=list)
    """How long each edit took from the first try to its answer."""

    def work(self, until: float) -> None:
        """Decide on one object after the other until a moment (of time.monotonic)."""
        chance = random.Random(self.seed)
        number = 0
        while time.monotonic() < until:
            number += 1
            self.decide(f"reviewer-{self.seed}-{number}", chance.choice(list(self.objects)), chance)
            time.sleep(chance.expovariate(self.rate))

    def decide(self, key: str, id: str, chance: random.Random) -> None:
        """Send an edit of an object, as it is seen now, until it is answered."""
        seen = self._until_answered("GET", f"{self.table}/objects/{id}")[1]
        edit = {"key": key, "object": id, "seen": seen["seq"]}
        kind = chance.choice(["reject", "note", "class"])
        said = (
            {"note": chance.choice("abc")} if kind == "note" else {"class": "glia"} if kind == "class" else {}
        )
        began = time.monotonic()
        status, answer = self._until_answered(
            "POST", f"{self.table}/edits", {**edit, "operation": kind, **said}
        )
        self.seconds.append(time.monotonic() - began)
        if status == 200:
            self.acknowledged[key] = int(answer["edit"]["seq"])
        else:
            self.refused.add(key)

    def _until_answered(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        while True:
            self.tries += 1
            try:
                status, answer = self._ask(method, path, content)
            except (OSError, http.client.HTTPException, ValueError):
                status, answer = 0, None
            if status in ANSWERED:
                return status, answer
            time.sleep(REST_SECONDS)

    def _ask(self, method: str, path: str, content: bytes | None) -> tuple[int, Any]:
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, content, {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()


def work_together(reviewers: Sequence[ScriptedReviewer], seconds: float) -> None:
    """Let all of them work for so long; each sends its last edit until it is answered."""
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=one.work, args=(until,)) for one in reviewers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
