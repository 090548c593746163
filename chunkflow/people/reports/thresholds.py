"""Automatic thresholds of a job: the histogram of the sampled peaks, and where they were cut."""

from __future__ import annotations

import html
from math import ceil, floor, log2, log10
from typing import Any

from chunkflow.engine.ledger.state import State
from chunkflow.kernels.images.threshold import PEAK_RATIO, STEPS_PER_OCTAVE, step_height

LEFT, STEP, TOP, FLOOR = 60, 14, 8, 190
FAR_BELOW = 32  # times below the noise: peaks of empty space
TAKEN, LEFT_OUT, CUT = "#4477aa", "#c9d0d6", "#cc3311"


def threshold_charts(state: State) -> str:
    """A chart for each task that decided a threshold, as HTML."""
    charts = [
        threshold_chart(name.removesuffix(".prepare"), stage.prepared)
        for name, stage in state.stages.items()
        if stage.prepared and stage.prepared.get("histogram", {}).get("counts")
    ]
    return f"<h2>Automatic thresholds</h2>{''.join(charts)}" if charts else ""


def threshold_chart(task: str, decided: dict[str, Any]) -> str:
    """The heights of the sampled peaks, both axes by powers, and the contrast that a nucleus must reach; what
    is far below both the noise and that contrast is left out."""
    contrast, noise = PEAK_RATIO * decided["threshold"], decided["noise"]
    begin, counts = decided["histogram"]["first"], decided["histogram"]["counts"]
    lowest = floor(_step(noise / FAR_BELOW)) if noise else begin
    first = max(begin, min(lowest, floor(_step(contrast)), begin + len(counts) - 1))
    counts = counts[first - begin :]
    powers = ceil(log10(max(counts) + 1))
    at = LEFT + STEP * (_step(contrast) - first)
    cut = (
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{FLOOR}" style="stroke:{CUT};stroke-width:2"/>'
        f'<text x="{at + 5:.1f}" y="{TOP + 10}" style="fill:{CUT}">contrast {_number(contrast)}</text>'
    )
    width = LEFT + STEP * len(counts) + 100
    drawn = _bars(counts, first, powers, contrast) + _scales(len(counts), first, powers) + cut
    return (
        f'<p><b>{html.escape(task)}</b></p><svg viewBox="0 0 {width} {FLOOR + 24}" role="img" '
        f'style="max-width:{width}px">{drawn}</svg>'
        f"<p class=quiet>How high the response is at the peaks of the sample, in grey values; both scales go "
        f"by powers. {decided['sampled_nuclei']:,} of {decided['sampled_peaks']:,} peaks reach the contrast "
        f"and were taken for nuclei. The noise is {_number(noise)}; two classes explain "
        f"{100 * decided['separability']:.0f} % of how the peaks differ.</p>"
    )


def _bars(counts: list[int], first: int, powers: int, contrast: float) -> str:
    bars = []
    for number, count in enumerate(counts):
        tall = (FLOOR - TOP) * log10(count + 1) / powers
        low, high = step_height(first + number), step_height(first + number + 1)
        bars.append(
            f'<rect x="{LEFT + STEP * number}" y="{FLOOR - tall:.1f}" width="{STEP - 1}" '
            f'height="{tall:.1f}" fill="{TAKEN if low >= contrast else LEFT_OUT}">'
            f"<title>{_number(low)} to {_number(high)}: {count:,}</title></rect>"
        )
    return "".join(bars)


def _scales(steps: int, first: int, powers: int) -> str:
    """Every second octave below, and every power of ten on the left."""
    octaves = [step for step in range(first, first + steps) if step % (2 * STEPS_PER_OCTAVE) == 0]
    below = [
        f'<text x="{LEFT + STEP * (step - first)}" y="{FLOOR + 16}" text-anchor="middle">'
        f"{_number(step_height(step))}</text>"
        for step in octaves
    ]
    left = [
        f'<text x="{LEFT - 8}" y="{FLOOR - (FLOOR - TOP) * log10(10**power + 1) / powers + 4:.1f}" '
        f'text-anchor="end">{10**power:,}</text>'
        for power in range(powers)
    ]
    return "".join([*below, *left])


def _step(height: float) -> float:
    """Where a height lies on the axis of steps."""
    return STEPS_PER_OCTAVE * (log2(height) + 1)


def _number(height: float) -> str:
    return f"{height:,.0f}" if height >= 100 else f"{height:.3g}"
