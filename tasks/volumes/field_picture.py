"""The picture of a field of uneven light for the report: the field, and the image before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chunkflow.geometry import VoxelSize
from chunkflow.kernels.illumination.bias_field import Floats, Mask
from chunkflow.people.reports.pictures import INK, LINE, figure, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINE = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
COARSE = (0.1, 0.2, 0.33, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Factors that the scale names, as far as they occur: of a weak field, and of one of 1.7 or more."""
LEAST = 0.05
"""Of the logarithm: the scale of a field that is next to even does not show its noise."""
WIDTH = 3.0
"""Inches of a section."""


def png_of_field(image: Floats, field: Floats, mask: Mask, voxel_size: VoxelSize) -> bytes:
    """Middle sections x-y and x-z of the field, and of the image before and after in one scale of grey."""
    x, y, z = (n * size / 1e6 for n, size in zip(image.shape, voxel_size, strict=True))
    middles = tuple(n // 2 for n in image.shape)
    planes: list[tuple[Any, float, float, str]] = [(np.s_[:, :, middles[2]], x, y, "xy")]
    if image.shape[2] > 1:
        planes.append((np.s_[:, middles[1], :], x, z, "xz"))
    heights = [min(max(WIDTH * high / wide, 0.5), 2 * WIDTH) for _, wide, high, _ in planes]
    drawn = figure(3 * WIDTH + 1.4, sum(heights) + 0.7 + 0.4 * len(planes))
    panels = drawn.subplots(len(planes), 3, squeeze=False, gridspec_kw={"height_ratios": heights})
    rows: list[Any] = list(panels)
    after: Floats = np.asarray(image / np.exp(field), np.float32)
    brightest = float(np.percentile(np.concatenate([image[mask], after[mask]]), 99.5))
    furthest = max(float(np.abs(field[mask]).max()), LEAST)
    for row, (plane, wide, high, names) in zip(rows, planes, strict=True):
        extent = (0, wide, high, 0)
        shown = row[0].imshow(
            field[plane].T, extent=extent, cmap="RdBu_r", vmin=-furthest, vmax=furthest, aspect="auto"
        )
        _outline(row[0], mask[plane], extent)
        for axes, array in zip(row[1:], (image, after), strict=True):
            axes.imshow(array[plane].T, extent=extent, cmap="gray", vmin=0, vmax=brightest, aspect="auto")
            axes.set_yticklabels([])
        for axes in row:
            axes.set_xlabel(f"{names[0]} (mm)")
        row[0].set_ylabel(f"{names[1]} (mm)")
    for axes, title in zip(rows[0], ("field, and where it was fitted", "before", "after"), strict=True):
        axes.set_title(title)
    bar = drawn.colorbar(shown, ax=panels, shrink=0.8, pad=0.01)
    ticks = [
        factor for factor in (FINE if furthest < np.log(1.7) else COARSE) if abs(np.log(factor)) <= furthest
    ]
    bar.set_ticks(np.log(ticks).tolist(), labels=[f"{factor:g}" for factor in ticks])
    bar.minorticks_off()
    bar.outline.set_edgecolor(LINE)
    bar.set_label("times as bright as in even light")
    return png(drawn)


def _outline(axes: Axes, mask: Mask, extent: tuple[float, float, float, float]) -> None:
    """The border of what the field was fitted to, where it is in sight."""
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        axes.contour(
            mask.T,
            levels=[0.5],
            extent=(*extent[:2], extent[3], extent[2]),
            colors=INK,
            linewidths=0.7,
        )
