"""Pictures for people: figures of one quiet style, and what they are as a file.

matplotlib is imported where something is drawn, as it takes a second that most runs need not pay.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 110
INK, LINE = "#3d464f", "#c9d0d6"
BLUE, RED, YELLOW, TEAL, PURPLE, GREY = "#4477aa", "#cc3311", "#ddaa33", "#009988", "#aa4499", "#8a949e"
COLOURS = (BLUE, RED, TEAL, YELLOW, PURPLE, GREY)
"""Told apart by all people, in this order."""


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, whose parts make room for each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, in the common style; the same figure gives the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    for axes in figure.axes:
        shows_image = bool(axes.images)
        for side, spine in axes.spines.items():
            spine.set_color(LINE)
            spine.set_visible(shows_image or side in ("left", "bottom"))
        if not shows_image:
            axes.grid(color=LINE, linewidth=0.5, alpha=0.7)
            axes.set_axisbelow(True)
        axes.tick_params(colors=INK, labelsize=9, length=3)
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set(color=INK, fontsize=10)
        axes.title.set(color=INK, fontsize=11)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set(edgecolor=LINE, linewidth=0.5)
            for text in legend.get_texts():
                text.set(color=INK, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()
