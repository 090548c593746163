"""Runs a job on a Ray cluster of this machine whose nodes are killed all the time, and whose runner is, too.

`python -m testbed.chaos_run JOB.yaml [KILLS_OF_THE_RUNNER] [VICTIMS] [SEED]` prints what it took, as JSON.
The victims are nodes (the default), workers, or an empty word for none. In a process of its own, as a process
can hold one cluster.

1. The runner is killed early, each time once it has begun and its share of the first quarter is done, and is
   started again.
2. From then on to the end a node is killed, with all that runs on it, or a worker, a second or two after the
   last one and once something more is done; another takes its place.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cluster.workers.capacity import HEAD_ENVIRONMENT

os.environ |= {"RAY_AUTH_MODE": "disabled", **HEAD_ENVIRONMENT}

import psutil
import yaml
from ray.cluster_utils import Cluster

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger

NODES = 2
STORE = 80 * 2**20
PATIENCE = 600.0
MOST_KILLS = 12
"""Of nodes, about: between two of them a part of the job is done, else a busy machine would never get on."""


class Chaos:
    """A cluster, the runner of one job, and the dice."""

    def __init__(self, job: Path, runner_kills: int, victims: str, seed: int) -> None:
        self._job, self._runner_kills, self._victims = job, runner_kills, victims
        self._work = Folder(yaml.safe_load(job.read_text())["work"])
        self._dice = random.Random(seed)
        self._cluster = Cluster(initialize_head=True, head_node_args=_node(0))
        self._nodes = [self._added() for _ in range(NODES)]  # one after another
        self.killed = {"nodes": 0, "workers": 0, "runners": 0}

    def run(self) -> tuple[int, float]:
        """The runner's exit code once it ends by itself, and the seconds until then."""
        begin = time.monotonic()
        runner = self._runner()
        next_kill, before = begin + self._pause(), 0
        while time.monotonic() - begin < PATIENCE and runner.poll() is None:
            time.sleep(0.1)
            done, cells, runs = self._progress()
            if self.killed["runners"] < self._runner_kills:  # early: while a node starts nothing is looked at
                share = (self.killed["runners"] + 1) / (4 * self._runner_kills)
                if done > cells * share and runs > self.killed["runners"]:
                    runner, before = self._another(runner), done
            elif self._victims and time.monotonic() > next_kill and done - before > cells / MOST_KILLS:
                self._kill_a_node() if self._victims == "nodes" else self._kill_a_worker()
                next_kill, before = time.monotonic() + self._pause(), done
        runner.kill()
        return runner.wait(), time.monotonic() - begin

    def _pause(self) -> float:
        return self._dice.uniform(1.0, 2.0)

    def _runner(self) -> subprocess.Popen[bytes]:
        words = ["-m", "cli.main", "run", str(self._job), "--address", self._cluster.address]
        return subprocess.Popen([sys.executable, *words, "--workers", str(NODES)], stdout=sys.stderr)

    def _another(self, runner: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        runner.kill()
        runner.wait()
        self.killed["runners"] += 1
        return self._runner()

    def _progress(self) -> tuple[int, int, int]:
        """The cells that are done by the ledger, all cells, and the runs that have begun."""
        state = Ledger.load(self._work).state
        stages = state.stages.values()
        return sum(stage.done for stage in stages), sum(stage.cells for stage in stages) or 1, len(state.runs)

    def _kill_a_node(self) -> None:
        """One that has a worker, if any has."""
        self._dice.shuffle(self._nodes)
        node = max(self._nodes, key=lambda node: len(_actors(node)))
        self._nodes.remove(node)
        for process in [_raylet(node), *_raylet(node).children(recursive=True)]:  # as when a machine goes
            process.kill()
        self.killed["nodes"] += 1
        self._nodes.append(self._added())

    def _kill_a_worker(self) -> None:
        workers = [worker for node in self._nodes for worker in _actors(node)]
        if workers:
            self._dice.choice(workers).kill()
            self.killed["workers"] += 1

    def _added(self) -> Any:
        """One more node; Ray gives up on one that has not started in half a minute, as on a busy machine."""
        for _ in range(3):
            try:
                return self._cluster.add_node(**_node(1))
            except Exception as error:
                said = error
        raise said

    def close(self) -> None:
        for node in (*self._nodes, self._cluster.head_node):
            self._cluster.remove_node(node, allow_graceful=False)


def _raylet(node: Any) -> psutil.Process:
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def _actors(node: Any) -> list[psutil.Process]:
    return [process for process in _raylet(node).children() if process.name().startswith("ray::Actor")]


def _node(cpus: int) -> dict[str, Any]:
    return {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE}


def main(job: str, runner_kills: str = "0", victims: str = "nodes", seed: str = "1") -> None:
    chaos = Chaos(Path(job), int(runner_kills), victims, int(seed))
    try:
        code, seconds = chaos.run()
    finally:
        chaos.close()
    print(json.dumps({"code": code, "seconds": seconds, **chaos.killed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
