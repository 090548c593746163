"""The turns of a worker whose node is about to be taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from chunkflow.engine.worker.turns import Left, Turns
from chunkflow.engine.worker.usage import Usage
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
