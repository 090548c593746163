"""What a stitch leaves for people: its links and places as lists and as a picture, and its light."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chunkflow.data.info import FolderInfo, LayerInfo
from chunkflow.geometry import Box, Grid
from chunkflow.kernels.images.placement import Placement
from chunkflow.people.reports.pictures import GREY, INK, LINE, RED, figure, png
from chunkflow.task import Cell, Files, Layout, Objects, Out, Report
from tasks.stitch.light_kept import fields, write_light
from tasks.stitch.links import OnCanvas, placed
from tasks.stitch.tiles import TileGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Corners = npt.NDArray[np.float64]
LINK_COLUMNS = (
    *("row", "column", "other_row", "other_column", "x", "y", "z"),
    *("correlation", "voxels", "residual", "kept", "why"),
)


class Summary(OnCanvas):
    """links.csv, places.csv and layout.png; light.png and shading.npz where light was corrected."""

    links: Objects
    light: Objects = ""
    gains: Objects = ""
    report: Report = Out()
    least_correlation: float

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"report": FolderInfo(volume=self.whole(), voxel_size=self.voxel_size)}

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def map(
        self, cell: Cell, links: pa.Table, light: pa.Table | None = None, gains: pa.Table | None = None
    ) -> Files:
        tiles = self.tiles(cell)
        found = placed(links, tiles.grid, tiles.size, self.least_correlation)
        files = {
            "links.csv": self._links(links, found, tiles.grid),
            "places.csv": self._places(found, tiles.grid, gains),
            "layout.png": png_of_layout(links, found, tiles.grid, tiles.size),
        }
        if light is not None:
            archive = io.BytesIO()
            np.savez_compressed(archive, allow_pickle=False, **write_light(light))
            files |= {"shading.npz": archive.getvalue(), "light.png": png_of_light(light, self.source.images)}
        return files

    def _links(self, links: pa.Table, found: Placement, grid: TileGrid) -> bytes:
        rows = []
        for n, link in enumerate(links.to_pylist()):
            why = "" if found.kept[n] else "far from what the others say"
            if not found.kept[n] and link["correlation"] < self.least_correlation:
                why = "too little alike"
            places = [place + 1 for tile in (link["one"], link["two"]) for place in grid.place(tile)]
            shift = [round(link[axis], 3) for axis in "xyz"]
            rest = "" if np.isnan(found.residuals[n]) else round(float(found.residuals[n]), 3)
            alike = round(link["correlation"], 4)
            rows.append([*places, *shift, alike, link["voxels"], rest, "no" if why else "yes", why])
        return _csv(LINK_COLUMNS, rows)

    def _places(self, found: Placement, grid: TileGrid, gains: pa.Table | None) -> bytes:
        head = ["row", "column", "path", "piece", "x", "y", "z"]
        rows: list[list[object]] = []
        for tile, place in enumerate(found.places):
            row, column = grid.place(tile)
            exact = [round(float(n), 3) for n in place]
            paths = "; ".join(str(path) for path in grid.files[tile])
            rows.append([row + 1, column + 1, paths, int(found.pieces[tile]) + 1, *exact])
        if gains is not None:
            pairs = np.stack([gains["gain"].to_numpy(), gains["offset"].to_numpy()], 1)
            for listed, values in zip(rows, pairs.reshape(len(rows), -1), strict=True):
                listed += [round(float(value), 4) for value in values]
            head += [f"{name}_{what}" for name in self.source.images for what in ("gain", "offset")]
        return _csv(head, rows)


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()


def png_of_layout(links: pa.Table, found: Placement, grid: TileGrid, size: Sequence[int]) -> bytes:
    """The tiles as placed, and each link in the colour of how far it is from what all links say."""
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    corners = _corners(found, grid, size)
    wide, high = (float(corners[:, n].max() - corners[:, n].min() + size[n]) for n in (0, 1))
    scale = 6.5 / max(wide, high)
    drawn = figure(max(wide * scale, 2.5) + 2.2, max(high * scale, 1.5) + 1.1)
    axes = drawn.subplots()
    for tile, corner in enumerate(corners):
        axes.add_patch(
            Rectangle((corner[0], corner[1]), size[0], size[1], fill=False, edgecolor=GREY, linewidth=0.8)
        )
        row, column = grid.place(tile)
        if len(corners) <= 150:
            middle = (corner[0] + size[0] * 0.06, corner[1] + size[1] * 0.06)
            axes.text(*middle, f"{row + 1}/{column + 1}", color=INK, fontsize=7, ha="left", va="top")
    middles = corners + np.array(size[:2]) / 2
    lines = middles[np.stack([links["one"].to_numpy(), links["two"].to_numpy()], 1)]
    far = np.nan_to_num(found.residuals)
    shown = LineCollection(lines[found.kept], cmap="viridis", linewidths=3, capstyle="round")
    shown.set_array(far[found.kept])
    shown.set_clim(0, max(1.0, float(far[found.kept].max(initial=0))))
    axes.add_collection(shown)
    if not found.kept.all():
        left_out = LineCollection(lines[~found.kept], colors=RED, linewidths=1.5, linestyles="dotted")
        left_out.set_label("left out")
        axes.add_collection(left_out)
        drawn.legend(handles=[left_out], loc="outside lower right", frameon=False, fontsize=9)
    drawn.colorbar(shown, ax=axes, label="from what all links say (voxels)", shrink=0.7)
    _frame(axes, corners, size)
    kept = int(found.kept.sum())
    axes.set_title(f"{len(corners)} tiles (row/column), {kept} of {len(links)} links kept")
    return png(drawn)


def _corners(found: Placement, grid: TileGrid, size: Sequence[int]) -> Corners:
    """The corners of all tiles; where they hang apart each piece is drawn about its place in the grid."""
    corners = np.array(found.places[:, :2])
    rows, columns = np.divmod(np.arange(len(grid)), grid.columns)
    nominal = np.stack([columns * size[0], rows * size[1]], 1) * 1.05
    for piece in range(1 + int(found.pieces.max())) if found.pieces.any() else ():
        mine = found.pieces == piece
        corners[mine] += np.median(nominal[mine] - corners[mine], axis=0)
    return corners


def _frame(axes: Axes, corners: Corners, size: Sequence[int]) -> None:
    first, last = corners.min(axis=0), corners.max(axis=0) + size[:2]
    margin = 0.02 * (last - first).max()
    axes.set_xlim(first[0] - margin, last[0] + margin)
    axes.set_ylim(last[1] + margin, first[1] - margin)
    axes.set_aspect("equal")
    axes.set_xlabel("x (voxels)")
    axes.set_ylabel("y (voxels)")


def png_of_light(light: pa.Table, names: Sequence[str]) -> bytes:
    """The field of each channel: how bright each place of a tile is."""
    flats = fields(light, "flat")
    drawn = figure(3.6 * len(flats) + 0.4, 3.6)
    row = drawn.subplots(1, len(flats), squeeze=False)[0]
    for axes, flat, name in zip(row, flats, names, strict=True):
        shown = axes.imshow(flat.T, extent=(0, 1, 1, 0), cmap="viridis", aspect="equal")
        bar = drawn.colorbar(shown, ax=axes, shrink=0.75)
        bar.outline.set_edgecolor(LINE)
        bar.set_label("light (mean 1)")
        axes.set_title(name)
        axes.set_xlabel("x (share of a tile)")
        axes.set_ylabel("y (share of a tile)")
    return png(drawn)
