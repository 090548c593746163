"""The record of a job is that of this chunkflow, of an earlier one, or refused with what is wrong in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.record import FORMAT
from chunkflow.engine.ledger.state import State
from chunkflow.errors import BadInput
from tests.support.ledgers import CELLS, JOB

PLAN = JOB.plan.model_dump(mode="json")


def test_the_record_of_a_later_chunkflow_is_refused(folder: Folder) -> None:
    with Ledger.load(folder).take() as ledger:
        ledger.record_job(JOB.model_copy(update={"format": FORMAT + 1}), {}, CELLS)
        with pytest.raises(BadInput, match=f"has format {FORMAT + 1}, and this one reads up to {FORMAT}"):
            ledger.flush(now=True)
    with pytest.raises(BadInput, match="written by a later chunkflow"):
        Ledger.load(folder)


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a key that is unknown": (
        {"plan": {**PLAN, "job": {**PLAN["job"], "colour": "red"}}},
        r"the key 'colour' is unknown",
    ),
    "a task that does not exist": (
        {"plan": {**PLAN, "job": {**PLAN["job"], "tasks": ["segmnt"]}}},
        "no task 'segmnt'; did you mean segment",
    ),
    "a format in words": ({"format": "2"}, "format: Input should be a valid integer, not '2'"),
    "tasks without types": ({"spec": {"tasks": [{"segment": {}}]}}, "spec: must hold .* with its type"),
    "no plan": ({"plan": None}, "plan: .*, not None"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_record_that_cannot_be_read_is_said_to_be_so(folder: Folder, ledger: Ledger, fault: str) -> None:
    """Whoever loads the ledger is told what to do, instead of a traceback."""
    changed, said = FAULTS[fault]
    document = {**JOB.model_dump(mode="json"), **changed}
    ledger._add({"kind": "job", "job": document, "versions": {}})
    with pytest.raises(BadInput):
        ledger.flush(now=True)
    with pytest.raises(BadInput, match=f"{said}.* Install the chunkflow that wrote it, or take another work"):
        Ledger.load(folder)


def test_a_snapshot_of_an_earlier_chunkflow_is_read_as_what_it_means_now() -> None:
    """Its records had no number, and named a task by where it lay."""
    former = JOB.model_dump(mode="json")
    del former["format"]
    former["spec"]["tasks"] = [{"segment": {"type": "tasks.segment:Segment", "diameter": 9.0}}]
    former["plan"]["job"]["tasks"][0]["type"] = "tasks.segment:Segment"
    kept: Any = SimpleNamespace(model_dump=lambda mode: former)
    state = State(job=kept, history=[{"at": 1.0, "job": kept, "versions": {}}])
    found = State.decode(state.encode())
    assert found.job == JOB
    assert found.history == [{"at": 1.0, "job": JOB, "versions": {}}]
