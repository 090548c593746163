"""The ledger says what was flushed, no more and no less, whoever reads it and however its writer ended."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger, difference
from chunkflow.engine.ledger.record import FORMAT
from chunkflow.engine.ledger.state import DONE, FAILED, UNKNOWN, State, pack_indexes, unpack_indexes
from chunkflow.engine.queue.cells import Answer, Cause
from chunkflow.errors import BadInput, Overtaken, StorageError
from tests.support.jobs import job_record
from tests.support.servers import s3_bucket

SPEC = {"job": "rat", "tasks": [{"segment": {"diameter": 9.0}}]}
JOB = job_record("rat", SPEC)
UNITS = {"segment": 12, "measure": 7}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path))


@pytest.fixture
def ledger(folder: Folder) -> Iterator[Ledger]:
    with Ledger.open(folder) as opened:
        opened.record_job(JOB, {"chunkflow": "1"}, UNITS)
        opened.flush(now=True)
        yield opened


def done(ledger: Ledger, step: str, index: int, attempt: int = 1, worker: str = "w", **answered: Any) -> None:
    ledger.record_done(step, Answer(0, index, worker, **answered), attempt)


def failed(ledger: Ledger, step: str, index: int, attempt: int, final: bool) -> None:
    ledger.record_failed(step, Answer(0, index, "w", Cause.BUG, traceback="Boom"), attempt, final)


def test_a_unit_is_done_when_it_was_flushed(folder: Folder, ledger: Ledger) -> None:
    done(ledger, "segment", 3, worker="a", seconds=(0.5, 2.0, 0.25), bytes_in=10, bytes_out=20)
    done(ledger, "segment", 4, 2, worker="b", empty=True, seconds=(0.5, 1.0, 0.25))
    assert ledger.steps["segment"].done == Ledger.load(folder).steps["segment"].done == 0
    ledger.flush(now=True)
    for step in (ledger.steps["segment"], Ledger.load(folder).steps["segment"]):
        assert (step.done, step.empty, step.failed, step.repeats, step.units) == (2, 1, 0, 0, 12)
        assert step.indexes(DONE).tolist() == [3, 4]
        assert step.states[3] == DONE
        assert step.states[2] != DONE
        assert step.attempts[[2, 3, 4]].tolist() == [0, 1, 2]
        assert step.empties[[3, 4]].tolist() == [False, True]
        assert step.seconds == {"read": 1.0, "map": 3.0, "write": 0.5}
        assert (step.slowest, step.bytes_in, step.bytes_out) == (2.0, 10, 20)
        assert step.workers == {"a": [1, 2.75], "b": [1, 1.75]}


def test_of_workers_that_come_and_go_the_last_are_known(
    ledger: Ledger, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.engine.ledger.state.KEPT_WORKERS", 2)
    for index, worker in enumerate("abac"):
        done(ledger, "segment", index, worker=worker, seconds=(0, 1.0, 0))
        ledger.flush(now=True)
    for step in (ledger.steps["segment"], Ledger.load(folder).steps["segment"]):
        assert step.workers == {"a": [2, 2.0], "c": [1, 1.0]}
        assert step.done == 4


def test_a_second_answer_is_counted_and_harmless(folder: Folder, ledger: Ledger) -> None:
    for _ in range(2):
        done(ledger, "segment", 3)
        done(ledger, "segment", 3)
        ledger.flush(now=True)
    step = Ledger.load(folder).steps["segment"]
    assert (step.done, step.repeats) == (1, 3)


def test_failures_are_kept_with_their_cause(folder: Folder, ledger: Ledger) -> None:
    failed(ledger, "segment", 5, 1, final=False)
    failed(ledger, "segment", 5, 2, final=True)
    failed(ledger, "segment", 6, 1, final=False)
    ledger.flush(now=True)
    step = Ledger.load(folder).steps["segment"]
    assert (step.failed, dict(step.causes)) == (1, {"bug": 3})
    assert step.indexes(FAILED).tolist() == [5]
    assert (step.failures[5].attempt, step.failures[5].traceback, step.failures[5].final) == (2, "Boom", True)
    assert step.attempts[[5, 6]].tolist() == [2, 1]
    done(ledger, "segment", 6)
    ledger.record_retried("segment", [5, 6])
    failed(ledger, "segment", 6, 3, final=True)  # late news of another attempt
    ledger.flush(now=True)
    step = Ledger.load(folder).steps["segment"]
    assert (step.failed, step.done, step.failures, step.attempts[5]) == (0, 1, {}, 0)


def test_what_is_said_about_the_job_is_kept(folder: Folder, ledger: Ledger) -> None:
    ledger.record_prepared("segment", {"threshold": 12.5, "levels": (1, 2)})
    ledger.record_created("file:///data/nuclei", "segment")
    ledger.record_created("file:///data/table", "measure")
    ledger.record_running({"segment": 2})
    ledger.record_clearing(["measure"])
    ledger.flush(now=True)
    state = Ledger.load(folder).state
    assert (state.job, state.versions) == (JOB, {"chunkflow": "1"})
    assert state.steps["segment"].prepared == {"threshold": 12.5, "levels": [1, 2]}
    assert state.steps["segment"].prepared == ledger.steps["segment"].prepared
    assert state.steps["segment"].running == 2
    assert state.created == {"file:///data/nuclei": "segment", "file:///data/table": "measure"}
    assert (state.clearing, state.ended) == (["measure"], None)
    ledger.record_cleared(["measure"])
    ledger.record_step("measure", 99)
    ledger.record_ended("incomplete")
    ledger.flush(now=True)
    state = Ledger.load(folder).state
    assert (state.clearing, state.ended, state.runs[-1][4]) == ([], "incomplete", "incomplete")
    assert state.created == {"file:///data/nuclei": "segment"}
    assert state.steps["measure"].units == 99


def test_a_record_that_could_not_be_applied_is_refused(folder: Folder, ledger: Ledger) -> None:
    for step, index in (("mesh", 0), ("segment", 12), ("segment", -1)):
        with pytest.raises(ValueError, match="step"):
            done(ledger, step, index)
        with pytest.raises(ValueError, match="step"):
            failed(ledger, step, index, 1, True)
        with pytest.raises(ValueError, match="step"):
            ledger.record_retried(step, [index])
    with pytest.raises(BadInput, match="has 12 units in the ledger, not 13"):
        ledger.record_step("segment", 13)
    assert not ledger.flush(now=True)


def test_a_heartbeat_is_written_when_due_and_records_at_most_each_second(tmp_path: Path) -> None:
    with Ledger.open(Folder(str(tmp_path)), heartbeat=0.05) as ledger:
        ledger.record_job(JOB, {}, UNITS)
        assert not ledger.flush()
        time.sleep(0.06)
        assert ledger.flush()
        assert not ledger.flush()
        time.sleep(0.06)
        assert ledger.flush()


def test_a_resumed_run_finds_what_the_last_left(folder: Folder) -> None:
    with Ledger.open(folder) as first:
        assert not first.took_over
        first.record_job(JOB, {"chunkflow": "1"}, UNITS)
        done(first, "segment", 1)
    assert not first.is_writing
    with Ledger.open(folder) as second:
        assert not second.took_over
        assert second.steps["segment"].done == 1
        second.record_job(JOB, {"chunkflow": "2"}, UNITS)
        second.flush(now=True)
        assert [entry["versions"] for entry in second.state.history] == [
            {"chunkflow": "1"},
            {"chunkflow": "2"},
        ]
        assert len(second.state.runs) == 2


def test_an_overtaken_ledger_stops_and_closes_quietly(folder: Folder) -> None:
    first = Ledger.open(folder)
    first.record_job(JOB, {}, UNITS)
    first.flush(now=True)
    second = Ledger.open(folder, silence=0)
    assert second.took_over
    done(first, "segment", 1)
    with pytest.raises(Overtaken):
        first.flush(now=True)
    assert not first.is_writing
    first.close()
    done(second, "segment", 2)
    second.close()
    assert Ledger.load(folder).steps["segment"].indexes(DONE).tolist() == [2]


def test_a_storage_error_loses_and_repeats_nothing(folder: Folder, ledger: Ledger) -> None:
    real = Folder.put_if_absent

    def lost(self: Folder, name: str, data: bytes) -> bool:
        real(self, name, data)
        raise StorageError("connection reset")

    def unmade(self: Folder, name: str, data: bytes) -> bool:
        raise StorageError("no connection")

    for index, way in enumerate((lost, unmade)):
        done(ledger, "segment", index)
        with mock.patch.object(Folder, "put_if_absent", way), pytest.raises(StorageError):
            ledger.flush(now=True)
        assert ledger.steps["segment"].done == index
        done(ledger, "measure", index)
        assert ledger.flush(now=True)
        step = Ledger.load(folder).steps["segment"]
        assert (step.done, step.repeats) == (index + 1, 0)
    assert Ledger.load(folder).steps["measure"].done == 2


def test_a_watcher_sees_what_comes(folder: Folder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "BLOCK", 4)
    watcher = Ledger.load(folder)
    for index in range(12):
        done(ledger, "segment", index)
        ledger.flush(now=True)
        if index % 5 != 3:
            assert watcher.refresh().steps["segment"].done == index + 1
    assert watcher.steps["segment"].is_complete
    assert watcher.state.encode() == ledger.state.encode()


def test_a_snapshot_is_the_state(ledger: Ledger) -> None:
    done(ledger, "segment", 3)
    failed(ledger, "measure", 2, 1, final=True)
    ledger.flush(now=True)
    again = State.decode(ledger.state.encode())
    assert (again.job, again.history) == (JOB, ledger.state.history)
    assert again.steps["measure"].failures == ledger.steps["measure"].failures
    assert again.steps["segment"].indexes(DONE).tolist() == [3]


def test_the_record_of_a_later_chunkflow_is_refused(folder: Folder) -> None:
    with Ledger.open(folder) as ledger:
        ledger.record_job(JOB.model_copy(update={"format": FORMAT + 1}), {}, UNITS)
        with pytest.raises(BadInput, match=f"has format {FORMAT + 1}, and this one reads up to {FORMAT}"):
            ledger.flush(now=True)
    with pytest.raises(BadInput, match="written by a later chunkflow"):
        Ledger.load(folder)


def test_an_empty_folder_is_an_empty_state(folder: Folder) -> None:
    assert Ledger.load(folder).state == State()
    assert list(folder.list()) == []


WRITER = """
import sys
from chunkflow import chain, ledger
from chunkflow.storage import Folder
from tests.support import job_record
chain.BLOCK = 20
book = ledger.Ledger.open(Folder(sys.argv[1]))
book.record_job(job_record("rat", {}), {}, {"segment": 1000000})
book.flush(now=True)
index = book.steps["segment"].done
while True:
    for index in range(index, index + 3):
        done(book, "segment", index)
    book.flush(now=True)
    print(index, flush=True)
    index += 1
