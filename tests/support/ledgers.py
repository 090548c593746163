"""A small job in a ledger, and cells that are done or failed."""

from __future__ import annotations

from typing import Any

from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.queue.cells import Answer, Cause
from tests.support.jobs import job_record

SPEC = {"job": "rat", "tasks": [{"segment": {"type": "segment", "diameter": 9.0}}]}
JOB = job_record("rat", SPEC)
CELLS = {"segment": 12, "measure": 7}


def done(
    ledger: Ledger, stage: str, index: int, attempt: int = 1, worker: str = "w", **answered: Any
) -> None:
    ledger.record_done(stage, Answer(0, index, worker, **answered), attempt)


def failed(ledger: Ledger, stage: str, index: int, attempt: int, final: bool) -> None:
    ledger.record_failed(stage, Answer(0, index, "w", Cause.BUG, traceback="Boom"), attempt, final)
