"""Kills of the runner at any moment, and of workers and nodes of a Ray cluster."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import yaml

from benchmarks.chaos.attack import Attack, Outcome
from benchmarks.chaos.trial import Trial

MOST_KILLS = 3
PATIENCE = 600.0


def kill_the_runner(trial: Trial, dice: random.Random) -> Outcome:
    """Kill it one to three times, each time another has begun."""
    job = trial.job()
    for _ in range(dice.randint(1, MOST_KILLS)):
        with trial.runner(job) as runner:
            time.sleep(dice.uniform(0.0, trial.seconds))
            runner.kill()
    trial.run_to_its_end(job)
    trial.judge()
    return "identical"


def kill_workers(trial: Trial, dice: random.Random) -> Outcome:
    return _on_ray(trial, "workers", 0, dice)


def kill_nodes(trial: Trial, dice: random.Random) -> Outcome:
    return _on_ray(trial, "nodes", 1, dice)


def _on_ray(trial: Trial, what: str, runner_kills: int, dice: random.Random) -> Outcome:
    """Run the job on a cluster of its own, in a process of its own."""
    file = trial.folder / "job.yaml"
    file.write_text(yaml.safe_dump(trial.job()))
    command = [sys.executable, "-m", "testbed.chaos_run", str(file), str(runner_kills), what]
    ran = subprocess.run(
        [*command, str(dice.randrange(10**6))], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ran.returncode == 0, ran.stderr[-600:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["code"] == 0, ran.stderr[-600:]
    assert told[what], f"no {what} were killed"
    file.unlink()
    trial.judge()
    return "identical"


ATTACKS = {
    "runner": Attack("the runner is killed, up to three times", kill_the_runner),
    "workers": Attack("workers on Ray are killed again and again", kill_workers),
    "nodes": Attack("nodes of Ray are killed again and again, and the runner", kill_nodes),
}
