"""Metrics of a run, which Ray exports for Prometheus from the runner's node; grafana.json shows them.

1. What cells took is added up as they are answered; a call of Ray's for each would cost the runner too much.
2. Every few seconds the sums go into Ray's counters, and where all stands into its gauges.

Ray puts `ray_` before each name, and `_total` behind a counter's. A tag `job` would be Prometheus's own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from ray.util import metrics

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.cells import Answer
from chunkflow.engine.queue.schedule import STATE_NAMES, Schedule
from chunkflow.engine.run.events import CellDone, CellFailed, Ended, Event, Started, Tick

EVERY_SECONDS = 5.0
WORKER_SECONDS = 120.0
"""A worker that answered within this time counts as at work."""
PARTS = ("read", "map", "write")

GAUGES = {
    "chunkflow_chunks": ("chunks of each task by state", ("task", "state")),
    "chunkflow_backlog": ("chunks that no pool has leased yet", ()),
    "chunkflow_quiet_seconds": ("seconds since a worker last answered", ()),
    "chunkflow_workers": ("workers that answered within two minutes", ("device",)),
    "chunkflow_dollars": ("what all runs of the job have cost, as far as prices are known", ()),
}
COUNTERS = {
    "chunkflow_done": ("chunks done in this run", ("task",)),
    "chunkflow_seconds": ("seconds of workers spent reading, mapping, writing", ("task", "part")),
    "chunkflow_bytes": ("bytes read and written", ("task", "direction")),
    "chunkflow_failures": ("attempts that failed, by cause", ("task", "cause")),
}
_Count = tuple[str, tuple[str, ...]]


class Metrics:
    """Listens, and lets Ray export what it heard."""

    def __init__(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> None:
        self._backlog, self._dollars = backlog, dollars
        self._gauges = {
            name: metrics.Gauge(name, text, ("chunkflow_job", *tags)) for name, (text, tags) in GAUGES.items()
        }
        self._counters = {
            name: metrics.Counter(name, text, ("chunkflow_job", *tags))
            for name, (text, tags) in COUNTERS.items()
        }
        self._plan: Plan | None = None
        self._sums: Counter[_Count] = Counter()
        self._workers: dict[str, tuple[float, str]] = {}  # when each last answered, and its device
        self._devices: set[str] = set()
        self._heard = self._told = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self._plan = event.plan
            self._tell(event.schedule)
        elif isinstance(event, CellDone | CellFailed):
            self._add(event.answer)
        elif isinstance(event, Ended) or (
            isinstance(event, Tick) and time.monotonic() - self._told > EVERY_SECONDS
        ):
            self._tell(event.schedule)

    def _add(self, answer: Answer) -> None:
        assert self._plan is not None
        task = self._plan.stages[answer.stage].name
        self._heard = time.monotonic()
        if answer.worker:
            self._workers[answer.worker] = self._heard, answer.place.device
        if answer.cause is not None:
            self._sums["chunkflow_failures", (task, str(answer.cause))] += 1
            return
        self._sums["chunkflow_done", (task,)] += 1
        for part, seconds in zip(PARTS, answer.seconds, strict=True):
            self._sums["chunkflow_seconds", (task, part)] += seconds  # type: ignore[assignment]
        self._sums["chunkflow_bytes", (task, "in")] += answer.bytes_in
        self._sums["chunkflow_bytes", (task, "out")] += answer.bytes_out

    def _tell(self, schedule: Schedule) -> None:
        assert self._plan is not None
        now = self._told = time.monotonic()
        for (name, values), amount in self._sums.items():
            if amount:
                self._counters[name].inc(amount, self._tags(COUNTERS[name][1], values))
        self._sums.clear()
        for stage, counts in zip(self._plan.stages, schedule.counts.tolist(), strict=True):
            for state, count in zip(STATE_NAMES, counts, strict=True):
                self._set("chunkflow_chunks", count, stage.name, state)
        self._set("chunkflow_backlog", sum(self._backlog()))
        self._set("chunkflow_quiet_seconds", now - self._heard)
        self._set("chunkflow_dollars", self._dollars())
        self._tell_workers(now)

    def _tell_workers(self, now: float) -> None:
        self._workers = {name: at for name, at in self._workers.items() if now - at[0] < WORKER_SECONDS}
        devices = Counter(device for _, device in self._workers.values())
        self._devices |= set(devices)  # one that has none any more says so
        for device in self._devices:
            self._set("chunkflow_workers", devices[device], device)

    def _set(self, name: str, value: float, *values: str) -> None:
        self._gauges[name].set(value, self._tags(GAUGES[name][1], values))

    def _tags(self, names: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
        assert self._plan is not None
        return {"chunkflow_job": self._plan.job.name, **dict(zip(names, values, strict=True))}
