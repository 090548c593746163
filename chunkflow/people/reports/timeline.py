"""Timeline of a run: a row for every worker, and a bar for every chunk that it mapped."""

from __future__ import annotations

import html
import re
from typing import Any

from chunkflow.words import counted, in_words

COLOURS = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#ee7733",
    "#009988",
    "#882255",
    "#999933",
    "#bbbbbb",
)
FAILED = "#c00000"
LEFT, WIDTH, ROW = 90, 900, 22
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
MOST_TICKS = 8


def timeline(log: list[dict[str, Any]], whole: bool = True) -> str:
    """The last run of a log, as SVG with its key; `whole` says that the log has every line of it."""
    starts = [i for i, line in enumerate(log) if line.get("event") == "started"]
    bars = [line for line in log[starts[-1] if starts else 0 :] if line.get("worker")]
    if not bars:
        return "<p class=quiet>Nothing was mapped in the last run.</p>"
    first = min(bar["at"] for bar in bars)
    span = max(max(bar["at"] + bar["seconds"][1] for bar in bars) - first, 1e-3)
    workers = sorted({bar["worker"] for bar in bars}, key=_by_number)
    tasks = list(dict.fromkeys(_entry(bar) for bar in sorted(bars, key=lambda bar: float(bar["at"]))))
    colours = {task: COLOURS[i % len(COLOURS)] for i, task in enumerate(tasks)}
    height = ROW * len(workers)
    drawn = [_bar(bar, first, span, workers.index(bar["worker"]), colours) for bar in bars]
    names = [
        f'<text x="{LEFT - 8}" y="{ROW * row + 15}" text-anchor="end">{html.escape(worker)}</text>'
        for row, worker in enumerate(workers)
    ]
    mapped = sum(bar["seconds"][1] for bar in bars)
    share = mapped / (span * len(workers))
    what = "of the last run" if whole else "of the last chunks of the run"
    return (
        f"<p class=key>{_key(colours, any('cause' in bar for bar in bars))}</p>"
        f'<svg viewBox="0 0 {LEFT + WIDTH + 20} {height + 26}" role="img">{_axis(span, height)}'
        f"{''.join(names)}{''.join(drawn)}</svg>"
        f"<p class=quiet>{counted(len(workers), 'worker')}, {in_words(span)} {what}. A bar is the time in "
        f"which one chunk was mapped ({100 * share:.0f} % of all time); reading ahead and writing behind go "
        "on beside it. Point at a bar to see which it is.</p>"
    )


def _bar(bar: dict[str, Any], first: float, span: float, row: int, colours: dict[str, str]) -> str:
    read, mapped, written = bar["seconds"]
    x = LEFT + WIDTH * (bar["at"] - first) / span
    fill = FAILED if "cause" in bar else colours[_entry(bar)]
    cause = f": {bar['cause']}" if "cause" in bar else ""
    title = (
        f"{bar['task']} {bar['chunk']}{cause}, read {read:.2f} s, map {mapped:.2f} s, write {written:.2f} s"
    )
    return (
        f'<rect x="{x:.1f}" y="{ROW * row + 2}" height="{ROW - 4}" '
        f'width="{max(WIDTH * mapped / span, 0.6):.1f}" fill="{fill}">'
        f"<title>{html.escape(title)}</title></rect>"
    )


def _axis(span: float, height: int) -> str:
    """Lines at round numbers of seconds since the first chunk."""
    step = next((s for s in STEPS if span / s <= MOST_TICKS), 86400 * (1 + int(span / 86400 / MOST_TICKS)))
    lines = []
    for tick in range(int(span / step) + 1):
        x = LEFT + WIDTH * tick * step / span
        lines.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>'
            f'<text x="{x:.1f}" y="{height + 18}" text-anchor="middle">{_round_time(tick * step)}</text>'
        )
    return "".join(lines)


def _round_time(seconds: float) -> str:
    """A round number of seconds, minutes or hours: 0.2 s, 5 min, 2 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _key(colours: dict[str, str], failures: bool) -> str:
    shown = {**colours, "failed": FAILED} if failures else colours
    return "".join(
        f'<span><i style="background:{c}"></i>{html.escape(task)}</span>' for task, c in shown.items()
    )


def _entry(bar: dict[str, Any]) -> str:
    """The task of the job that a chunk belongs to."""
    return str(re.split(r"[./]", bar["task"])[0])


def _by_number(name: str) -> tuple[str, int]:
    head, _, number = name.rpartition("-")
    return head, int(number) if number.isdigit() else 0
