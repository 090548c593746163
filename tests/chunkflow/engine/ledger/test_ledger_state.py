"""The state of a ledger is that of a dictionary, and its differences can be told."""

from __future__ import annotations

import io
import json
import traceback
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.packing import pack_indexes, unpack_indexes
from chunkflow.engine.ledger.record import difference
from chunkflow.engine.ledger.state import DONE, FAILED, UNKNOWN
from chunkflow.engine.queue.cells import Answer, Cause
from tests.support.ledgers import CELLS, JOB, SPEC, done, failed


@given(st.lists(st.integers(0, 50)))
def test_packed_indexes_are_given_back(indexes: list[int]) -> None:
    assert unpack_indexes(pack_indexes(indexes)).tolist() == sorted(indexes)


def test_runs_are_packed() -> None:
    assert pack_indexes([9, 3, 7, 8]) == [3, [7, 10]]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("done"), st.sampled_from(list(CELLS)), st.integers(0, 6), st.integers(1, 3), st.booleans()
        ),
        st.tuples(
            st.just("failed"),
            st.sampled_from(list(CELLS)),
            st.integers(0, 6),
            st.integers(1, 3),
            st.booleans(),
        ),
        st.tuples(st.just("retried"), st.sampled_from(list(CELLS)), st.lists(st.integers(0, 6), max_size=4)),
        st.tuples(st.just("cleared"), st.sampled_from(list(CELLS))),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reopen")),
    ),
    max_size=40,
)


class Model:
    """The ledger as a dictionary would keep it: (stage, index) -> [state, attempts, empty]."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, int], list[Any]] = {}
        self.repeats = dict.fromkeys(CELLS, 0)
        self.clear(*CELLS)

    def clear(self, *steps: str) -> None:
        for stage in steps:
            self.repeats[stage] = 0
            self.cells.update({(stage, index): [UNKNOWN, 0, False] for index in range(CELLS[stage])})

    def apply(self, operation: str, stage: str, *rest: Any) -> None:
        if operation == "done":
            index, attempt, empty = rest
            self.repeats[stage] += self.cells[stage, index][0] == DONE
            self.cells[stage, index] = [DONE, attempt, empty]
        elif operation == "failed":
            index, attempt, final = rest
            cell = self.cells[stage, index]
            if cell[0] != DONE:
                cell[:2] = [FAILED if final else cell[0], max(cell[1], attempt)]
        elif operation == "retried":
            for index in rest[0]:
                if self.cells[stage, index][0] != DONE:
                    self.cells[stage, index] = [UNKNOWN, 0, False]
        else:
            self.clear(stage)


def perform(ledger: Ledger, operation: str, stage: str, *rest: Any) -> None:
    if operation == "done":
        done(ledger, stage, rest[0], rest[1], empty=rest[2])
        ledger._close_batches()  # a dictionary keeps the order of two answers for one cell; so must this
    elif operation == "failed":
        failed(ledger, stage, *rest)
    elif operation == "retried":
        ledger.record_retried(stage, rest[0])
    else:
        ledger.record_cleared([stage])
        ledger.record_stage(stage, CELLS[stage])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_the_state_is_that_of_a_dictionary(tmp_path: Path, operations: list[tuple[Any, ...]]) -> None:
    folder, model = Folder(str(tmp_path / str(uuid.uuid4()))), Model()
    with mock.patch.object(chain_module, "BLOCK", 3):
        ledger = Ledger.load(folder).take()
        ledger.record_job(JOB, {}, CELLS)
        for operation in [*operations, ("flush",)]:
            if operation[0] == "flush":
                ledger.flush(now=True)
            elif operation[0] == "reopen":
                ledger.close()
                ledger = Ledger.load(folder).take()
            else:
                perform(ledger, *operation)
                model.apply(*operation)
        loaded = Ledger.load(folder).state
        assert loaded.encode() == ledger.state.encode()
    for name, stage in loaded.stages.items():
        expected = [model.cells[name, index] for index in range(CELLS[name])]
        assert np.transpose([stage.states, stage.attempts, stage.empties]).tolist() == expected
        states = [cell[0] for cell in expected]
        assert (stage.done, stage.failed) == (states.count(DONE), states.count(FAILED))
        assert stage.empty == sum(cell[2] for cell in expected)
        assert stage.repeats == model.repeats[name]
        assert set(stage.failures).isdisjoint(stage.indexes(DONE).tolist())


def test_the_end_of_a_long_traceback_is_kept(folder: Folder, ledger: Ledger) -> None:
    try:
        raise ValueError("x" * 20_000 + " the end")
    except ValueError:
        text = traceback.format_exc()
    ledger.record_failed("segment", Answer(0, 0, "w", Cause.BUG, traceback=text), 1, True)
    ledger.flush(now=True)
    kept = Ledger.load(folder).stages["segment"].failures[0].traceback
    assert len(kept) == 8000
    assert kept.endswith("the end\n")


def test_the_difference_of_two_jobs_names_each_parameter() -> None:
    new = {
        "job": "rat",
        "chunk": [64, 64, 64],
        "tasks": [
            {"segment": {"type": "segment", "diameter": 10.0}},
            {"mesh": {"labels": "n"}},
            {"mesh": {"labels": "m"}},
        ],
    }
    assert difference(SPEC, SPEC) == []
    assert difference(SPEC, new) == [
        "tasks.segment.diameter: 9.0 -> 10.0",
        "chunk: (not set) -> [64, 64, 64]",
        'tasks.mesh.labels: (not set) -> "n"',
        'tasks.mesh#2.labels: (not set) -> "m"',
    ]
    assert "chunk: [64, 64, 64] -> (not set)" in difference(new, SPEC)


def test_a_snapshot_keeps_the_names_of_the_first_ledgers(ledger: Ledger) -> None:
    done(ledger, "segment", 3)
    ledger.flush(now=True)
    with np.load(io.BytesIO(ledger.state.encode())) as arrays:
        head = json.loads(arrays["head"].tobytes())
        assert {"0.states", "0.attempts", "0.empties", "1.states"} < set(arrays)
    assert head["heard"] == ledger.state.last_heartbeat
    assert [(stage["name"], stage["units"]) for stage in head["steps"]] == list(CELLS.items())
    assert not {"stages", "last_heartbeat", "cells"} & {*head, *head["steps"][0]}
