"""The cost of a run: what its nodes have cost so far, whether a budget is reached, what going on would cost.

1. Each answer says which node it comes from, what device that is, and since when it is up.
2. A node counts from its start, or the run's if that came later, until some minutes after its last answer: so
   long an idle node lives. A node that names no device costs nothing.
3. What all runs of the job have cost, and what finishing the chunks in flight will, is held against the
   budget.
4. Every half minute the run's account is written, so that the next run, `status` and the report know it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import Account, Estimate, Paid, account_name, dollars_of
from chunkflow.engine.cost.measures import measure_of
from chunkflow.engine.cost.prices import PriceTable
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.slots import IN_FLIGHT
from chunkflow.engine.queue.cells import Answer
from chunkflow.engine.queue.schedule import DONE, Schedule
from chunkflow.engine.run.events import CellDone, CellFailed, Ended, Event, Started, Tick
from chunkflow.errors import StorageError

LINGER_SECONDS = 300.0
"""A node that answers nothing for longer, and longer than any chunk takes, counts as ended after that."""
WRITE_SECONDS = 30.0
LOOK_SECONDS = 1.0


@dataclass
class _Node:
    device: str
    since: float
    last_answer: float


@dataclass
class _Took:
    """Cells of one stage, and their seconds."""

    cells: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Standing:
    """How a job stands for money."""

    spent: float
    """Dollars, of all its runs."""
    left: float | None
    """What the rest would cost at the rate of this run; None where nothing is known yet."""
    unknown: tuple[str, ...]
    """Steps that are not in `left`, as none of their chunks is done."""
    unpriced: tuple[str, ...]
    """Devices that the price table does not have, which count as free."""


class CostMeter:
    """Listens, and keeps the account of a run."""

    def __init__(
        self,
        plan: Plan,
        prices: PriceTable,
        estimate: Estimate,
        budget: float | None = None,
        before: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._plan, self._prices, self._budget, self._clock = plan, prices, budget, clock
        self._folder = Folder(plan.job.work)
        self._before = before
        now = clock()
        self.account = Account(began=now, heard=now, box=str(plan.box or ""), estimate=estimate)
        self._nodes: dict[str, _Node] = {}
        self._stages = [_Took() for _ in plan.stages]
        self._longest = 0.0
        self._looked = self._written = 0.0
        self._reached: Callable[[], None] = lambda: None
        self._is_reached = False

    def attend(self, reached: Callable[[], None]) -> None:
        """What to call, once, when the budget is reached."""
        self._reached = reached

    def __call__(self, event: Event) -> None:
        if isinstance(event, CellDone | CellFailed):
            self._note(event.answer, isinstance(event, CellDone))
            return
        now = self._clock()
        if isinstance(event, Started | Ended) or (
            isinstance(event, Tick) and now - self._looked >= LOOK_SECONDS
        ):
            self._looked = now
            self._settle(now)
            self._hold_to_budget()
        if isinstance(event, Started | Ended) or now - self._written >= WRITE_SECONDS:
            self._write(now)

    def _note(self, answer: Answer, done: bool) -> None:
        now, place = self._clock(), answer.place
        if place.device:
            since = max(place.since or self.account.began, self.account.began)
            self._nodes.setdefault(place.node, _Node(place.device, since, now)).last_answer = now
        self.account.memory = max(self.account.memory, answer.peak_bytes)
        if not done:
            return
        seconds = sum(answer.seconds)
        took, stage = self._stages[answer.stage], self._plan.stages[answer.stage]
        took.cells, took.seconds = took.cells + 1, took.seconds + seconds
        self._longest = max(self._longest, seconds)
        if stage.kind == "map":
            measured = self.account.measured.setdefault(place.device, {})
            if stage.name not in measured:
                measured[stage.name] = measure_of(self._plan, stage.name)
            measured[stage.name].add(seconds)

    @property
    def _linger(self) -> float:
        return max(LINGER_SECONDS, 1.5 * self._longest)

    def _settle(self, now: float) -> None:
        """Bring what each device has taken up to date."""
        hours: dict[str, float] = {}
        for node in self._nodes.values():
            until = min(now, node.last_answer + self._linger)
            hours[node.device] = hours.get(node.device, 0.0) + max(until - node.since, 0.0) / 3600
        self.account.heard = now
        self.account.spent = {device: self._paid(device, taken) for device, taken in hours.items()}

    def _paid(self, device: str, hours: float) -> Paid:
        price = self._prices.hourly(device)
        return Paid(hours=hours, dollars=None if price is None else hours * price)

    @property
    def spent(self) -> float:
        """Dollars, of all runs of the job."""
        return self._before + dollars_of([self.account])

    def _hold_to_budget(self) -> None:
        if self._budget is None or self._is_reached:
            return
        hourly = sum(
            self._prices.hourly(node.device) or 0.0
            for node in self._nodes.values()
            if node.last_answer + self._linger > self.account.heard
        )
        draining = IN_FLIGHT * self._usual / 3600
        unpriced = any(spent.dollars is None for spent in self.account.spent.values())
        if unpriced or self.spent + hourly * draining >= self._budget:
            self._is_reached = True
            self._reached()

    @property
    def _usual(self) -> float:
        """Seconds that a cell of the slowest stage usually takes."""
        return max((took.seconds / took.cells for took in self._stages if took.cells), default=0.0)

    def _write(self, now: float) -> None:
        self._written = now
        try:
            data = self.account.model_dump_json().encode()
            self._folder.put(account_name(self.account.began), data)
        except StorageError:
            return  # as with a log: it is written again soon

    def standing(self, schedule: Schedule) -> Standing:
        """What was spent, and what going on would cost."""
        seconds = sum(took.seconds for took in self._stages)
        left, unknown = 0.0, []
        for stage, took, counts in zip(self._plan.stages, self._stages, schedule.counts, strict=True):
            cells = int(counts.sum() - counts[DONE])
            if cells and took.cells:
                left += cells * took.seconds / took.cells
            elif cells:
                unknown.append(stage.step_name)
        rate = dollars_of([self.account]) / seconds if seconds else None
        unpriced = [device for device, spent in self.account.spent.items() if spent.dollars is None]
        return Standing(
            self.spent,
            None if rate is None else rate * left,
            tuple(dict.fromkeys(unknown)),
            tuple(unpriced),
        )
