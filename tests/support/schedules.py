"""Every interleaving of several actors, whose calls that change a file system are the steps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from greenlet import getcurrent, greenlet

CALLS = ("open", "replace", "rename", "mkdir", "unlink", "rmdir", "link")

Actor = Callable[[], None]


class Actors:
    """Actors that run in one thread, each up to its next step, in the order of a schedule."""

    def __init__(self, actors: Sequence[Actor], calls: Sequence[str] = CALLS) -> None:
        self._calls = calls
        self._main = getcurrent()
        self._running = {number: greenlet(actor) for number, actor in enumerate(actors)}
        self.choices: list[int] = []
        """How many actors could go on, at each step."""

    def run(self, schedule: Sequence[int]) -> None:
        """Follow a schedule, and then always the first that can go on."""
        real = {name: getattr(os, name) for name in self._calls}
        with mock.patch.multiple(os, **{name: self._stepping(call) for name, call in real.items()}):
            for actor in self._running.values():
                actor.switch()
            while alive := [actor for actor in self._running.values() if not actor.dead]:
                place = len(self.choices)
                self.choices.append(len(alive))
                alive[schedule[place] if place < len(schedule) else 0].switch()

    def _stepping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any, **named: Any) -> Any:
            if getcurrent() in self._running.values():
                self._main.switch()
            return call(*given, **named)

        return step


def explore(
    make: Callable[[int], Sequence[Actor]], judge: Callable[[int], None], calls: Sequence[str] = CALLS
) -> int:
    """Run the actors that `make` gives in every interleaving, each time in a world of its own, by its number,
    and let `judge` look at it; returns how many there are."""
    schedule: list[int] = []
    count = 0
    while True:
        actors = Actors(make(count), calls)
        actors.run(schedule)
        judge(count)
        count += 1
        taken = schedule + [0] * (len(actors.choices) - len(schedule))
        while taken and taken[-1] == actors.choices[len(taken) - 1] - 1:
            taken.pop()
        if not taken:
            return count
        taken[-1] += 1
        schedule = taken
