"""The part of a plan that speaks of money: what a job takes and costs on each device of a price table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from chunkflow.estimate import (
    NOT_MEASURED,
    Offer,
    Wanted,
    cheapest,
    crossings,
    fees,
    kind_of,
    offers,
    refuse_all,
    workers_on,
)
from chunkflow.forecast import Traffic, traffic
from chunkflow.measures import Measures
from chunkflow.plan import Plan, Step
from chunkflow.prices import SPOT, Device, PriceTable
from chunkflow.words import counted, dollars, in_words

ADVICE = "give its kvoxels_per_second in the table, or measure it with --sample and --address"


def show_prices(
    console: Console, plan: Plan, prices: PriceTable, measures: Mapping[str, Measures], wanted: Wanted
) -> None:
    """Print the table of devices, what it does not say, and the pool that a deadline chooses."""
    used = traffic(plan)
    regions = {bucket: region for bucket in used if (region := bucket_region(bucket))}
    found = offers(plan, prices, measures, wanted, used, regions)
    if any(not offer.effort.obstacle for offer in found):
        console.print(_table(found, fees(prices, used), used, wanted))
    told = (
        *_left_out(found),
        *_measured(plan, prices, measures),
        *_unmeasured(found),
        *_crossed(prices, used, regions, found),
    )
    for line in told:
        console.print(line, highlight=False, soft_wrap=True)
    if wanted.deadline is not None:
        best = cheapest(found)
        if best is None:
            raise refuse_all(found, wanted.deadline)
        console.print(_choice(best), highlight=False, soft_wrap=True)


def throughputs(plan: Plan, measures: Measures, workers: Callable[[Step], int]) -> str:
    """What was measured of a node that holds so many workers, as a line for a price table."""
    rates = {}
    for entry in plan.job.tasks:
        steps = [step for step in plan.steps if step.entry == entry.name]
        if all(step.name in measures and workers(step) for step in steps):
            seconds = sum(len(step.grid) * measures[step.name].mean / workers(step) for step in steps)
            rates[entry.name] = max(step.region.voxels for step in steps) / seconds / 1000
    said = ", ".join(f"{name}: {rate:.4g}" for name, rate in rates.items())
    return f"kvoxels_per_second: {{{said}}}" if said else ""


def _measured(plan: Plan, prices: PriceTable, measures: Mapping[str, Measures]) -> Iterator[str]:
    """What was measured on nodes, to be kept in a table, and on what no table has."""
    for name, found in measures.items():
        device = prices.devices.get(name)
        if device is None:
            if name:
                yield f"{name} was measured, but the price table does not have it."
            continue

        def workers(step: Step, device: Device = device) -> int:
            return workers_on(device, kind_of(plan, step))

        if rates := throughputs(plan, found, workers):
            yield f"Measured on {name}, to be kept in the price table: {rates}"


def _table(
    found: Sequence[Offer],
    fee: tuple[float, float],
    used: Mapping[str, Traffic],
    wanted: Wanted,
) -> Table:
    """A line for each device that has figures."""
    table = Table(box=None, pad_edge=False)
    shown = ["device", "kvoxel/s", "nodes", "time", "±95 %", "spot", "on demand"]
    shown += ["requests", "a month", "traffic"] if used else []
    for name in shown:
        table.add_column(name, justify="left" if name == "device" else "right", no_wrap=True)
    best = cheapest(found)
    for offer in (offer for offer in found if not offer.effort.obstacle):
        more = "+" if offer.effort.unmeasured else ""
        late = wanted.deadline is not None and not offer.in_time
        table.add_row(
            offer.device + (" ◀" if offer is best else ""),
            f"{offer.kvoxels_per_second:,.2f}",
            f"{offer.nodes:,}",
            _time(offer.seconds) + more + (" late" if late else ""),
            _margin(offer),
            *(_dollars(price, more) for price in (offer.preemptible, offer.on_demand)),
            *([dollars(fee[0]), dollars(fee[1]), dollars(offer.transfer)] if used else []),
        )
    return table


def _left_out(found: Sequence[Offer]) -> Iterator[str]:
    """The devices without figures, by the reason."""
    alike: dict[str, list[str]] = {}
    for offer in found:
        if offer.effort.obstacle:
            alike.setdefault(offer.effort.obstacle, []).append(offer.device)
    for why, devices in alike.items():
        advice = f" ({ADVICE})" if why == NOT_MEASURED else ""
        yield f"{why[0].upper()}{why[1:]}: {', '.join(devices)}{advice}."


def _dollars(price: float | None, more: str) -> str:
    return "–" if price is None else dollars(price) + more


def _margin(offer: Offer) -> str:
    if not isfinite(offer.effort.margin):
        return "unknown"
    return f"{offer.effort.margin / offer.effort.seconds:.0%}" if offer.effort.margin else "given"


def _time(seconds: float) -> str:
    return f"{seconds / 86400:,.2f} days" if seconds >= 86400 / 2 else in_words(seconds)


def _unmeasured(found: Sequence[Offer]) -> list[str]:
    """For each device that was measured in part, what its figures lack."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for offer in found:
        if not offer.effort.obstacle and offer.effort.unmeasured:
            lacking.setdefault(offer.effort.unmeasured, []).append(offer.device)
    return [
        f"Without {', '.join(steps)}, not measured on {', '.join(devices)}: run a part with --box first, or "
        "give kvoxels_per_second in the price table."
        for steps, devices in lacking.items()
    ]


def _crossed(
    prices: PriceTable, used: Mapping[str, Traffic], regions: Mapping[str, str], found: Sequence[Offer]
) -> list[str]:
    """The buckets that are elsewhere than the workers, each with its price a GB."""
    lines: dict[str, None] = {}
    for offer in found:
        if offer.effort.obstacle:
            continue
        device = prices.devices[offer.device]
        for bucket, (each, _) in crossings(device, prices, used, regions).items():
            gigabytes = (used[bucket].bytes_in + used[bucket].bytes_out) / 1e9
            lines[
                f"{bucket} is in {regions.get(bucket, 'another cloud')}, workers in {device.region}: "
                f"{gigabytes:,.2f} GB between them at ${each:g} a GB."
            ] = None
    unknown = [bucket for bucket in used if bucket not in regions]
    if unknown:
        lines[f"The region of {', '.join(unknown)} is not known; it is taken as the workers' own."] = None
    return list(lines)


def _choice(best: Offer) -> str:
    price = best.preemptible is not None and best.preemptible <= (best.on_demand or best.preemptible)
    return (
        f"In time and cheapest: {counted(best.nodes, 'node')} of {best.device}{SPOT * price}, "
        f"{dollars(best.dollars)}; all is done after {_time(best.seconds)}, at most "
        f"{_time(best.latest)}."
    )


def bucket_region(bucket: str) -> str:
    """The region of an S3 bucket; empty where it is not known or may not be asked."""
    scheme, _, name = bucket.partition("://")
    if scheme != "s3":
        return ""
    try:
        answer = boto3.client("s3").get_bucket_location(Bucket=name)
    except (BotoCoreError, ClientError):
        return ""
    return str(answer.get("LocationConstraint") or "us-east-1")
