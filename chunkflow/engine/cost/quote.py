"""Quote for a plan: time and dollars on each device of a price table, as data, as text and as a table."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite

from chunkflow.engine.cost.estimate import NOT_MEASURED, Offer, Wanted, crossings, fees, offers
from chunkflow.engine.cost.measures import Measures
from chunkflow.engine.cost.prices import SPOT, PriceTable, rates_line
from chunkflow.engine.cost.throughput import bucket_region, device_throughputs
from chunkflow.engine.planning.forecast import Traffic, traffic
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.words import counted, dollars, html_table, in_words, text_table

ADVICE = "give its kvoxels_per_second in the table, or measure a sample on nodes of a cluster"
FIGURES = ("device", "kvoxel/s", "nodes", "time", "±95 %", "spot", "on demand")
FEES = ("requests", "a month", "traffic")


@dataclass(frozen=True, repr=False)
class Quote:
    """Time and dollars that a plan takes on each device of a price table; in a notebook a table."""

    prices: PriceTable
    wanted: Wanted
    offers: tuple[Offer, ...]
    """One for each device of the table."""
    traffic: Mapping[str, Traffic]
    """Requests and bytes by bucket."""
    regions: Mapping[str, str]
    """The regions of the buckets, as far as they are known."""
    throughputs: Mapping[str, Mapping[str, float]]
    """Thousands of voxels a second that were measured, by device and task."""
    unpriced: tuple[str, ...]
    """Devices that were measured, and that the table does not have."""

    @property
    def known(self) -> list[Offer]:
        """The offers that have figures."""
        return [offer for offer in self.offers if not offer.effort.obstacle]

    @property
    def fees(self) -> tuple[float, float]:
        """Dollars for requests, and for a month of what is written."""
        return fees(self.prices, self.traffic)

    @property
    def best(self) -> Offer | None:
        """The cheapest pool that meets the deadline."""
        return cheapest(self.offers)

    def pool(self) -> Offer | None:
        """The pool that the deadline chooses, None without a deadline; BadInput where none meets it."""
        if self.wanted.deadline is None:
            return None
        if self.best is None:
            raise refuse_all(self.offers, self.wanted.deadline)
        return self.best

    def crossings(self) -> list[tuple[str, str, float]]:
        """The buckets that lie elsewhere than workers, the workers' region, and dollars a GB."""
        found: dict[tuple[str, str, float], None] = {}
        for offer in self.known:
            device = self.prices.devices[offer.device]
            for bucket, (each, _) in crossings(device, self.prices, self.traffic, self.regions).items():
                found[bucket, device.region, each] = None
        return list(found)

    @property
    def head(self) -> tuple[str, ...]:
        """The columns of the table."""
        return (*FIGURES, *(FEES if self.traffic else ()))

    def rows(self) -> list[tuple[str, ...]]:
        """The table as texts, a row for each device that has figures."""
        return [self._row(offer) for offer in self.known]

    def _row(self, offer: Offer) -> tuple[str, ...]:
        more = "+" if offer.effort.unmeasured else ""
        late = self.wanted.deadline is not None and not offer.in_time
        paid = (offer.preemptible, offer.on_demand)
        requests, month = self.fees
        return (
            offer.device + (" ◀" if offer is self.best else ""),
            f"{offer.kvoxels_per_second:,.2f}",
            f"{offer.nodes:,}",
            _time(offer.seconds) + more + (" late" if late else ""),
            _margin(offer),
            *("–" if price is None else dollars(price) + more for price in paid),
            *((dollars(requests), dollars(month), dollars(offer.transfer)) if self.traffic else ()),
        )

    def remarks(self) -> list[str]:
        """Sentences on what the table lacks, on what was measured, and on what crosses regions."""
        return [*self._left_out(), *self._measured(), *self._unmeasured(), *self._crossed()]

    def _left_out(self) -> Iterator[str]:
        """The devices without figures, by the reason."""
        alike: dict[str, list[str]] = {}
        for offer in self.offers:
            if offer.effort.obstacle:
                alike.setdefault(offer.effort.obstacle, []).append(offer.device)
        for why, devices in alike.items():
            advice = f" ({ADVICE})" if why == NOT_MEASURED else ""
            yield f"{why[0].upper()}{why[1:]}: {', '.join(devices)}{advice}."

    def _measured(self) -> Iterator[str]:
        """Throughputs measured on nodes, to be kept in a table, and devices that the table lacks."""
        for name in self.unpriced:
            yield f"{name} was measured, but the price table does not have it."
        for name, rates in self.throughputs.items():
            yield f"Measured on {name}, to be kept in the price table: {rates_line(rates)}"

    def _unmeasured(self) -> Iterator[str]:
        """For each device that was measured in part, what its figures lack."""
        lacking: dict[tuple[str, ...], list[str]] = {}
        for offer in self.known:
            if offer.effort.unmeasured:
                lacking.setdefault(offer.effort.unmeasured, []).append(offer.device)
        for steps, devices in lacking.items():
            yield (
                f"Without {', '.join(steps)}, not measured on {', '.join(devices)}: run a part of the volume "
                "first, or give kvoxels_per_second in the price table."
            )

    def _crossed(self) -> Iterator[str]:
        """The buckets that are elsewhere than the workers, each with its price a GB."""
        for bucket, region, each in self.crossings():
            gigabytes = (self.traffic[bucket].bytes_in + self.traffic[bucket].bytes_out) / 1e9
            yield (
                f"{bucket} is in {self.regions.get(bucket, 'another cloud')}, workers in {region}: "
                f"{gigabytes:,.2f} GB between them at ${each:g} a GB."
            )
        unknown = [bucket for bucket in self.traffic if bucket not in self.regions]
        if unknown:
            yield f"The region of {', '.join(unknown)} is not known; it is taken as the workers' own."

    def choice(self) -> str:
        """The pool that the deadline chooses, in a sentence; empty without a deadline.

        BadInput where no pool meets it.
        """
        best = self.pool()
        if best is None:
            return ""
        price = best.preemptible is not None and best.preemptible <= (best.on_demand or best.preemptible)
        return (
            f"In time and cheapest: {counted(best.nodes, 'node')} of {best.device}{SPOT * price}, "
            f"{dollars(best.dollars)}; all is done after {_time(best.seconds)}, at most "
            f"{_time(best.latest)}."
        )

    def _sentences(self) -> list[str]:
        """All that stands below the table, where no pool is in time the reason."""
        try:
            choice = self.choice()
        except BadInput as error:
            choice = str(error)
        return [*self.remarks(), *([choice] if choice else [])]

    def __repr__(self) -> str:
        table = [text_table(self.head, self.rows())] if self.known else []
        return "\n".join([*table, *self._sentences()])

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        said = "".join(f"<p>{html.escape(text)}</p>" for text in self._sentences())
        return f"{html_table(self.head, self.rows()) if self.known else ''}{said}"


