"""The part of a plan that speaks of money: what a job takes and costs on each device of a price table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite

from rich.console import Console
from rich.table import Table

from chunkflow.engine.cost.estimate import NOT_MEASURED, Offer
from chunkflow.engine.cost.prices import SPOT
from chunkflow.engine.cost.quote import Quote
from chunkflow.words import counted, dollars, in_words

ADVICE = "give its kvoxels_per_second in the table, or measure it with --sample and --address"


def show_prices(console: Console, quote: Quote) -> None:
    """Print the table of devices, what it does not say, and the pool that a deadline chooses."""
    if quote.known:
        console.print(_table(quote))
    for line in (*_left_out(quote), *_measured(quote), *_unmeasured(quote), *_crossed(quote)):
        console.print(line, highlight=False, soft_wrap=True)
    best = quote.pool()
    if best is not None:
        console.print(_choice(best), highlight=False, soft_wrap=True)


def in_table(rates: Mapping[str, float]) -> str:
    """Throughputs by task as a line for a price table."""
    said = ", ".join(f"{name}: {rate:.4g}" for name, rate in rates.items())
    return f"kvoxels_per_second: {{{said}}}"


def _measured(quote: Quote) -> Iterator[str]:
    """Throughputs measured on nodes, to be kept in a table, and devices that the table lacks."""
    for name in quote.unpriced:
        yield f"{name} was measured, but the price table does not have it."
    for name, rates in quote.throughputs.items():
        yield f"Measured on {name}, to be kept in the price table: {in_table(rates)}"


def _table(quote: Quote) -> Table:
    """A line for each device that has figures."""
    table = Table(box=None, pad_edge=False)
    shown = ["device", "kvoxel/s", "nodes", "time", "±95 %", "spot", "on demand"]
    shown += ["requests", "a month", "traffic"] if quote.traffic else []
    for name in shown:
        table.add_column(name, justify="left" if name == "device" else "right", no_wrap=True)
    requests, month = quote.fees
    for offer in quote.known:
        more = "+" if offer.effort.unmeasured else ""
        late = quote.wanted.deadline is not None and not offer.in_time
        table.add_row(
            offer.device + (" ◀" if offer is quote.best else ""),
            f"{offer.kvoxels_per_second:,.2f}",
            f"{offer.nodes:,}",
            _time(offer.seconds) + more + (" late" if late else ""),
            _margin(offer),
            *(_dollars(price, more) for price in (offer.preemptible, offer.on_demand)),
            *([dollars(requests), dollars(month), dollars(offer.transfer)] if quote.traffic else []),
        )
    return table


def _left_out(quote: Quote) -> Iterator[str]:
    """The devices without figures, by the reason."""
    alike: dict[str, list[str]] = {}
    for offer in quote.offers:
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


def _unmeasured(quote: Quote) -> list[str]:
    """For each device that was measured in part, what its figures lack."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for offer in quote.known:
        if offer.effort.unmeasured:
            lacking.setdefault(offer.effort.unmeasured, []).append(offer.device)
    return [
        f"Without {', '.join(steps)}, not measured on {', '.join(devices)}: run a part with --box first, or "
        "give kvoxels_per_second in the price table."
        for steps, devices in lacking.items()
    ]


def _crossed(quote: Quote) -> Iterator[str]:
    """The buckets that are elsewhere than the workers, each with its price a GB."""
    for bucket, region, each in quote.crossings():
        gigabytes = (quote.traffic[bucket].bytes_in + quote.traffic[bucket].bytes_out) / 1e9
        yield (
            f"{bucket} is in {quote.regions.get(bucket, 'another cloud')}, workers in {region}: "
            f"{gigabytes:,.2f} GB between them at ${each:g} a GB."
        )
    unknown = [bucket for bucket in quote.traffic if bucket not in quote.regions]
    if unknown:
        yield f"The region of {', '.join(unknown)} is not known; it is taken as the workers' own."


def _choice(best: Offer) -> str:
    price = best.preemptible is not None and best.preemptible <= (best.on_demand or best.preemptible)
    return (
        f"In time and cheapest: {counted(best.nodes, 'node')} of {best.device}{SPOT * price}, "
        f"{dollars(best.dollars)}; all is done after {_time(best.seconds)}, at most "
        f"{_time(best.latest)}."
    )
