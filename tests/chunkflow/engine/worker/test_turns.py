"""The turns of a worker: once its node is about to be taken, and once it has slept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from chunkflow.engine.worker.turns import Left, Turns
from chunkflow.engine.worker.usage import Usage
from chunkflow.errors import Overtaken
from tests.support.puppet import eventually

Turn = Callable[[Turns, Usage], AbstractContextManager[None]]


@pytest.mark.parametrize("turn", [Turns.map, Turns.merge, Turns.decide])
def test_what_waits_for_its_turn_is_not_begun_once_the_worker_leaves(turn: Turn) -> None:
    turns, happened = Turns(fence=60.0), list[str]()

    def wait_for_it() -> None:
        happened.append("waits")
        try:
            with turn(turns, Usage()):
                happened.append("begun")
        except Left:
            happened.append("left")

    waiting = threading.Thread(target=wait_for_it)
    with turns.map(Usage()):
        waiting.start()
        eventually(lambda: happened)
        turns.leave()
    waiting.join(10)
    assert happened == ["waits", "left"]


def test_the_fence_falls_also_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All other clocks of Linux that nobody can set stand still for so long."""
    slept = [0.0]
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: time.monotonic() + slept[0] * (clock == 7))
    turns = Turns(fence=60.0)
    turns.check()
    slept[0] = 61.0
    with pytest.raises(Overtaken, match="no word from its runner for 61 s"):
        turns.check()
    turns.heartbeat()
    turns.check()
