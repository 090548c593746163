"""Where the workers of a job run as Ray actors: on this machine, or on a cluster that is joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray

from chunkflow.engine.cost.measures import Measures
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.staff import Staff, staff_for
from chunkflow.engine.run.events import Listener
from chunkflow.words import counted
from cluster.workers.capacity import room_here, room_of
from cluster.workers.connection import join, refuse_dead, refuse_unstartable, start_here
from cluster.workers.executor import RayExecutor
from cluster.workers.metrics import Metrics
from cluster.workers.sampling import measure_on_devices


@dataclass(frozen=True)
class Machine:
    """This machine; `workers` is 0 for as many as there is room for."""

    workers: int

    def staff(self, plan: Plan) -> Staff:
        refuse_unstartable()
        return staff_for(plan, room_here(self.workers), self.workers)

    def executor(self, plan: Plan, staff: Staff, owner: str, say: Callable[[str], None]) -> RayExecutor:
        _tell(staff, "Using" if ray.is_initialized() else "Starting", say)
        start_here(staff.cores)
        return RayExecutor(plan, owner)

    def exported(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> list[Listener]:
        return []


@dataclass(frozen=True)
class Cluster:
    """The Ray cluster at an address."""

    address: str
    workers: int = 0

    def staff(self, plan: Plan) -> Staff:
        refuse_dead(self.address)
        join(self.address)
        return staff_for(plan, room_of(self.address), self.workers)

    def executor(self, plan: Plan, staff: Staff, owner: str, say: Callable[[str], None]) -> RayExecutor:
        _tell(staff, "Joined", say)
        return RayExecutor(plan, owner)

    def exported(self, backlog: Callable[[], list[int]], dollars: Callable[[], float]) -> list[Listener]:
        return [Metrics(backlog, dollars)]

    def measured(self, plan: Plan, chosen: Mapping[int, Sequence[int]]) -> dict[str, Measures]:
        return measure_on_devices(self.address, plan, chosen)


def _tell(staff: Staff, did: str, say: Callable[[str], None]) -> None:
    for why in staff.left:
        say(f"{why} Pools elsewhere must do it.")
    say(f"{did} Ray with {counted(sum(staff.sizes), 'worker')}.")
