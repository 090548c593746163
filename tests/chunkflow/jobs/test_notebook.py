"""Progress in a notebook: what was said stays to be read, and nothing seems to go on that has ended."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython import display

from chunkflow.engine.run.events import CellDone, Event, Said
from chunkflow.jobs.notebook import NotebookProgress, notebook_progress
from tests.support.jobs import run_job
from tests.support.smooth_jobs import smooth_job


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every page that a cell shows, one after the other."""
    pages: list[str] = []

    def show(html: Any, **_: object) -> Any:
        pages.append(html.data)
        return SimpleNamespace(update=show)

    monkeypatch.setattr(display, "display", show)
    return pages


def test_what_is_said_after_the_end_is_shown(tmp_path: Path, shown: list[str]) -> None:
    progress = NotebookProgress()
    progress(Said("Starting."))
    assert shown == []
    assert run_job(smooth_job(tmp_path), listeners=[progress]) == "complete"
    assert "test: complete" in shown[-1]
    progress(Said("It cost < $1."))
    assert "test: complete" in shown[-1]
    assert "<div>Starting.</div>" in shown[-1]
    assert "<div>It cost &lt; $1.</div>" in shown[-1]
    before = len(shown)
    progress.close()
    assert len(shown) == before, "it is known how the run ended"


def test_a_run_that_ends_by_an_error_is_shown_as_stopped(
    tmp_path: Path, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", notebook(kernel=True))

    def stumble(event: Event) -> None:
        if isinstance(event, CellDone):
            raise LookupError("a listener's own fault")

    with pytest.raises(LookupError), notebook_progress() as listeners:
        run_job(smooth_job(tmp_path), listeners=[*listeners, stumble])
    assert "test: running" in shown[0]
    assert "test: stopped" in shown[-1]


@pytest.mark.parametrize("module", [None, "terminal"])
def test_elsewhere_nothing_is_shown(module: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", notebook(kernel=False) if module else None)
    with notebook_progress() as listeners:
        assert listeners == []


def notebook(kernel: bool) -> Any:
    """IPython as the kernel of a notebook, or on a terminal."""
    shell = SimpleNamespace(kernel=object()) if kernel else SimpleNamespace()
    return SimpleNamespace(get_ipython=lambda: shell, display=display)
