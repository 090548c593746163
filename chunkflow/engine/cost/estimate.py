"""Estimates: what a plan would take and cost on each device of a price table.

1. For each task: the seconds that one node has to work on it, from the voxels a second that the table gives,
   or else from measured cells and the workers that fit on a node.
2. Added up, with an interval of 95 % from the spread of the measured cells (Student's t over their means).
3. How many nodes: those asked for, the fewest that meet a deadline even at the interval's upper end, or as
   many as the table allows. No run ends before one chunk has gone through all tasks.
4. Dollars: node hours, requests, a month of what is written, and what crosses a border of regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor, hypot, inf, isfinite

from scipy.special import stdtrit

from chunkflow.engine.cost.accounts import Estimate, Figure
from chunkflow.engine.cost.measures import CellSeconds, Measures, map_stage
from chunkflow.engine.cost.prices import SPOT, Device, PriceTable, StoragePrice
from chunkflow.engine.planning.forecast import Traffic, forecast, worker_memory
from chunkflow.engine.planning.plan import Plan, Step
from chunkflow.errors import BadInput
from chunkflow.resources import Resources

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Wanted:
    """How large a pool is asked for: so many nodes, or as many as a deadline needs."""

    nodes: int | None = None
    deadline: float | None = None
    """Seconds."""

    def __post_init__(self) -> None:
        if self.nodes is not None and self.deadline is not None:
            raise BadInput("nodes says how many nodes there are, deadline chooses it; give one of them.")
        if self.nodes is not None and self.nodes < 1:
            raise BadInput(f"nodes takes a number above 0, not {self.nodes}.")
        if self.deadline is not None and not self.deadline > 0:
            raise BadInput(f"deadline takes seconds above 0, not {self.deadline:g}.")


@dataclass(frozen=True)
class Effort:
    """What a plan takes of one device: seconds of a node, and what is not known of it."""

    seconds: float = 0.0
    margin: float = 0.0
    """Half the interval of 95 %; 0 where figures are given, infinite where one chunk was measured."""
    shortest: float = 0.0
    """Seconds that one chunk takes through all tasks."""
    unmeasured: tuple[str, ...] = ()
    obstacle: str = ""
    """Why there is no figure."""

    @property
    def highest(self) -> float:
        return self.seconds + self.margin


@dataclass(frozen=True)
class Offer:
    """What a pool of one device would take and cost."""

    device: str
    effort: Effort
    kvoxels_per_second: float = 0.0
    """Of one node, through all tasks that were measured."""
    nodes: int = 0
    seconds: float = 0.0
    on_demand: float | None = None
    preemptible: float | None = None
    transfer: float = 0.0
    in_time: bool = False
    """Whether all is measured, and the deadline is met even at the interval's upper end."""

    @property
    def latest(self) -> float:
        """Seconds to the end, at the interval's upper end."""
        return max(self.effort.highest / self.nodes, self.effort.shortest)

    @property
    def dollars(self) -> float:
        """At the lower of its prices."""
        prices = [price for price in (self.preemptible, self.on_demand) if price is not None]
        return min(prices, default=inf) + self.transfer


def effort_on(plan: Plan, device: Device, measures: Mapping[str, CellSeconds]) -> Effort:
    """What a plan takes of nodes of this device."""
    total = _Sum()
    for entry in plan.job.tasks:
        steps = [step for step in plan.steps if step.entry == entry.name]
        rate = device.kvoxels_per_second.get(entry.name)
        if rate is not None:
            total.give(steps, 1000 * rate)
            continue
        for step in steps:
            workers = workers_on(device, kind_of(plan, step))
            if not workers:
                return Effort(obstacle=f"no room for {step.name}")
            total.measure(step, workers, measures.get(step.name))
    return total.effort()


@dataclass
class _Sum:
    """What is known of the tasks, added up."""

    seconds: float = 0.0
    shortest: float = 0.0
    errors: list[float] = field(default_factory=list)
    freedom: list[int] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)

    def give(self, steps: list[Step], voxels_per_second: float) -> None:
        """A task whose speed on a node is given."""
        took = max(step.region.voxels for step in steps) / voxels_per_second
        self.seconds += took
        self.shortest += took / max(len(step.grid) for step in steps)

    def measure(self, step: Step, workers: int, found: CellSeconds | None) -> None:
        """A step of which some cells may have been measured, by so many workers a node."""
        if found is None or not found.cells:
            self.unmeasured.append(step.name)
            return
        cells = len(step.grid)
        self.seconds += cells * found.mean / workers
        self.shortest += found.mean
        self.errors.append(cells * found.error(cells) / workers)
        if found.cells < cells:
            self.freedom.append(found.cells - 1)

    def effort(self) -> Effort:
        if not self.seconds:
            return Effort(unmeasured=tuple(self.unmeasured), obstacle=NOT_MEASURED)
        margin = inf
        if all(map(isfinite, self.errors)):
            margin = hypot(*self.errors) * float(stdtrit(min(self.freedom), 0.975)) if self.freedom else 0.0
        return Effort(self.seconds, margin, self.shortest, tuple(self.unmeasured))


