"""What a run costs: the estimate that it begins with, its budget, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from chunkflow.engine.cost.accounts import Account, dollars_of, measures_of, read_accounts
from chunkflow.engine.cost.estimate import estimate_of
from chunkflow.engine.cost.measures import Measures, chosen_cells, together
from chunkflow.engine.cost.meter import CostMeter
from chunkflow.engine.cost.prices import PACKAGED, PriceTable, load_prices
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.queue.schedule import DONE, Schedule
from chunkflow.errors import BadInput, Incomplete
from chunkflow.geometry import Box
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.jobs.planned import open_plan
from chunkflow.words import dollars

OVER_BUDGET = "incomplete: budget"
"""How a run ends that has used its budget up."""


def refuse_no_sum(budget: float | None) -> None:
    """A budget is a sum that can be reached."""
    if budget is not None and not (isfinite(budget) and budget > 0):
        raise BadInput(f"budget takes dollars above 0, not {budget:g}.")


def checked_prices(plan: Plan, means: Means, accounts: Sequence[Account]) -> PriceTable:
    """The price table; refuses a budget that cannot be held, or is spent already."""
    budget = means.money.budget
    refuse_no_sum(budget)
    prices = load_prices(means.money.prices)
    if budget is None:
        return prices
    if not means.address and not plan.job.queue:
        raise BadInput("budget is held against what a cluster's nodes cost; this machine costs nothing.")
    before = dollars_of(accounts)
    if before >= budget:
        raise BadInput(
            f"All runs of this job have cost {dollars(before)} already, which budget {budget:g} counts in: "
            "give a larger one."
        )
    return prices


def measured(plan: Plan, means: Means, accounts: Sequence[Account]) -> dict[str, Measures]:
    """The times of cells by device, as the price table names it: of a sample done now, and of earlier runs of
    this job."""
    found = measures_of(accounts)
    if means.money.sample:
        chosen = chosen_cells(plan, means.money.sample)
        for device, measures in means.measured(plan, chosen).items():
            earlier = found.get(device, []) if device != HERE else []
            found[device] = [*earlier, measures]
    return {device: together(plan, several) for device, several in found.items()}


def measured_plan(job: Job, means: Means, box: Box | None = None) -> tuple[Plan, dict[str, Measures]]:
    """The plan of a job and the times of its cells by device; of a cluster on a node of each device."""
    if means.address and not means.money.sample:
        raise BadInput("address is where a plan measures: say of how many chunks (sample).")
    plan = open_plan(job, box, means.local_workers)
    if means.address:
        means.site.staff(plan)  # refuses a cluster that is not there, or has no room
    return plan, measured(plan, means, read_accounts(plan.job.work))


def begin_account(plan: Plan, prices: PriceTable, means: Means, accounts: Sequence[Account]) -> CostMeter:
    """The account of a run that is about to begin, with what it is thought to take."""
    estimate = estimate_of(plan, prices, measured(plan, means, accounts))
    return CostMeter(plan, prices, estimate, means.money.budget, dollars_of(accounts))


def said_cost(meter: CostMeter) -> list[str]:
    """A line for each device that was paid for, and one for all runs."""
    lines = []
    for device, spent in meter.account.spent.items():
        cost = "which the price table does not have" if spent.dollars is None else dollars(spent.dollars)
        lines.append(f"{spent.hours:,.2f} h of {device}: {cost}")
    return [*lines, f"This job has cost {dollars(meter.spent)} so far."] if lines else []


def over_budget(meter: CostMeter, money: Money, schedule: Schedule, work: str) -> Incomplete:
    """Why the run stopped, and what going on would cost."""
    standing = meter.standing(schedule)
    if standing.unpriced:
        return Incomplete(
            f"The budget cannot be held: {money.prices} has no price for {', '.join(standing.unpriced)}. Add "
            "it to a table of your own, and go on with that as prices and with the budget: chunkflow retry "
            f"{work}"
        )
    assert money.budget is not None
    share = int(schedule.counts[:, DONE].sum()) / max(int(schedule.counts.sum()), 1)
    going_on = "what going on would cost is not known yet"
    if standing.left is not None:
        without = f" without {', '.join(standing.unknown)}" if standing.unknown else ""
        going_on = f"going on would cost about {dollars(standing.left)} more{without}"
    more = standing.spent + 1.2 * (standing.left or money.budget)
    table = "" if money.prices == PACKAGED else f" and prices {money.prices}"
    return Incomplete(
        f"The budget of {dollars(money.budget)} is used up: {dollars(standing.spent)} was spent, {share:.0%} "
        f"of the chunks are done, and {going_on}. "
        f"Go on with budget {more:.2f}{table}: chunkflow retry {work}"
    )
