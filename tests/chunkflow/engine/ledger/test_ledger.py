"""The ledger says what was flushed, no more and no less, whoever reads it and however its writer ended."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from unittest import mock

import pytest

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger import chain as chain_module
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import DONE, FAILED, State
from chunkflow.errors import BadInput, Overtaken, StorageError
from tests.support.ledgers import CELLS, JOB, done, failed

ROOT = Path(__file__).parents[4]


def test_a_cell_is_done_when_it_was_flushed(folder: Folder, ledger: Ledger) -> None:
    done(ledger, "segment", 3, worker="a", seconds=(0.5, 2.0, 0.25), bytes_in=10, bytes_out=20)
    done(ledger, "segment", 4, 2, worker="b", empty=True, seconds=(0.5, 1.0, 0.25))
    assert ledger.stages["segment"].done == Ledger.load(folder).stages["segment"].done == 0
    ledger.flush(now=True)
    for stage in (ledger.stages["segment"], Ledger.load(folder).stages["segment"]):
        assert (stage.done, stage.empty, stage.failed, stage.repeats, stage.cells) == (2, 1, 0, 0, 12)
        assert stage.indexes(DONE).tolist() == [3, 4]
        assert stage.states[3] == DONE
        assert stage.states[2] != DONE
        assert stage.attempts[[2, 3, 4]].tolist() == [0, 1, 2]
        assert stage.empties[[3, 4]].tolist() == [False, True]
        assert stage.seconds == {"read": 1.0, "map": 3.0, "write": 0.5}
        assert (stage.slowest, stage.bytes_in, stage.bytes_out) == (2.0, 10, 20)
        assert stage.workers == {"a": [1, 2.75], "b": [1, 1.75]}


def test_of_workers_that_come_and_go_the_last_are_known(
    ledger: Ledger, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.engine.ledger.state.KEPT_WORKERS", 2)
    for index, worker in enumerate("abac"):
        done(ledger, "segment", index, worker=worker, seconds=(0, 1.0, 0))
        ledger.flush(now=True)
    for stage in (ledger.stages["segment"], Ledger.load(folder).stages["segment"]):
        assert stage.workers == {"a": [2, 2.0], "c": [1, 1.0]}
        assert stage.done == 4


def test_a_second_answer_is_counted_and_harmless(folder: Folder, ledger: Ledger) -> None:
    for _ in range(2):
        done(ledger, "segment", 3)
        done(ledger, "segment", 3)
        ledger.flush(now=True)
    stage = Ledger.load(folder).stages["segment"]
    assert (stage.done, stage.repeats) == (1, 3)


def test_failures_are_kept_with_their_cause(folder: Folder, ledger: Ledger) -> None:
    failed(ledger, "segment", 5, 1, final=False)
    failed(ledger, "segment", 5, 2, final=True)
    failed(ledger, "segment", 6, 1, final=False)
    ledger.flush(now=True)
    stage = Ledger.load(folder).stages["segment"]
    assert (stage.failed, dict(stage.causes)) == (1, {"bug": 3})
    assert stage.indexes(FAILED).tolist() == [5]
    assert (stage.failures[5].attempt, stage.failures[5].traceback, stage.failures[5].final) == (
        2,
        "Boom",
        True,
    )
    assert stage.attempts[[5, 6]].tolist() == [2, 1]
    done(ledger, "segment", 6)
    ledger.record_retried("segment", [5, 6])
    failed(ledger, "segment", 6, 3, final=True)  # late news of another attempt
    ledger.flush(now=True)
    stage = Ledger.load(folder).stages["segment"]
    assert (stage.failed, stage.done, stage.failures, stage.attempts[5]) == (0, 1, {}, 0)


def test_what_is_said_about_the_job_is_kept(folder: Folder, ledger: Ledger) -> None:
    ledger.record_prepared("segment", {"threshold": 12.5, "levels": (1, 2)})
    ledger.record_created("file:///data/nuclei", "segment")
    ledger.record_created("file:///data/table", "measure")
    ledger.record_running({"segment": 2})
    ledger.record_clearing(["measure"])
    ledger.flush(now=True)
    state = Ledger.load(folder).state
    assert (state.job, state.versions) == (JOB, {"chunkflow": "1"})
    assert state.stages["segment"].prepared == {"threshold": 12.5, "levels": [1, 2]}
    assert state.stages["segment"].prepared == ledger.stages["segment"].prepared
    assert state.stages["segment"].running == 2
    assert state.created == {"file:///data/nuclei": "segment", "file:///data/table": "measure"}
    assert (state.clearing, state.ended) == (["measure"], None)
    ledger.record_cleared(["measure"])
    ledger.record_stage("measure", 99)
    ledger.record_ended("incomplete")
    ledger.flush(now=True)
    state = Ledger.load(folder).state
    assert (state.clearing, state.ended, state.runs[-1][4]) == ([], "incomplete", "incomplete")
    assert state.created == {"file:///data/nuclei": "segment"}
    assert state.stages["measure"].cells == 99


def test_a_record_that_could_not_be_applied_is_refused(folder: Folder, ledger: Ledger) -> None:
    for stage, index in (("mesh", 0), ("segment", 12), ("segment", -1)):
        refused = "stage mesh is not in the ledger" if stage == "mesh" else "segment has cells 0 to 11"
        with pytest.raises(ValueError, match=refused):
            done(ledger, stage, index)
        with pytest.raises(ValueError, match=refused):
            failed(ledger, stage, index, 1, True)
        with pytest.raises(ValueError, match=refused):
            ledger.record_retried(stage, [index])
    with pytest.raises(BadInput, match="has 12 chunks in the ledger, not 13"):
        ledger.record_stage("segment", 13)
    assert not ledger.flush(now=True)


def test_a_resumed_run_finds_what_the_last_left(folder: Folder) -> None:
    with Ledger.load(folder).take() as first:
        assert not first.took_over
        first.record_job(JOB, {"chunkflow": "1"}, CELLS)
        done(first, "segment", 1)
    assert not first.is_writing
    with Ledger.load(folder).take() as second:
        assert not second.took_over
        assert second.stages["segment"].done == 1
        second.record_job(JOB, {"chunkflow": "2"}, CELLS)
        second.flush(now=True)
        assert [entry["versions"] for entry in second.state.history] == [
            {"chunkflow": "1"},
            {"chunkflow": "2"},
        ]
        assert len(second.state.runs) == 2


def test_an_overtaken_ledger_stops_and_closes_quietly(folder: Folder) -> None:
    first = Ledger.load(folder).take()
    first.record_job(JOB, {}, CELLS)
    first.flush(now=True)
    second = Ledger.load(folder).take(lease=0)
    assert second.took_over
    done(first, "segment", 1)
    with pytest.raises(Overtaken):
        first.flush(now=True)
    assert not first.is_writing
    first.close()
    done(second, "segment", 2)
    second.close()
    assert Ledger.load(folder).stages["segment"].indexes(DONE).tolist() == [2]


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
        assert ledger.stages["segment"].done == index
        done(ledger, "measure", index)
        assert ledger.flush(now=True)
        stage = Ledger.load(folder).stages["segment"]
        assert (stage.done, stage.repeats) == (index + 1, 0)
    assert Ledger.load(folder).stages["measure"].done == 2


def test_a_watcher_sees_what_comes(folder: Folder, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "BLOCK", 4)
    watcher = Ledger.load(folder)
    for index in range(12):
        done(ledger, "segment", index)
        ledger.flush(now=True)
        if index % 5 != 3:
            assert watcher.refresh().stages["segment"].done == index + 1
    assert watcher.stages["segment"].is_complete
    assert watcher.state.encode() == ledger.state.encode()


@pytest.mark.parametrize(("cells", "looked"), [(2, False), (9, False), (2, True)])
def test_a_watcher_of_a_folder_that_is_emptied_and_filled_sees_what_is_there(
    folder: Folder, tmp_path: Path, cells: int, looked: bool
) -> None:
    """Whether the new ledger is shorter than the one that was read, or longer."""

    def write(count: int) -> None:
        with Ledger.load(folder).take() as ledger:
            ledger.record_job(JOB, {"chunkflow": "1"}, CELLS)
            for cell in range(count):
                done(ledger, "segment", cell)
                ledger.flush(now=True)

    write(5)
    watcher = Ledger.load(folder)
    shutil.rmtree(tmp_path / "ledger")
    if looked:
        assert watcher.refresh() == State()
    write(cells)
    assert watcher.refresh().stages["segment"].done == cells
    assert watcher.state.encode() == Ledger.load(folder).state.encode()


def test_a_snapshot_is_the_state(ledger: Ledger) -> None:
    done(ledger, "segment", 3)
    failed(ledger, "measure", 2, 1, final=True)
    ledger.flush(now=True)
    again = State.decode(ledger.state.encode())
    assert (again.job, again.history) == (JOB, ledger.state.history)
    assert again.stages["measure"].failures == ledger.stages["measure"].failures
    assert again.stages["segment"].indexes(DONE).tolist() == [3]


def test_an_empty_folder_is_an_empty_state(folder: Folder) -> None:
    assert Ledger.load(folder).state == State()
    assert list(folder.list()) == []


WRITER = """
import sys
from chunkflow.engine.ledger import chain, ledger
from chunkflow.data.folder import Folder
from tests.support.jobs import job_record
from tests.support.ledgers import done
chain.BLOCK = 20
book = ledger.Ledger.load(Folder(sys.argv[1])).take()
book.record_job(job_record("rat", {"tasks": []}), {}, {"segment": 1000000})
book.flush(now=True)
index = book.stages["segment"].done
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
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(chance.uniform(0, 0.3))
        finally:
            process.kill()
        said = (first + process.communicate()[0]).split()
        stage = Ledger.load(folder).stages["segment"]
        assert stage.indexes(DONE).tolist() == list(range(stage.done))
        assert stage.repeats == 0
        assert stage.done - 1 in (int(said[-1]), int(said[-1]) + 3)


def test_on_s3_too(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "BLOCK", 4)
    folder = Folder(f"{bucket}/{uuid.uuid4()}")
    with Ledger.load(folder).take() as ledger:
        ledger.record_job(JOB, {}, CELLS)
        for index in range(10):
            done(ledger, "segment", index)
            ledger.flush(now=True)
    with Ledger.load(folder).take() as ledger:
        assert ledger.stages["segment"].done == 10
        done(ledger, "segment", 11)
    assert Ledger.load(folder).stages["segment"].done == 11
    assert sum(1 for _ in folder.list("ledger/")) < 15
