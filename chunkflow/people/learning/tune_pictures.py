"""Pictures of a tuning: F1 of all settings, and where the chosen one is right and wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chunkflow.kernels.scoring.scores import closest_pairs
from chunkflow.kernels.scoring.tuning import ScoreSurface
from chunkflow.people.learning.settings import Setting
from chunkflow.people.learning.tune_region import Region
from chunkflow.people.reports.pictures import BLUE, RED, TEAL, YELLOW, figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.5
OCTAVES_SHOWN = 6
"""Of contrast, to both sides of the settings marked."""


def surface_picture(surface: ScoreSurface, chosen: Setting, automatic: Setting) -> bytes:
    """F1 over diameters and contrasts, and the scores over contrasts for the diameter chosen."""
    drawn = figure(WIDTH, 3.8)
    left, right = drawn.subplots(1, 2)
    shown = left.pcolormesh(
        surface.contrasts, surface.diameters, surface.f1, cmap="viridis", shading="nearest", vmin=0
    )
    drawn.colorbar(shown, ax=left, label="F1", pad=0.01)
    for setting, shape, edge in ((automatic, "s", "black"), (chosen, "o", RED)):
        at = setting.contrast, setting.diameter
        left.plot(*at, shape, color="white", markeredgecolor=edge, markersize=9, markeredgewidth=2)
    left.set(xscale="log", yscale="log", xlabel="contrast, grey values", ylabel="diameter, µm")
    ticks = surface.diameters[:: max(1, len(surface.diameters) // 6)]
    left.set_yticks(ticks, [f"{size:.3g}" for size in ticks])
    left.minorticks_off()
    shown_contrasts = _contrasts_shown(surface, chosen, automatic)
    left.set_xlim(shown_contrasts)
    row = int(np.flatnonzero(surface.diameters == chosen.diameter)[0])
    found = surface.right[row] + surface.wrong[row]
    precision = np.divide(surface.right[row], found, out=np.full(len(found), np.nan), where=found > 0)
    for name, values, colour in (
        ("F1", surface.f1[row], BLUE),
        ("precision", precision, TEAL),
        ("recall", surface.right[row] / surface.cells, YELLOW),
    ):
        right.plot(surface.contrasts, values, color=colour, label=name)
    right.axvline(chosen.contrast, color=RED, linewidth=1, label="chosen")
    right.axvline(automatic.contrast, color="black", linewidth=1, linestyle=":", label="automatic")
    right.set(
        xscale="log", ylim=(0, 1.03), xlabel="contrast, grey values", ylabel=f"at {chosen.diameter:.3g} µm"
    )
    right.set_xlim(shown_contrasts)
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return png(drawn)


def _contrasts_shown(surface: ScoreSurface, *settings: Setting) -> tuple[float, float]:
    """From far below the lower setting to far above the higher one, as far as anything was tried."""
    contrasts = [setting.contrast for setting in settings]
    low = max(min(contrasts) / 2**OCTAVES_SHOWN, float(surface.contrasts[0]))
    return low, min(max(contrasts) * 2**OCTAVES_SHOWN, float(surface.contrasts[-1]))


def where_picture(setting: Setting) -> bytes:
    """Projections along z and along y, with a circle for each cell and each peak."""
    region, best = setting.region, setting.ranked
    taken = best.heights >= np.float32(setting.contrast)
    peaks, inside = best.places[taken], best.inside[taken]
    pairs = closest_pairs(peaks, region.cells, region.tolerance)
    wrong = inside.copy()
    wrong[pairs[:, 0]] = False
    missed = np.ones(len(region.cells), bool)
    missed[pairs[:, 1]] = False
    marks = (
        ("found", peaks[pairs[:, 0]], BLUE),
        ("missed", region.cells[missed], YELLOW),
        ("wrong", peaks[wrong], RED),
    )
    window, size = region.window.crop(region.searched), region.size_um
    start, stop = (np.array(end) * size for end in (window.box.start, window.box.stop))
    spans = stop - start
    drawn = figure(WIDTH, float(np.clip(4.6 * max(spans[1:]) / spans[0], 3.0, 9.0)) + 0.4)
    low, high = np.percentile(window.array, (1, 99.8))
    for axes, across in zip(drawn.subplots(1, 2), (2, 1), strict=True):
        up = 3 - across
        extent = (start[0], stop[0], stop[up], start[up])
        axes.imshow(
            window.array.max(axis=across).T, cmap="gray", extent=extent, vmin=low, vmax=max(high, low + 1e-9)
        )
        axes.set_anchor("N")
        axes.set(xlabel="x, µm", ylabel=f"{'xyz'[up]}, µm")
        _outline(axes, region, up)
        for name, places, colour in marks:
            _circles(axes, places[:, [0, up]], best.diameter / 2, colour, f"{name}: {len(places)}")
    drawn.legend(
        *drawn.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
    )
    return png(drawn)


def _outline(axes: Axes, region: Region, up: int) -> None:
    from matplotlib.patches import Rectangle

    start, stop = (np.array(end) * region.size_um for end in (region.box.start, region.box.stop))
    width, height = (stop - start)[[0, up]]
    axes.add_patch(
        Rectangle((start[0], start[up]), width, height, fill=False, edgecolor="white", linestyle=":")
    )


def _circles(axes: Axes, places: np.ndarray, radius: float, colour: str, label: str) -> None:
    from matplotlib.collections import EllipseCollection

    axes.add_collection(
        EllipseCollection(
            [2 * radius] * len(places),
            [2 * radius] * len(places),
            [0.0] * len(places),
            units="xy",
            offsets=places,
            offset_transform=axes.transData,
            facecolors="none",
            edgecolors=colour,
            linewidths=1.3,
        )
    )
    axes.plot([], [], "o", color="none", markeredgecolor=colour, markersize=8, label=label)