def cheapest(found: Sequence[Offer]) -> Offer | None:
    """The offer of least cost among those that meet the deadline."""
    return min((offer for offer in found if offer.in_time), key=lambda offer: offer.dollars, default=None)


def refuse_all(found: Sequence[Offer], deadline: float) -> BadInput:
    """Why no pool of any device meets a deadline, and what to do."""
    measured = [offer for offer in found if not offer.effort.obstacle]
    if not measured:
        return BadInput(
            "No device of the price table is measured, so no pool can be chosen: give its kvoxels_per_second "
            "there, or measure a sample on nodes of the cluster."
        )
    whole = [offer for offer in measured if not offer.effort.unmeasured]
    if not whole:
        return BadInput(
            f"No pool can be chosen, as {', '.join(measured[0].effort.unmeasured)} is not measured: run a "
            "part of the volume first, or give kvoxels_per_second in the price table."
        )
    if not any(isfinite(offer.effort.margin) for offer in whole):
        return BadInput("One chunk tells nothing of the others: choose a pool by a sample of 2 or more.")
    best = min(whole, key=lambda offer: offer.latest)
    return BadInput(
        f"No pool of the price table is done within {_clock(deadline)}: {best.nodes:,} nodes of "
        f"{best.device} take up to {_clock(best.latest)}. Raise `most` in the table, or the deadline."
    )


def _clock(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} h"


def _margin(offer: Offer) -> str:
    if not isfinite(offer.effort.margin):
        return "unknown"
    return f"{offer.effort.margin / offer.effort.seconds:.0%}" if offer.effort.margin else "given"


def _time(seconds: float) -> str:
    return f"{seconds / 86400:,.2f} days" if seconds >= 86400 / 2 else in_words(seconds)


def quote(plan: Plan, measures: Mapping[str, Measures], prices: PriceTable, wanted: Wanted) -> Quote:
    """The quote for a plan; `measures` are by device, and by "" for this machine."""
    used = traffic(plan)
    regions = {bucket: region for bucket in used if (region := bucket_region(bucket))}
    return Quote(
        prices,
        wanted,
        tuple(offers(plan, prices, measures, wanted, used, regions)),
        used,
        regions,
        device_throughputs(plan, prices, measures),
        tuple(name for name in measures if name and name not in prices.devices),
    )
