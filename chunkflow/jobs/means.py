"""With what a job runs: this process, this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chunkflow.engine.cost.measures import Measures, measure
from chunkflow.engine.cost.prices import PACKAGED
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Executor
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.pool.staff import Staff
from chunkflow.engine.run.events import Listener
from chunkflow.errors import BadInput
from chunkflow.registry import from_cluster

HERE = ""
"""The device of workers for which nothing is paid, as of those on this machine."""


class Site(Protocol):
    """A place where the workers of a job run."""

    def staff(self, plan: Plan) -> Staff:
        """The workers for a plan. To be asked before anything is written: it joins the cluster, if there is
        one, and refuses what no worker could do there."""

    def executor(self, plan: Plan, staff: Staff, owner: str, say: Callable[[str], None]) -> Executor:
        """Where map runs, writing as the run's `owner`; `say` is told what is started or joined."""

    def exported(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> list[Listener]:
        """The listeners that let a cluster's metrics tell of the run."""


class SerialSite:
    """This process, whose one worker does one chunk at a time."""

    def staff(self, plan: Plan) -> Staff:
        return Staff((1,) * len(plan.worker_kinds), None, 1.0)

    def executor(self, plan: Plan, staff: Staff, owner: str, say: Callable[[str], None]) -> Executor:
        return SerialExecutor(plan, owner)

    def exported(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> list[Listener]:
        return []


@dataclass(frozen=True)
class Money:
    """Prices, and what a job may cost."""

    prices: Path = PACKAGED
    budget: float | None = None
    """Dollars that a job may cost in all."""
    sample: int = 0
    """Cells of each task that are measured before."""


@dataclass(frozen=True)
class Means:
    """Workers, and the money for them; `workers` is 0 for as many as there is room for."""

    workers: int = 0
    address: str = ""
    serial: bool = False
    money: Money = field(default_factory=Money)

    def __post_init__(self) -> None:
        if self.serial and self.address:
            raise BadInput("serial runs in this process, address on a Ray cluster; give one of them.")

    @property
    def local_workers(self) -> int:
        return 1 if self.serial else self.workers or os.cpu_count() or 1

    @property
    def site(self) -> Site:
        """Where the workers run."""
        if self.serial:
            return SerialSite()
        if self.address:
            joined: Site = from_cluster("cluster")(self.address, self.workers)
            return joined
        machine: Site = from_cluster("machine")(self.workers)
        return machine

    def measured(self, plan: Plan, chosen: Mapping[int, Sequence[int]]) -> dict[str, Measures]:
        """The times of chosen cells of each step by device, done without writing; on this machine they are
        done in this process."""
        if not self.address:
            return {HERE: measure(plan, chosen)}
        found: dict[str, Measures] = from_cluster("cluster")(self.address).measured(plan, chosen)
        return found
