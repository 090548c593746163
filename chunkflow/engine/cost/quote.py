"""Quote for a plan: time and dollars on each device of a price table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chunkflow.engine.cost.estimate import Offer, Wanted, cheapest, crossings, fees, offers, refuse_all
from chunkflow.engine.cost.measures import Measures
from chunkflow.engine.cost.prices import PriceTable
from chunkflow.engine.cost.throughput import bucket_region, device_throughputs
from chunkflow.engine.planning.forecast import Traffic, traffic
from chunkflow.engine.planning.plan import Plan


@dataclass(frozen=True)
class Quote:
    """Time and dollars that a plan takes on each device of a price table."""

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


def quote(plan: Plan, prices: PriceTable, measures: Mapping[str, Measures], wanted: Wanted) -> Quote:
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
