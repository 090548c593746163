"""A runner in a process of its own, to be stopped, interrupted and killed by its process id.

python job_process.py JOB.json [ADDRESS of a Ray cluster] [WORKERS]
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from chunkflow.engine.ledger.chain import Held
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.executor import Executor
from chunkflow.engine.pool.pool import Pool
from chunkflow.engine.pool.serial import SerialExecutor
from chunkflow.engine.queue.memory import MemoryQueue
from chunkflow.engine.run.opening import open_run
from chunkflow.engine.run.runner import Runner
from chunkflow.errors import Overtaken
from chunkflow.jobs.planned import open_plan

EXITS = {"complete": 0, "incomplete": 1, "interrupted": 130}
HELD, OVERTAKEN = 4, 3


def main(path: str, address: str = "", workers: str = "1") -> int:
    plan = open_plan(Job.model_validate_json(Path(path).read_text()))
    try:
        with open_run(plan, {}) as ledger:
            queue = MemoryQueue(len(plan.worker_kinds))
            pool = Pool(queue, _executor(plan, address), [int(workers)] * len(plan.worker_kinds))
            runner = Runner(plan, ledger, queue, pool, (), 0.01)
            signal.signal(signal.SIGINT, lambda *_: runner.interrupt())
            print("begun", flush=True)
            status = runner.run()
    except Held as error:
        print(error)
        return HELD
    except Overtaken as error:
        print(error)
        return OVERTAKEN
    print(status)
    return EXITS[status]


def _executor(plan: Plan, address: str) -> Executor:
    if not address:
        return SerialExecutor(plan)
    from cluster.workers.connection import join
    from cluster.workers.executor import RayExecutor

    join(address)
    return RayExecutor(plan)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
