"""Many people at once: the streams of events of open pages, and reviewers while processes are killed.

`python -m benchmarks.service.people streams` measures one of both.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from contextlib import closing

from benchmarks.figure import Figure
from benchmarks.service.reviewed import ReviewedLab, reviewed_lab
from chunkflow.people.review.log.review_log import ReviewLog
from chunkflow.people.service.lab.metrics import MOST_STREAMS
from testbed.fault_proxy import Faults, fault_proxy
from testbed.people.kills import processes_killed
from testbed.people.reviewers import ScriptedReviewer, work_together
from testbed.people.streams import EventStreams

STREAMS = 10_000
REVIEWERS, RATE, SECONDS, KILLED_EVERY = 20, 0.5, 300.0, 4.0
FAULTS = Faults(rate=0.15, seed=7, kinds=("reset", "lost"), only="^POST")


def run(chosen: tuple[str, ...] = ("streams", "reviewers")) -> list[Figure]:
    return [figure for name in chosen for figure in PARTS[name]()]


def measure_streams() -> list[Figure]:
    """Ask one process for five times the streams that it may hold."""
    with reviewed_lab(1) as lab:
        streams = EventStreams(f"{lab.service.url.rstrip('/')}{lab.table}/events?since=0", lab.token)

        async def many() -> tuple[int, int]:
            await streams.open(STREAMS)
            going_on = streams.going_on()
            person = ScriptedReviewer(lab.service.url, lab.table, lab.token, lab.objects, 10.0, 1)
            await asyncio.to_thread(person.work, time.monotonic() + 1.0)
            heard = await streams.heard(b"data: ")
            await streams.close()
            return going_on, heard

        going_on, heard = asyncio.run(many())
    answers, what = streams.answers, f"{STREAMS:,} streams of one process"
    return [
        Figure(f"{what}: taken", answers[200], "", target=MOST_STREAMS),
        Figure(f"{what}: refused with 503", answers[503], "", target=STREAMS - MOST_STREAMS),
        Figure(f"{what}: taken and cut", answers[200] - going_on, "", better="lower", target=0),
        Figure(f"{what}: heard of an edit", heard, "", target=MOST_STREAMS),
    ]


def measure_reviewers() -> list[Figure]:
    """Let reviewers work while processes die and answers go astray; compare the log with what they saw."""
    with reviewed_lab(2) as lab, fault_proxy(lab.service.url, FAULTS) as proxy:
        people = [
            ScriptedReviewer(proxy, lab.table, lab.token, lab.objects, RATE, seed)
            for seed in range(REVIEWERS)
        ]
        with processes_killed(lambda: lab.service.process_ids, KILLED_EVERY, seed=7) as killed:
            work_together(people, SECONDS)
        lost, doubled, faults = _compare(lab, people)
    what = f"{REVIEWERS} reviewers for {SECONDS:g} s"
    waits = sorted(seconds for one in people for seconds in one.seconds)
    median = 1000 * waits[len(waits) // 2]
    return [
        Figure(f"{what}: edits taken", sum(len(one.acknowledged) for one in people), ""),
        Figure(f"{what}: processes killed", len(killed), "", target=SECONDS / KILLED_EVERY / 2),
        Figure(f"{what}: edits lost", lost, "", better="lower", target=0),
        Figure(f"{what}: edits doubled, or taken unsaid", doubled, "", better="lower", target=0),
        Figure(f"{what}: faults of the log", faults, "", better="lower", target=0),
        Figure(f"{what}: median until an edit is durable", median, "ms", better="lower"),
        Figure(f"{what}: the slowest edit", waits[-1], "s", better="lower"),
    ]


def _compare(lab: ReviewedLab, people: list[ScriptedReviewer]) -> tuple[int, int, int]:
    """Edits that the log lacks as they were acknowledged, those too many, and the faults of the log."""
    with closing(ReviewLog.open(lab.database)) as log:
        edits, faults = log.edits(1), log.check()
    acknowledged = {key: seq for one in people for key, seq in one.acknowledged.items()}
    held = {edit.key: edit.seq for edit in edits}
    lost = sum(held.get(key) != seq for key, seq in acknowledged.items())
    counts = Counter(edit.key for edit in edits)
    doubled = sum(count - (key in acknowledged) for key, count in counts.items())
    return lost, doubled, len(faults)


PARTS = {"streams": measure_streams, "reviewers": measure_reviewers}


if __name__ == "__main__":
    for figure in run(tuple(sys.argv[1:]) or tuple(PARTS)):
        print(*figure.row(), sep=" | ")
