"""With what a job runs: this process, this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from chunkflow.engine.pool.staff import Staff, staff_for
from chunkflow.errors import BadInput
from chunkflow.events import Listener
from chunkflow.plan import Plan, spec_of
from chunkflow.pool import Executor
from chunkflow.prices import PACKAGED
from chunkflow.serial import SerialExecutor
from chunkflow.words import counted
from cli.builtin import sources_of


@dataclass(frozen=True)
class Money:
    """What the user said of money."""

    prices: Path = PACKAGED
    budget: float | None = None
    """Dollars that a job may cost in all."""
    sample: int = 0
    """Cells of each task that are measured before."""


@dataclass(frozen=True)
class Means:
    """What the user said of it; `workers` is 0 for as many as there is room for."""

    workers: int = 0
    address: str = ""
    serial: bool = False
    money: Money = field(default_factory=Money)

    def __post_init__(self) -> None:
        if self.serial and self.address:
            raise BadInput("--serial runs in this process, --address on a Ray cluster; give one of them.")

    @property
    def local_workers(self) -> int:
        return 1 if self.serial else self.workers or os.cpu_count() or 1

    def staff(self, plan: Plan) -> Staff:
        """The workers for a plan. To be asked before anything is written: it joins the cluster, if there is
        one, and refuses what no worker could do there."""
        if self.serial:
            return Staff((1,) * len(plan.worker_kinds), None, 1.0)
        if not self.address:
            from cluster.capacity import room_here  # Ray takes two seconds, which serial need not pay

            return staff_for(plan, room_here(self.workers), self.workers)
        from cluster.capacity import room_of
        from cluster.connection import join, refuse_dead

        refuse_dead(self.address)
        join(self.address)
        return staff_for(plan, room_of(self.address), self.workers)

    def executor(self, plan: Plan, staff: Staff, folder: Path, console: Console) -> Executor:
        """Where map runs; starts Ray if that is on this machine."""
        if self.serial:
            return SerialExecutor(plan)
        for why in staff.left:
            console.print(f"{why} Pools elsewhere must do it.", highlight=False, soft_wrap=True)
        workers = counted(sum(staff.sizes), "worker")
        console.print(f"{'Joined' if self.address else 'Starting'} Ray with {workers}.", highlight=False)
        from cluster.connection import start_here
        from cluster.ray_executor import RayExecutor

        if not self.address:
            start_here(staff.cores)
        return RayExecutor(spec_of(plan), sources_of(plan.job, folder), plan.worker_kinds)

    def exported(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> list[Listener]:
        """Who lets a cluster's metrics tell of the run."""
        if not self.address:
            return []
        from cluster.metrics import Metrics

        return [Metrics(backlog, dollars)]
