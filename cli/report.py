"""The report of a run: what ran, how long, what failed, a timeline by worker, and a paragraph of methods."""

from __future__ import annotations

import html
import time
from typing import Any

import yaml

from chunkflow.ledger import Ledger
from chunkflow.ledger_state import State, Step
from chunkflow.storage import Folder
from cli.log import read_log
from cli.words import in_words

MOST_LINES = 20_000
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888")
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}
td,th{padding:.3em .7em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}.bad{color:#b00}.quiet{color:#777}
pre{overflow:auto;background:#f6f6f6;
padding:.6em}svg{width:100%;background:#fafafa;border:1px solid #ddd}.key span{margin-right:1.2em}
"""


def write_report(work: str) -> str:
    """Write report.html into the work folder from what its ledger and logs say; returns where it is."""
    folder = Folder(work)
    state = Ledger.load(folder).state
    folder.put("report.html", report(state, read_log(folder, MOST_LINES)).encode())
    return f"{work}/report.html"


def report(state: State, log: list[dict[str, Any]]) -> str:
    assert state.job is not None
    name = html.escape(state.job["plan"]["job"]["job"])
    parts = [
        f"<!doctype html><meta charset=utf-8><title>{name}</title><style>{STYLE}</style>",
        f"<h1>{name}</h1>{_summary(state)}",
        "<h2>Tasks</h2>" + _tasks(state),
        "<h2>Timeline</h2>" + _timeline(log),
        "<h2>Failures</h2>" + _failures(state),
        "<h2>Methods</h2><p>" + html.escape(methods(state)) + "</p>",
        "<h2>Job</h2><pre>" + html.escape(_job_text(state)) + "</pre>",
        "<h2>Versions</h2><p>" + html.escape(_versions(state)) + "</p>",
    ]
    return "\n".join(parts)


def _summary(state: State) -> str:
    units = sum(step.units for step in state.steps.values())
    done = sum(step.done for step in state.steps.values())
    failed = sum(step.failed for step in state.steps.values())
    took = sum(run[3] - run[2] for run in state.runs)
    status = state.ended or "running"
    colour = "" if status == "complete" else " class=bad"
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(state.heard))
    return (
        f"<p><b{colour}>{status}</b>: {done:,} of {units:,} pieces of work done, {failed:,} failed, "
        f"{units - done - failed:,} left; every piece is counted once. {in_words(took)} in {len(state.runs)} "
        f"run{'s' if len(state.runs) != 1 else ''}, until {when}.</p>"
    )


def _tasks(state: State) -> str:
    head = (
        "task",
        "pieces",
        "done",
        "empty",
        "failed",
        "read",
        "map",
        "write",
        "a piece",
        "in",
        "out",
        "retries",
    )
    rows = []
    for step in state.steps.values():
        seconds = sum(step.seconds.values())
        retries = ", ".join(f"{count} {cause}" for cause, count in step.causes.items())
        values = (
            html.escape(step.name),
            f"{step.units:,}",
            f"{step.done:,}",
            f"{step.empty:,}",
            f"{step.failed:,}",
            *(in_words(step.seconds[kind]) for kind in ("read", "map", "write")),
            f"{1000 * seconds / max(step.done, 1):,.1f} ms",
            f"{step.bytes_in / 1e6:,.1f} MB",
            f"{step.bytes_out / 1e6:,.1f} MB",
            html.escape(retries),
        )
        rows.append("<tr>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>")
    return "<table><tr>" + "".join(f"<th>{h}</th>" for h in head) + "</tr>" + "".join(rows) + "</table>"


def _timeline(log: list[dict[str, Any]]) -> str:
    """A bar for every chunk of the last run, one row a worker."""
    starts = [i for i, line in enumerate(log) if line.get("event") == "started"]
    bars = [line for line in log[starts[-1] if starts else 0 :] if line.get("worker")]
    if not bars:
        return "<p class=quiet>Nothing ran.</p>"
    first = min(bar["at"] for bar in bars)
    last = max(bar["at"] + sum(bar["seconds"]) for bar in bars)
    span = max(last - first, 1e-3)
    workers = sorted({bar["worker"] for bar in bars})
    tasks = list(dict.fromkeys(bar["task"].partition(".")[0] for bar in bars))
    colour = {task: COLOURS[i % len(COLOURS)] for i, task in enumerate(tasks)}
    drawn = []
    for bar in bars:
        read, mapped, _ = bar["seconds"]
        x = 1000 * (bar["at"] + read - first) / span
        fill = "#b00" if "cause" in bar else colour[bar["task"].partition(".")[0]]
        drawn.append(
            f'<rect x="{x:.1f}" y="{22 * workers.index(bar["worker"]) + 2}" height="18" '
            f'width="{max(1000 * mapped / span, 0.5):.1f}" fill="{fill}">'
            f"<title>{html.escape(bar['task'])} {bar['chunk']}</title></rect>"
        )
    key = "".join(f'<span style="color:{c}">&#9632; {html.escape(task)}</span>' for task, c in colour.items())
    return (
        f'<p class=key>{key}</p><svg viewBox="0 0 1000 {22 * len(workers) + 2}" preserveAspectRatio="none">'
        f"{''.join(drawn)}</svg><p class=quiet>{len(workers)} workers, {in_words(span)}; "
        "each bar is the time that one piece was mapped.</p>"
    )


def _failures(state: State) -> str:
    rows = [
        f"<h3>{html.escape(step.name)} chunk {f.index}: {html.escape(f.cause)}"
        f"{', set aside' if f.final else ''}</h3><pre>{html.escape(f.traceback)}</pre>"
        for step in state.steps.values()
        for f in list(step.failures.values())[:20]
    ]
    return "".join(rows) or "<p class=quiet>None that is left.</p>"


def methods(state: State) -> str:
    """A paragraph that a paper can quote."""
    assert state.job is not None
    spec, versions = state.job["spec"], state.versions
    sentences = [
        f"Volumes were processed with chunkflow {versions.get('chunkflow')} (Python {versions.get('python')}, "
        f"Ray {versions.get('ray')}) in chunks of {' × '.join(map(str, spec['chunk']))} voxels; the result does "
        "not depend on the size of the chunks."
    ]
    for task in spec["tasks"]:
        ((name, parameters),) = task.items()
        given = {k: v for k, v in parameters.items() if k not in ("type", "version")}
        said = ", ".join(f"{key} {value}" for key, value in given.items())
        decided = _decided(state.steps, name)
        sentences.append(
            f"Task {name} (version {parameters['version']}) ran with {said}"
            + (f"; it decided {decided}" if decided else "")
            + "."
        )
    return " ".join(sentences)


def _decided(steps: dict[str, Step], name: str) -> str:
    prepared = next((s.prepared for n, s in steps.items() if n == f"{name}.prepare" and s.prepared), {})
    return ", ".join(
        f"{key} {value}" for key, value in prepared.items() if isinstance(value, int | float | str)
    )


def _job_text(state: State) -> str:
    assert state.job is not None
    return str(yaml.safe_dump(state.job["spec"], sort_keys=False))


def _versions(state: State) -> str:
    return ", ".join(f"{key} {value}" for key, value in state.versions.items() if key != "folder")
