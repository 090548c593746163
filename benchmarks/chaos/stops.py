"""Stops of a runner, for long enough that another takes the job over, and goes on of the first."""

from __future__ import annotations

import random
import time

from benchmarks.chaos.attack import Attack, Outcome
from benchmarks.chaos.trial import OTHER, PATIENCE, TASK, Trial

LEASE_SECONDS = 1.0  # four heartbeats


def take_over(trial: Trial, dice: random.Random) -> Outcome:
    return _stopped(trial, dice, restart=False)


def take_over_with_a_restart(trial: Trial, dice: random.Random) -> Outcome:
    return _stopped(trial, dice, restart=True)


def _stopped(trial: Trial, dice: random.Random, restart: bool) -> Outcome:
    """Stop the first runner at any moment, begin a second, and let the first go on at any moment.

    Where that is before its lease has run out, the second must be refused.
    """
    first_job = trial.job()
    job, task = (trial.job(diameter=OTHER), TASK) if restart else (first_job, "")
    with trial.runner(first_job) as first:
        time.sleep(dice.uniform(0.0, trial.seconds))
        first.stop()
        with trial.runner(job, task) as second:
            time.sleep(LEASE_SECONDS * dice.choice((0.5, 1.0)) + dice.uniform(0.0, 1.2 * trial.seconds))
            first.go_on()
            first_ended, first_said = first.wait(PATIENCE)
            ended, said = second.wait(PATIENCE)
    late = "BadInput" if restart else "Held"  # it had not begun yet, and finds the other's job
    assert first_ended in ("complete", "Overtaken", "Held", late), f"the first: {first_ended}: {first_said}"
    refused = ended in ("Held", "BadInput")
    if refused:
        assert "held by" in said or "taken over" in said or "in the meantime" in said, said
        trial.run_to_its_end(job, task)
    else:
        assert ended == "complete", f"the second: {ended}: {said}"
    trial.judge(other=restart)
    return "said so" if refused or first_ended != "complete" else "identical"


ATTACKS = {
    "stop": Attack("the runner is stopped, another takes over, the first goes on", take_over),
    "restart": Attack("the same, and the other restarts a task anew", take_over_with_a_restart),
}