def kind_of(plan: Plan, step: Step) -> Resources:
    """What a worker of this step takes."""
    return plan.worker_kinds[map_stage(plan, step.index).worker_kind]


def workers_on(device: Device, kind: Resources) -> int:
    """How many workers of a kind fit on one node."""
    room = [device.cpus / kind.cpus]
    if kind.gpus:
        room.append(device.gpus / kind.gpus)
    if kind.memory:
        room.append(device.memory / kind.memory)
    return floor(min(room) + 1e-9)


def offers(
    plan: Plan,
    prices: PriceTable,
    measures: Mapping[str, Measures],
    wanted: Wanted,
    traffic: Mapping[str, Traffic],
    regions: Mapping[str, str],
) -> list[Offer]:
    """One for each device of the table; `measures` by device, `regions` by bucket."""
    found = []
    for name, device in prices.devices.items():
        crossing = sum(dollars for _, dollars in crossings(device, prices, traffic, regions).values())
        effort = effort_on(plan, device, measures.get(name, {}))
        found.append(_offer(plan, name, device, effort, wanted, crossing))
    return found


def _offer(plan: Plan, name: str, device: Device, effort: Effort, wanted: Wanted, crossing: float) -> Offer:
    if effort.obstacle:
        return Offer(name, effort)
    nodes = wanted.nodes or device.most
    in_time = False
    if wanted.deadline is not None:
        needed = ceil(effort.highest / wanted.deadline) if isfinite(effort.margin) else inf
        in_time = needed <= device.most and effort.shortest <= wanted.deadline and not effort.unmeasured
        nodes = min(max(int(min(needed, device.most)), 1), device.most)
    hours = effort.seconds / 3600
    return Offer(
        name,
        effort,
        voxels_of(plan) / effort.seconds / 1000,
        nodes,
        max(effort.seconds / nodes, effort.shortest),
        None if device.on_demand is None else hours * device.on_demand,
        None if device.preemptible is None else hours * device.preemptible,
        crossing,
        in_time,
    )


def voxels_of(plan: Plan) -> int:
    """The voxels of a job: those of its largest step."""
    return max(step.region.voxels for step in plan.steps)


def fees(prices: PriceTable, traffic: Mapping[str, Traffic]) -> tuple[float, float]:
    """Dollars for requests, and for a month of what is written, as if uncompressed."""
    requests = month = 0.0
    for bucket, used in traffic.items():
        price = _storage(prices, bucket)
        if price is not None:
            requests += (used.gets * price.get_1000 + used.puts * price.put_1000) / 1000
            month += used.bytes_out / 1e9 * price.gigabyte_month
    return requests, month


def crossings(
    device: Device, prices: PriceTable, traffic: Mapping[str, Traffic], regions: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """The buckets that lie in another region than this device: dollars a GB, and in all."""
    found = {}
    for bucket, used in traffic.items():
        price = _storage(prices, bucket)
        if price is None or not device.provider:
            continue
        if price.provider != device.provider:
            each = price.elsewhere
        elif regions.get(bucket, device.region) != device.region:
            each = price.other_region
        else:
            continue
        found[bucket] = each, each * (used.bytes_in + used.bytes_out) / 1e9
    return found


def _storage(prices: PriceTable, bucket: str) -> StoragePrice | None:
    return prices.storage.get(bucket.partition("://")[0])


def estimate_of(plan: Plan, prices: PriceTable, measures: Mapping[str, Measures]) -> Estimate:
    """What a run is thought to take; hours and dollars of each device on which all is measured."""
    steps = forecast(plan)
    found = Estimate(
        chunks=sum(step.cells for step in steps),
        bytes_in=sum(step.bytes_in for step in steps),
        bytes_out=sum(step.bytes_out for step in steps),
        files=sum(step.files for step in steps),
        requests=sum(step.requests for step in steps),
        memory=worker_memory(plan),
    )
    for step in plan.steps:
        here = measures.get("", {}).get(step.name)
        if here is not None and here.cells:
            one = _Sum()
            one.measure(step, 1, here)
            found.seconds[step.name] = _figure(one.effort(), 1.0)
    for name, device in prices.devices.items():
        effort = effort_on(plan, device, measures.get(name, {}))
        if effort.obstacle or effort.unmeasured:
            continue
        for paid, price in ((name, device.on_demand), (name + SPOT, device.preemptible)):
            if price is not None:
                found.hours[paid] = _figure(effort, 1 / 3600)
                found.dollars[paid] = _figure(effort, price / 3600)
    return found


def _figure(effort: Effort, scale: float) -> Figure:
    margin = scale * effort.margin if isfinite(effort.margin) else None
    return Figure(value=scale * effort.seconds, margin=margin)