"""


def test_a_killed_writer_loses_at_most_its_last_flush(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_module, "BLOCK", 20)
    chance = random.Random(7)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.3))
        finally:
            process.kill()
        said = process.communicate()[0].split()
        step = Ledger.load(folder).steps["segment"]
        assert step.indexes(DONE).tolist() == list(range(step.done))
        assert step.repeats == 0
        assert not said or step.done - 1 in (int(said[-1]), int(said[-1]) + 3)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket("ledgers") as url:
        yield url


def test_on_s3_too(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "BLOCK", 4)
    folder = Folder(f"{bucket}/{uuid.uuid4()}")
    with Ledger.open(folder) as ledger:
        ledger.record_job(JOB, {}, UNITS)
        for index in range(10):
            done(ledger, "segment", index)
            ledger.flush(now=True)
    with Ledger.open(folder) as ledger:
        assert ledger.steps["segment"].done == 10
        done(ledger, "segment", 11)
    assert Ledger.load(folder).steps["segment"].done == 11
    assert sum(1 for _ in folder.list("ledger/")) < 15


@given(st.lists(st.integers(0, 50)))
def test_packed_indexes_are_given_back(indexes: list[int]) -> None:
    assert unpack_indexes(pack_indexes(indexes)).tolist() == sorted(indexes)


def test_runs_are_packed() -> None:
    assert pack_indexes([9, 3, 7, 8]) == [3, [7, 10]]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("done"), st.sampled_from(list(UNITS)), st.integers(0, 6), st.integers(1, 3), st.booleans()
        ),
        st.tuples(
            st.just("failed"),
            st.sampled_from(list(UNITS)),
            st.integers(0, 6),
            st.integers(1, 3),
            st.booleans(),
        ),
        st.tuples(st.just("retried"), st.sampled_from(list(UNITS)), st.lists(st.integers(0, 6), max_size=4)),
        st.tuples(st.just("cleared"), st.sampled_from(list(UNITS))),
        st.tuples(st.just("flush")),
        st.tuples(st.just("reopen")),
    ),
    max_size=40,
)


class Model:
    """The ledger as a dictionary would keep it: (step, index) -> [state, attempts, empty]."""

    def __init__(self) -> None:
        self.units: dict[tuple[str, int], list[Any]] = {}
        self.repeats = dict.fromkeys(UNITS, 0)
        self.clear(*UNITS)

    def clear(self, *steps: str) -> None:
        for step in steps:
            self.repeats[step] = 0
            self.units.update({(step, index): [UNKNOWN, 0, False] for index in range(UNITS[step])})

    def apply(self, operation: str, step: str, *rest: Any) -> None:
        if operation == "done":
            index, attempt, empty = rest
            self.repeats[step] += self.units[step, index][0] == DONE
            self.units[step, index] = [DONE, attempt, empty]
        elif operation == "failed":
            index, attempt, final = rest
            unit = self.units[step, index]
            if unit[0] != DONE:
                unit[:2] = [FAILED if final else unit[0], max(unit[1], attempt)]
        elif operation == "retried":
            for index in rest[0]:
                if self.units[step, index][0] != DONE:
                    self.units[step, index] = [UNKNOWN, 0, False]
        else:
            self.clear(step)


def perform(ledger: Ledger, operation: str, step: str, *rest: Any) -> None:
    if operation == "done":
        done(ledger, step, rest[0], rest[1], empty=rest[2])
        ledger._close_batches()  # a dictionary keeps the order of two answers for one unit; so must this
    elif operation == "failed":
        failed(ledger, step, *rest)
    elif operation == "retried":
        ledger.record_retried(step, rest[0])
    else:
        ledger.record_cleared([step])
        ledger.record_step(step, UNITS[step])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_the_state_is_that_of_a_dictionary(tmp_path: Path, operations: list[tuple[Any, ...]]) -> None:
    folder, model = Folder(str(tmp_path / str(uuid.uuid4()))), Model()
    with mock.patch.object(chain_module, "BLOCK", 3):
        ledger = Ledger.open(folder)
        ledger.record_job(JOB, {}, UNITS)
        for operation in [*operations, ("flush",)]:
            if operation[0] == "flush":
                ledger.flush(now=True)
            elif operation[0] == "reopen":
                ledger.close()
                ledger = Ledger.open(folder)
            else:
                perform(ledger, *operation)
                model.apply(*operation)
        loaded = Ledger.load(folder).state
        assert loaded.encode() == ledger.state.encode()
    for name, step in loaded.steps.items():
        expected = [model.units[name, index] for index in range(UNITS[name])]
        assert np.transpose([step.states, step.attempts, step.empties]).tolist() == expected
        states = [unit[0] for unit in expected]
        assert (step.done, step.failed) == (states.count(DONE), states.count(FAILED))
        assert step.empty == sum(unit[2] for unit in expected)
        assert step.repeats == model.repeats[name]
        assert set(step.failures).isdisjoint(step.indexes(DONE).tolist())


def test_the_end_of_a_long_traceback_is_kept(folder: Folder, ledger: Ledger) -> None:
    try:
        raise ValueError("x" * 20_000 + " the end")
    except ValueError:
        text = traceback.format_exc()
    ledger.record_failed("segment", Answer(0, 0, "w", Cause.BUG, traceback=text), 1, True)
    ledger.flush(now=True)
    kept = Ledger.load(folder).steps["segment"].failures[0].traceback
    assert len(kept) == 8000
    assert kept.endswith("the end\n")


def test_the_difference_of_two_jobs_names_each_parameter() -> None:
    new = {
        "job": "rat",
        "chunk": [64, 64, 64],
        "tasks": [{"segment": {"diameter": 10.0}}, {"mesh": {"labels": "n"}}, {"mesh": {"labels": "m"}}],
    }
    assert difference(SPEC, SPEC) == []
    assert difference(SPEC, new) == [
        "tasks.segment.diameter: 9.0 -> 10.0",
        "chunk: (not set) -> [64, 64, 64]",
        'tasks.mesh.labels: (not set) -> "n"',
        'tasks.mesh#2.labels: (not set) -> "m"',
    ]
    assert "chunk: [64, 64, 64] -> (not set)" in difference(new, SPEC)
