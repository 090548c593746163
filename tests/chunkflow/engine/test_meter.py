"""What nodes cost, by what their workers answer and when; the clock is the test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import dollars_of, measures_of, read_accounts
from chunkflow.engine.cost.estimate import estimate_of
from chunkflow.engine.cost.measures import together
from chunkflow.engine.cost.meter import LINGER_SECONDS, WRITE_SECONDS, CostMeter
from chunkflow.engine.cost.prices import PriceTable
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.cells import Answer, Cause, WorkerPlace
from chunkflow.engine.queue.schedule import Schedule
from chunkflow.engine.run.events import CellDone, CellFailed, Ended, Started, Tick
from chunkflow.errors import DamagedInput
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer

START = 1_000_000.0
PRICES = PriceTable.model_validate(
    {"as_of": "2026-01-01", "devices": {"k80": {"cpus": 4, "memory": 15, "on_demand": 2, "preemptible": 0.5}}}
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    make_layer(tmp_path / "image", np.zeros((64, 32, 32), np.uint16), chunk=(16, 16, 16))
    layers = {"image": str(tmp_path / "image"), "copied": str(tmp_path / "copied")}
    copy = [{"copy": {"source": "image", "target": "copied"}}]
    return open_plan(make_job(tmp_path, layers, copy, chunk=[16, 16, 16], storage=[16, 16, 16]))


class Run:
    """A run as the meter hears it: time goes on by hand."""

    def __init__(self, plan: Plan, budget: float | None = None, before: float = 0.0) -> None:
        self.now, self.stops = START, 0
        self.schedule = Schedule(plan.stages)
        none = [np.zeros(len(stage.grid), bool) for stage in plan.stages]
        self.schedule.resume(none, none)
        estimate = estimate_of(plan, PRICES, {})
        self.meter = CostMeter(plan, PRICES, estimate, budget, before, lambda: self.now)
        self.meter.attend(self._stop)
        self.meter(Started(plan, self.schedule, 0))
        self.taken = [cell for lease in self.schedule.take(16) for cell in range(lease.start, lease.stop)]

    def _stop(self) -> None:
        self.stops += 1

    def done(self, after: float, node: str = "a", device: str = "k80 spot", took: float = 1.0) -> None:
        """So long after the start, a node says that it is done with a cell."""
        self.now = START + after
        cell = self.taken.pop(0)
        place = WorkerPlace(node, device, START - 500)
        self.schedule.done(0, cell, False)
        self.meter(CellDone(Answer(0, cell, "w", seconds=(0, took, 0), peak_bytes=7, place=place)))
        self.meter(Tick(self.schedule))

    def wait(self, until: float) -> None:
        self.now = START + until
        self.meter(Tick(self.schedule))

    def end(self, after: float) -> None:
        self.now = START + after
        self.meter(Ended("complete", self.schedule, 0))

    def hours(self, device: str = "k80 spot") -> float:
        return self.meter.account.spent[device].hours


def test_a_node_counts_from_the_start_of_the_run_to_some_minutes_after_its_last_word(plan: Plan) -> None:
    run = Run(plan)
    run.done(1800)
    assert run.hours() == pytest.approx(0.5), "it was up before the run, which pays for its own time alone"
    run.wait(1800 + LINGER_SECONDS / 2)
    assert run.hours() * 3600 == pytest.approx(1800 + LINGER_SECONDS / 2)
    run.wait(3600)
    assert run.hours() * 3600 == pytest.approx(1800 + LINGER_SECONDS), "it is idle, and taken to have ended"
    run.done(7200)
    assert run.hours() == pytest.approx(2.0), "it was at work after all"
    assert run.meter.spent == pytest.approx(1.0)


def test_a_node_that_works_on_long_chunks_is_not_taken_to_have_ended(plan: Plan) -> None:
    run = Run(plan)
    run.done(2000, took=2000)
    run.wait(4500)
    assert run.hours() * 3600 == pytest.approx(4500)


def test_each_device_has_its_own_price_and_one_that_no_table_knows_none(plan: Plan) -> None:
    run = Run(plan)
    run.done(3600, "a", "k80")
    run.done(3600, "b", "k80 spot")
    run.done(3600, "c", "k80 spot")
    run.done(3600, "d", "t4")
    run.done(3600, "e", "")
    run.end(3600)
    spent = run.meter.account.spent
    assert {device: one.dollars for device, one in spent.items()} == {"k80": 2, "k80 spot": 1, "t4": None}
    assert spent["t4"].hours == pytest.approx(1)
    assert run.meter.spent == pytest.approx(3)
    assert run.meter.standing(run.schedule).unpriced == ("t4",)


def test_a_lost_node_has_cost_what_it_cost(plan: Plan) -> None:
    run = Run(plan)
    run.now += 3600
    place = WorkerPlace("a", "k80 spot", START)
    lost = Answer(0, run.taken[0], "w", Cause.NODE_LOST, place=place)
    run.meter(CellFailed(lost, 1, False))
    run.end(3600)
    assert run.hours() == pytest.approx(1.0)


def test_a_budget_stops_once_before_the_chunks_in_hand_go_beyond_it(plan: Plan) -> None:
    run = Run(plan, budget=0.5)  # an hour of one node
    run.done(3000, took=30)
    assert not run.stops
    run.wait(3500)
    assert not run.stops, "90 s of chunks in flight are left"
    run.done(3505, took=30)
    run.wait(3512)
    assert run.stops == 1
    assert run.meter.spent < 0.5
    run.wait(3550)
    assert run.stops == 1


def test_a_budget_counts_earlier_runs_and_stops_where_there_is_no_price(plan: Plan) -> None:
    run = Run(plan, budget=0.5, before=0.4)
    run.done(600, took=0.1)
    assert not run.stops
    run.done(720, took=0.1)
    assert run.stops == 1
    unpriced = Run(plan, budget=0.5)
    unpriced.done(1, device="t4")
    assert unpriced.stops == 1


def test_going_on_costs_as_much_a_chunk_as_so_far(plan: Plan) -> None:
    run = Run(plan)
    for cell in range(4):
        run.done(900 * (cell + 1), took=850)
    standing = run.meter.standing(run.schedule)
    assert standing.spent == pytest.approx(0.5)
    assert standing.left == pytest.approx(0.5 * 12 / 4)
    assert standing.unknown == ()
    assert Run(plan).meter.standing(Schedule(plan.stages)).left is None


def test_an_account_is_kept_though_the_run_is_killed_and_read_by_the_next(plan: Plan) -> None:
    run = Run(plan)
    run.done(10, took=8)
    run.done(WRITE_SECONDS + 11, took=10)
    (account,) = read_accounts(plan.work)  # no end was heard
    assert account.began == START
    assert account.memory == 7
    assert account.estimate.chunks == 16
    assert dollars_of([account]) == pytest.approx((WRITE_SECONDS + 11) / 3600 * 0.5)
    measured = measures_of([account])["k80"][0]["copy"]
    assert (measured.cells, measured.mean) == (2, 9)
    Folder(plan.work).put("accounts/broken.json", b"{}")
    with pytest.raises(DamagedInput, match="broken"):
        read_accounts(plan.work)


def test_what_ran_is_the_measure_of_the_next_estimate(plan: Plan) -> None:
    run = Run(plan)
    for after in (10, 20, 30):
        run.done(after, took=after)
    run.end(30)
    measures = measures_of([*read_accounts(plan.work), run.meter.account])
    assert list(measures) == ["k80"]
    found = estimate_of(plan, PRICES, {"k80": together(plan, measures["k80"])})
    assert found.hours["k80"].value == pytest.approx(16 * 20 / 4 / 3600), "four workers fit on a node"
    assert found.dollars["k80 spot"].value == pytest.approx(16 * 20 / 4 / 3600 * 0.5)
    assert found.hours["k80"].margin is not None
