"""A chunk is run again from a work folder alone, and nothing of it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

import chunkflow as cf
from chunkflow.engine.worker.worker import Worker


def test_a_chunk_is_replayed(brain: Path) -> None:
    work = cf.open(brain / "made")
    before = {path: path.stat().st_mtime_ns for path in (brain / "nuclei").rglob("*")}
    replayed = work.replay("segment", 1)
    assert (replayed.box, replayed.seconds > 0) == (cf.Box((64, 0, 0), (128, 64, 64)), True)
    assert repr(replayed).startswith("segment chunk 1 (64-128_0-64_0-64) is well: ")
    assert before == {path: path.stat().st_mtime_ns for path in (brain / "nuclei").rglob("*")}
    with pytest.raises(cf.BadInput, match="segment has chunks 0 to 7, not 8"):
        work.replay("segment", 8)


def test_a_chunk_that_fails_again_says_why(brain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(worker: Worker, stage: int, index: int) -> None:
        raise ArithmeticError("stumbled\nover it")

    monkeypatch.setattr(Worker, "do", stumble)
    with pytest.raises(cf.Incomplete, match="chunk 0 failed: ArithmeticError: stumbled over it") as failed:
        cf.open(brain / "made").replay("segment", 0)
    assert isinstance(failed.value.__cause__, ArithmeticError)
