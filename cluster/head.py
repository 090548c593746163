"""Runs beside Ray on the head of a cluster that was started for jobs, and ends the cluster from inside.

1. Which nodes the cluster may grow to is announced, so that jobs know how many workers to ask for.
2. Ray is asked again and again whether a job waits or runs.
3. When none has for a while, or the cluster's hours are over, the command that ends it is run, until it
   succeeds.

    python -m cluster.head --idle-minutes 15 --max-hours 24 --end COMMAND…
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.experimental.internal_kv import _initialize_internal_kv
from ray.job_submission import JobSubmissionClient

from cluster.workers.capacity import announce

AT_WORK = ("PENDING", "RUNNING")
LOOK_SECONDS = 15.0
TRY_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """When a cluster must end."""

    idle_seconds: float
    most_seconds: float

    def due(self, up: float, idle: float) -> str:
        """Why it must end, after so many seconds up, and idle; empty where it need not."""
        if up >= self.most_seconds:
            return f"its {self.most_seconds / 3600:g} hours are over"
        if idle >= self.idle_seconds:
            return f"no job has run for {self.idle_seconds / 60:g} minutes"
        return ""


def announce_at(address: str, kinds: Sequence[Mapping[str, float]]) -> None:
    """Announce which nodes the cluster may grow to; its head alone need be there."""
    _initialize_internal_kv(GcsClient(address=address))
    announce(kinds)


def is_at_work(address: str, dashboard: str) -> bool:
    """Whether a job waits or runs. Where Ray is there and only its dashboard does not answer, one may."""
    try:
        jobs = JobSubmissionClient(dashboard).list_jobs()
    except Exception as error:  # whatever it is: who watches over what is paid for must not end by it
        _say(f"the dashboard does not answer: {' '.join(str(error).split())[:200]}")
        return _answers(address)
    return any(job.status in AT_WORK for job in jobs)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError:
        return False
    return True


def watch(address: str, dashboard: str, limits: Limits, look_seconds: float = LOOK_SECONDS) -> str:
    """Wait until the cluster must end, and say why."""
    began = last = time.monotonic()
    while True:
        if is_at_work(address, dashboard):
            last = time.monotonic()
        now = time.monotonic()
        why = limits.due(now - began, now - last)
        if why:
            return why
        time.sleep(look_seconds)


def end(command: Sequence[str]) -> None:
    """Run the command that ends the cluster, again until it succeeds: what does not end is paid for."""
    while subprocess.run(command).returncode != 0:
        _say(f"could not end the cluster with {' '.join(command)}; trying again")
        time.sleep(TRY_AGAIN_SECONDS)


def _say(line: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", flush=True)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m cluster.head", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:6379", help="where Ray's head is")
    parser.add_argument("--dashboard", default="http://127.0.0.1:8265")
    nodes = 'the nodes it may grow to, as [{"most": 40, "CPU": 16, "GPU": 0, "memory": 48000000000}]'
    parser.add_argument("--announce", type=json.loads, required=True, metavar="JSON", help=nodes)
    parser.add_argument("--idle-minutes", type=float, default=15.0)
    parser.add_argument("--max-hours", type=float, default=24.0)
    parser.add_argument("--look-seconds", type=float, default=LOOK_SECONDS)
    parser.add_argument("--end", nargs=argparse.REMAINDER, metavar="COMMAND", help="left out: only announce")
    given = parser.parse_args(words)
    announce_at(given.address, given.announce)
    if not given.end:
        return
    limits = Limits(given.idle_minutes * 60, given.max_hours * 3600)
    _say(f"watching, as process {os.getpid()}")
    why = watch(given.address, given.dashboard, limits, given.look_seconds)
    _say(f"ending the cluster: {why}")
    end(given.end)


if __name__ == "__main__":
    main(sys.argv[1:])
