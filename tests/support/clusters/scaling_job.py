"""A runner in a process of its own, on a cluster that grows and shrinks.

python scaling_job.py JOB.json ADDRESS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ray

from chunkflow.engine.planning.job import Job
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.staff import staff_for
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.events import CellDone, Event
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.jobs.planned import open_plan
from cluster.workers.capacity import room_of
from cluster.workers.executor import RayExecutor

IDLE_SECONDS = 1.0


def main(path: str, address: str) -> int:
    plan = open_plan(Job.model_validate_json(Path(path).read_text()))
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    staff = staff_for(plan, room_of(address))
    assert staff.idle_seconds is not None, "the cluster does not say that it grows"
    queue = MemoryQueue(len(plan.worker_kinds))
    executor = RayExecutor(plan)
    devices: dict[str, set[str]] = {}

    def note(event: Event) -> None:
        if isinstance(event, CellDone):
            stage = plan.stages[event.answer.stage].name
            devices.setdefault(stage, set()).add(event.answer.place.device)

    with open_run(plan, {}) as ledger:
        pool = Pool(queue, executor, staff.sizes, idle_seconds=IDLE_SECONDS)
        status = Runner(plan, ledger, queue, pool, [note], 0.01).run()
    said = {"status": status, "devices": {name: sorted(found) for name, found in devices.items()}}
    print(json.dumps(said), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
