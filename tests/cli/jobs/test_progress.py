"""Progress: a live table on a terminal, lines elsewhere; both end with every task."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from rich.console import Console

from chunkflow.engine.planning.job import Job
from chunkflow.jobs.progress import MOST_TOLD, last_error
from chunkflow.task import File
from chunkflow.words import counted, in_words, plain
from cli.jobs.progress import TerminalProgress
from tasks.cells.segment import Segment
from tests.support.commands import Command, stumbling
from tests.support.jobs import run_job


def shown(lab: Path, terminal: bool) -> str:
    file = io.StringIO()
    progress = TerminalProgress(Console(file=file, force_terminal=terminal, width=100, color_system=None))
    job = Job.from_file(
        lab / "job.yaml", [f"work={'terminal' if terminal else 'lines'}", "layers.nuclei=./made"]
    )
    assert run_job(job, listeners=[progress]) == "complete"
    progress.close()
    return file.getvalue()


def test_a_terminal_gets_a_table_and_the_cursor_back(lab: Path) -> None:
    text = shown(lab, terminal=True)
    assert "Job rat: 20 chunks." in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    end = text.rpartition("\x1b[?25h")[2]
    assert "segment" in end
    assert "9/9" in end
    assert "complete, after" in end


def test_elsewhere_there_are_plain_lines(lab: Path) -> None:
    text = shown(lab, terminal=False)
    assert "\x1b" not in text
    assert text.splitlines()[0] == "Job rat: 20 chunks."
    assert text.splitlines()[-1].endswith("segment 9/9  measure 11/11")


def test_what_was_decided_is_told_once_as_it_can_be_pasted(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning too; but not what a task knows of a file, which its path is the parameter for."""
    values = {"threshold": 7.5, "mask": "fingerprint", "warning": "only 3 nuclei"}
    monkeypatch.setattr(Segment, "prepare", lambda *given: values)
    field = FieldInfo.from_annotation(File)
    monkeypatch.setitem(Segment.model_fields, "mask", field)
    monkeypatch.setattr(Segment, "mask", None, raising=False)
    text = shown(lab, terminal=False)
    assert "segment decided; to have the same elsewhere: threshold: 7.5\n" in text
    assert text.count("segment: only 3 nuclei.") == text.count("only 3") == 1


def test_durations_and_counts_read_well() -> None:
    assert [in_words(s) for s in (0.04, 9.94, 10, 59.4, 59.6, 3599, 7500)] == [
        "0.0 s",
        "9.9 s",
        "10 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 5 min",
    ]
    assert [counted(n, "chunk") for n in (0, 1, 1000)] == ["0 chunks", "1 chunk", "1,000 chunks"]
    assert [plain(u) for u in ("file:///a/b", "s3://b/c")] == ["/a/b", "s3://b/c"]


def test_a_task_that_fails_everywhere_does_not_fill_the_screen(lab: Path, command: Command) -> None:
    stumbling(lab, every=True)
    said = command("run", "job.yaml", "--serial")
    assert said.code == 1
    assert said.out.count("stumbled over it") == MOST_TOLD
    assert said.out.count("chunkflow failed") == 1


def test_an_error_is_told_by_the_line_that_names_it() -> None:
    trace = "Traceback (most recent call last):\n  File x\nchunkflow.errors.StorageError: the disk\nis full"
    assert last_error(trace) == "StorageError: the disk"
    assert last_error("KeyboardInterrupt") == "KeyboardInterrupt"
    assert last_error("no word from the worker for 600 s") == "no word from the worker for 600 s"
    assert last_error("") == ""
