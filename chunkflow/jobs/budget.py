"""What a run costs: the estimate that it begins with, its budget, and what is said of them."""

from __future__ import annotations

from pathlib import Path

from chunkflow.accounts import dollars_of, measures_of, read_accounts
from chunkflow.cost import CostMeter
from chunkflow.errors import BadInput, Incomplete
from chunkflow.estimate import estimate_of
from chunkflow.jobs.means import Means, Money
from chunkflow.measures import Measures, chosen_cells, measure, together
from chunkflow.plan import Plan, spec_of
from chunkflow.prices import PACKAGED, PriceTable, load_prices
from chunkflow.schedule import DONE, Schedule
from chunkflow.words import dollars
from cli.builtin import sources_of
from cli.options import refuse_no_sum

HERE = ""
"""The device of workers for which nothing is paid, as of those on this machine."""
OVER_BUDGET = "incomplete: budget"
"""How a run ends that has used its budget up."""


def checked_prices(plan: Plan, means: Means) -> PriceTable:
    """The price table; refuses a budget that cannot be held, or is spent already."""
    budget = means.money.budget
    refuse_no_sum(budget)
    prices = load_prices(means.money.prices)
    if budget is None:
        return prices
    if not means.address and not plan.job.queue:
        raise BadInput("--budget is held against what a cluster's nodes cost; this machine costs nothing.")
    before = dollars_of(read_accounts(plan.job.work))
    if before >= budget:
        raise BadInput(
            f"All runs of this job have cost {dollars(before)} already, which --budget {budget:g} counts in: "
            "give a larger one."
        )
    return prices


def measured(plan: Plan, sample: int, address: str, folder: Path) -> dict[str, Measures]:
    """What cells take by device, as the price table names it: of a sample done now, and of earlier runs of
    this job."""
    found = measures_of(read_accounts(plan.job.work))
    chosen = chosen_cells(plan, sample)
    if sample and address:
        from cluster.sampling import measure_on_devices  # takes two seconds, which others need not pay

        sources = sources_of(plan.job, folder)
        for device, measures in measure_on_devices(address, spec_of(plan), sources, chosen).items():
            found.setdefault(device, []).append(measures)
    elif sample:
        found[HERE] = [measure(plan, chosen)]
    return {device: together(plan, several) for device, several in found.items()}


def begin_account(plan: Plan, prices: PriceTable, means: Means, folder: Path) -> CostMeter:
    """The account of a run that is about to begin, with what it is thought to take."""
    before = dollars_of(read_accounts(plan.job.work))
    measures = measured(plan, means.money.sample, means.address, folder)
    return CostMeter(plan, prices, estimate_of(plan, prices, measures), means.money.budget, before)


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
            f"it to a table of your own, then: chunkflow retry {work} --budget DOLLARS --prices TABLE"
        )
    assert money.budget is not None
    share = int(schedule.counts[:, DONE].sum()) / max(int(schedule.counts.sum()), 1)
    going_on = "what going on would cost is not known yet"
    if standing.left is not None:
        without = f" without {', '.join(standing.unknown)}" if standing.unknown else ""
        going_on = f"going on would cost about {dollars(standing.left)} more{without}"
    more = standing.spent + 1.2 * (standing.left or money.budget)
    table = "" if money.prices == PACKAGED else f" --prices {money.prices}"
    return Incomplete(
        f"The budget of {dollars(money.budget)} is used up: {dollars(standing.spent)} was spent, {share:.0%} "
        f"of the pieces of work are done, and {going_on}. "
        f"Go on with: chunkflow retry {work} --budget {more:.2f}{table}"
    )
