"""Report of a run: its stages, failures and figures, a timeline, and a paragraph of methods."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Sequence
from typing import Any

import yaml

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.accounts import Account, read_accounts
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.ledger.state import StageRecord, State
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.log import read_log
from chunkflow.jobs.status import warnings_of
from chunkflow.people.reports.costs import estimate_and_actual
from chunkflow.people.reports.files import files_for_people
from chunkflow.people.reports.methods import decided, methods
from chunkflow.people.reports.pages import STYLE
from chunkflow.people.reports.thresholds import threshold_charts
from chunkflow.people.reports.timeline import timeline
from chunkflow.words import counted, in_words, plain

MOST_LINES = 20_000
MOST_FAILURES = 20
HEAD = ("task", "chunks", "done", "empty", "failed", "left", "read", "map", "write", "a chunk", "in", "out")


def write_report(work: str) -> str:
    """Write report.html into the work folder from what its ledger and logs say; returns where it is."""
    folder = Folder(work)
    state = Ledger.load(folder).state
    if state.job is None:
        raise BadInput(f"No job has run in {plain(work)} yet.")
    left = files_for_people(folder, (re.split("[/.]", name)[0] for name in state.stages))
    planned = state.job.plan
    accounts = [one for one in read_accounts(planned.job.work) if one.box == str(planned.box or "")]
    page = report(state, read_log(folder, MOST_LINES), left, accounts)
    folder.put("report.html", page.encode())
    return f"{work}/report.html"


def report(state: State, log: list[dict[str, Any]], left: str = "", accounts: Sequence[Account] = ()) -> str:
    """The page; `left` is the part of it that shows what tasks left for people."""
    assert state.job is not None
    name = html.escape(state.job.plan.job.name)
    whole = len(log) < MOST_LINES or any(line.get("event") == "started" for line in log)
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title><style>{STYLE}</style>",
        f"<h1>{name}</h1>{_summary(state)}{_warnings(state)}",
        left,
        "<h2>Tasks</h2>" + _tasks(state),
        threshold_charts(state),
        estimate_and_actual(state, accounts),
        "<h2>Timeline</h2>" + timeline(log, whole),
        "<h2>Failures</h2>" + _failures(state),
        "<h2>Methods</h2><p class=quiet>To be quoted.</p><blockquote>" + html.escape(methods(state)),
        "</blockquote><h2>Job</h2><pre>" + html.escape(job_text(state)) + "</pre>" + _found(state),
        "<h2>Runs and versions</h2>" + _runs(state),
    ]
    return "\n".join(parts)


def _summary(state: State) -> str:
    stages = list(state.stages.values())
    cells, done, _, failed = _totals(stages)
    left = cells - done - failed
    status = state.ended or "running"
    bad = "" if status == "complete" else " bad"
    repeats = sum(stage.repeats for stage in stages)
    again = f" Done twice, and counted once: {counted(repeats, 'chunk')}." if repeats else ""
    took = in_words(sum(run[3] - run[2] for run in state.runs))
    return (
        f'<p><span class="status{bad}">{status}</span> {took} in {counted(len(state.runs), "run")}, until '
        f"{_when(state.last_heartbeat)}.</p><p>Of {counted(cells, 'chunk')} (of all tasks; a merge of what "
        f"chunks left counts as one) {done:,} {'is' if done == 1 else 'are'} done, {failed:,} failed and "
        f"{left:,} {'is' if left == 1 else 'are'} left; each is counted once.{again}</p>"
    )


def _warnings(state: State) -> str:
    """What tasks decided for themselves and should be looked at."""
    return "".join(
        f"<p><b>{html.escape(task)}</b>: {html.escape(warning)}</p>"
        for task, warning in warnings_of(state).items()
    )


def _tasks(state: State) -> str:
    rows = [_row(name, [stage]) for name, stage in state.stages.items()]
    total = _row("all", list(state.stages.values())).replace("<tr>", "<tr class=total>")
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    retries = [
        f"{html.escape(name)}: {', '.join(f'{count} × {cause}' for cause, count in stage.causes.items())}"
        for name, stage in state.stages.items()
        if stage.causes
    ]
    tried = f"<p>Attempts that failed: {'; '.join(retries)}.</p>" if retries else ""
    return (
        f"<div class=wide><table><tr>{head}</tr>{''.join(rows)}{total}</table></div>{tried}"
        "<p class=quiet>Read, map and write are seconds of all workers added up; a chunk is their sum for "
        "one. Empty chunks are done, and spare later tasks their work.</p>"
    )


def _totals(stages: list[StageRecord]) -> tuple[int, int, int, int]:
    """Numbers of cells: all, and those that are done, done but empty, failed."""
    each = [(stage.cells, stage.done, stage.empty, stage.failed) for stage in stages]
    return tuple(sum(values) for values in zip(*each, strict=True))  # type: ignore[return-value]


def _row(name: str, stages: list[StageRecord]) -> str:
    cells, done, empty, failed = _totals(stages)
    spent = [sum(stage.seconds[kind] for stage in stages) for kind in ("read", "map", "write")]
    values = (
        html.escape(name),
        f"{cells:,}",
        f"{done:,}",
        f"{empty:,}" if empty else "–",
        f"<b class=bad>{failed:,}</b>" if failed else "–",
        f"{cells - done - failed:,}" if cells - done - failed else "–",
        *(f"{seconds:,.1f} s" if seconds >= 0.05 else "–" for seconds in spent),
        _milliseconds(sum(spent) / done) if done else "–",
        _megabytes(sum(stage.bytes_in for stage in stages)),
        _megabytes(sum(stage.bytes_out for stage in stages)),
    )
    return "<tr>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>"


def _milliseconds(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{1000 * seconds:,.0f} ms"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 5e4 else "–"


def _failures(state: State) -> str:
    failures = [(stage.name, f) for stage in state.stages.values() for f in stage.failures.values()]
    rows = [
        f"<h3>{html.escape(name)} chunk {f.index}: {html.escape(f.cause)}, "
        f"{'set aside' if f.final else 'to be tried again'} after attempt {f.attempt}</h3>"
        f"<pre>{html.escape(f.traceback.rstrip())}</pre>"
        for name, f in failures[:MOST_FAILURES]
    ]
    more = len(failures) - len(rows)
    return ("".join(rows) or "<p>No chunk is left that failed.</p>") + (
        f"<p>And {more:,} more: chunkflow failed WORK lists them.</p>" if more else ""
    )


def job_text(state: State) -> str:
    """The job as a person writes it, to be run again."""
    assert state.job is not None
    planned = state.job.plan
    job = planned.job
    document: dict[str, Any] = {"job": job.name, "work": plain(job.work), "chunk": list(planned.chunk)}
    for name in ("storage", "mask", "memory", "fill_missing", "heartbeat"):
        if getattr(job, name) != Job.model_fields[name].get_default():
            document[name] = job.model_dump(mode="json")[name]
    document["layers"] = {
        name: {"url": plain(entry.url), "encoding": entry.encoding} if entry.encoding else plain(entry.url)
        for name, entry in job.layers.items()
    }
    document["tasks"] = [{entry.type: dict(entry.parameters)} for entry in job.tasks]
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100, allow_unicode=True)
    return (f"# run on the box {planned.box} alone\n" if planned.box else "") + str(text)


def _found(state: State) -> str:
    """What the tasks decided for the whole volume, exactly, and what they counted over it."""
    assert state.job is not None
    found = [
        (entry.name, key, value)
        for entry in state.job.plan.job.tasks
        for key, value in decided(state, entry.name).items()
        if isinstance(value, int | float | str) and value != "" and key != "warning"
    ]
    found += [
        (stage.name, key, f"{value:,}")
        for stage in state.stages.values()
        for key, value in stage.counts.items()
    ]
    cells = [
        f"<td>{html.escape(name)}<td>{html.escape(key)}<td>{html.escape(str(v))}" for name, key, v in found
    ]
    head = "<tr><th>task<th>decided or counted<th>exactly"
    return f"<table class=left>{head}<tr>{'<tr>'.join(cells)}</table>" if cells else ""


def _runs(state: State) -> str:
    rows = "".join(
        f"<tr><td>{_when(began)}</td><td>{in_words(ended - began)}</td><td>{html.escape(str(host))}</td>"
        f"<td>{html.escape(str(how or 'no end was recorded'))}</td></tr>"
        for host, _, began, ended, how in state.runs
    )
    shown = ", ".join(f"{key} {value}" for key, value in state.versions.items() if key != "folder")
    head = "<tr><th>began</th><th>took</th><th>runner on</th><th>ended</th></tr>"
    return f"<table class=left>{head}{rows}</table><p>{html.escape(shown)}</p>"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
