"""Cuts of the power of a job's disk."""

from __future__ import annotations

import os
import random
import shutil
import time

import chunkflow as cf
from benchmarks.chaos.attack import Attack, Outcome
from benchmarks.chaos.runner import Runner, short_blocks
from benchmarks.chaos.trial import PATIENCE, Trial
from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from testbed.power_cuts import PROGRAMS, cut_disk

WORKS, RESTS = 0.02, 0.05
"""Seconds for which the run goes on and is stopped, in turn: the kernel's own seconds then fall into it."""


def cut_the_power(trial: Trial, dice: random.Random) -> Outcome:
    """Cut it at any moment of the run, mount what is left, hold it against the ledger, and go on."""
    with cut_disk(trial.folder.with_name("power")) as disk:
        place = str(disk.path)
        job = trial.job(place)
        with trial.runner(job) as runner:
            _go_on(runner, dice.uniform(0.0, trial.seconds))
            copy = disk.cut()
            runner.kill()
        disk.power_on(copy)
        with short_blocks():
            if Ledger.load(Folder(job["work"])).state.job is not None:
                lost = [fault for fault in cf.check(job["work"], deep=True).faults if fault.task]
                assert not lost, f"the ledger calls done what is lost: {lost}"
        trial.run_to_its_end(job)
        trial.judge(root=place)
        disk.check(copy)
    return "identical"


def _go_on(runner: Runner, seconds: float) -> None:
    """Let the run go on for so long, with rests."""
    until = time.monotonic() + PATIENCE
    while seconds > 0 and not runner.has_ended and time.monotonic() < until:
        time.sleep(min(seconds, WORKS))
        seconds -= WORKS
        runner.stop()
        time.sleep(RESTS)
        runner.go_on()


def _absent() -> str:
    if os.geteuid() != 0 or not os.access("/dev/loop-control", os.W_OK):
        return "left out: only root may mount disks, where there are loop devices"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"left out: {', '.join(lacking)} not found" if lacking else ""


ATTACKS = {"power": Attack("the power of the disk is cut", cut_the_power, _absent())}
