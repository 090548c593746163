"""Table that `count` makes from sums by region, side and group, and its CSV and picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.csv

from chunkflow.people.reports.pictures import COLOURS, figure, png
from chunkflow.task import Files
from tasks.count.regions import NOWHERE, AtlasRegion, Regions, ancestors

SIDES = {0: "", 1: "left", 2: "right"}
SHOWN = 25
Group = tuple[str, ...]


@dataclass
class RegionSums:
    """Sums for one region, side and group."""

    own: int = 0
    count: int = 0
    steps: dict[str, int] = field(default_factory=dict)


def counts_table(
    members: pa.Table,
    areas: pa.Table | None,
    names: Regions,
    by: Sequence[str],
    step: float,
    whole_mm3: float,
) -> pa.Table:
    """A row for each region, side and group; `step` is the size of the steps in which means were summed."""
    summed = [name.removeprefix("sum:") for name in members.column_names if name.startswith("sum:")]
    means = [name for name in summed if not name.startswith("p_")]
    groups = sorted({tuple(row[name] for name in by) for row in members.select(list(by)).to_pylist()})
    groups = groups or [tuple("" for _ in by)]
    sums = _sums(members, names, by, summed)
    volumes = _volumes(areas, names) if areas is not None else {(0, 0): whole_mm3}
    order = {number: place for place, number in enumerate(names)}
    present = {(region, side) for region, side, _ in sums} | set(volumes)
    if areas is not None:
        present |= {(0, 0)}
    rows = [
        _row(region, side, group, by, sums.get((region, side, group), RegionSums()), means, step)
        | {"volume_mm3": volumes.get((region, side), 0.0)}
        | {"expected": _expected(sums, (region, side, group), groups, by, step)}
        for region, side in sorted(present, key=lambda p: (order.get(p[0], len(order)), p))
        for group in groups
    ]
    return _as_table(rows, names, by, means, areas is not None)


def _sums(
    members: pa.Table, names: Regions, by: Sequence[str], summed: Sequence[str]
) -> dict[tuple[int, int, Group], RegionSums]:
    """Each row counts in its region, and in all that the region is a part of."""
    sums: dict[tuple[int, int, Group], RegionSums] = {}
    for row in members.to_pylist():
        group = tuple(row[name] for name in by)
        for region in (row["region"], *ancestors(row["region"], names)):
            found = sums.setdefault((region, row["side"] if region else 0, group), RegionSums())
            found.own += row["n"] if region == row["region"] else 0
            found.count += row["n"]
            for name in summed:
                found.steps[name] = found.steps.get(name, 0) + (row[f"sum:{name}"] or 0)
    return sums


def _volumes(areas: pa.Table, names: Regions) -> dict[tuple[int, int], float]:
    """Cubic millimetres of each region with its parts; what lies in none has no size."""
    voxels: dict[tuple[int, int], int] = {}
    size = 0.0
    for row in areas.to_pylist():
        size = row["voxel_mm3"]
        for region in (row["region"], *ancestors(row["region"], names)) if row["region"] else ():
            voxels[region, row["side"]] = voxels.get((region, row["side"]), 0) + row["voxels"]
    return {key: count * size for key, count in voxels.items()}


def _row(
    region: int,
    side: int,
    group: Group,
    by: Sequence[str],
    sums: RegionSums,
    means: Sequence[str],
    step: float,
) -> dict[str, object]:
    row: dict[str, object] = {"region": region, "side": SIDES.get(side, str(side))}
    row |= dict(zip(by, group, strict=True)) | {"own": sums.own, "count": sums.count}
    return row | {name: sums.steps.get(name, 0) * step / sums.count if sums.count else None for name in means}


def _expected(
    sums: dict[tuple[int, int, Group], RegionSums],
    key: tuple[int, int, Group],
    groups: Sequence[Group],
    by: Sequence[str],
    step: float,
) -> float | None:
    """How many objects of a class there are by the probabilities of all, whichever class each was given:
    mistakes that go more often one way than the other do not shift it. None where no class is told."""
    region, side, group = key
    if "class" not in by:
        return None
    place = list(by).index("class")
    alike = [g for g in groups if (*g[:place], *g[place + 1 :]) == (*group[:place], *group[place + 1 :])]
    name = f"p_{group[place]}"
    found = [sums[region, side, g].steps.get(name) for g in alike if (region, side, g) in sums]
    told = [steps for steps in found if steps is not None]
    return sum(told) * step if told else None


def _as_table(
    rows: list[dict[str, object]], names: Regions, by: Sequence[str], means: Sequence[str], atlas: bool
) -> pa.Table:
    found = [names.get(int(str(row["region"])), _unnamed(int(str(row["region"])), atlas)) for row in rows]
    volume = np.array([row["volume_mm3"] for row in rows], np.float64)
    count = np.array([row["count"] for row in rows], np.int64)
    density = count / np.where(volume > 0, volume, 1.0)
    columns = {
        "id": pa.array(range(1, len(rows) + 1), pa.uint64()),
        "region": pa.array([row["region"] for row in rows], pa.int64()),
        "acronym": pa.array([region.acronym for region in found], pa.string()),
        "name": pa.array([region.name for region in found], pa.string()),
        "parent": pa.array([region.parent for region in found], pa.int64()),
        "side": pa.array([row["side"] for row in rows], pa.string()),
        **{name: pa.array([row[name] for row in rows], pa.string()) for name in by},
        "own": pa.array([row["own"] for row in rows], pa.int64()),
        "count": pa.array(count),
        "volume_mm3": pa.array(volume),
        "density_per_mm3": pa.array(density, mask=volume <= 0),
    }
    if "class" in by:
        columns["expected"] = pa.array([row["expected"] for row in rows], pa.float64())
    return pa.table(columns | {name: pa.array([row[name] for row in rows], pa.float64()) for name in means})


def _unnamed(number: int, atlas: bool) -> AtlasRegion:
    if number:
        return AtlasRegion(number, f"region {number} (not in the table of names)")
    return AtlasRegion(0, NOWHERE if atlas else "whole volume")


def report_files(table: pa.Table, by: Sequence[str]) -> Files:
    """The table for a spreadsheet, and a picture of the regions with most objects."""
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(table, buffer)
    return {"counts.csv": buffer.getvalue(), "counts.png": _picture(table, by)}


def _picture(table: pa.Table, by: Sequence[str]) -> bytes:
    """Bars to the right, or to both sides where left and right are counted apart, stacked by group."""
    rows = [row for row in table.to_pylist() if row["own"]]
    own: dict[str, int] = {}
    for row in rows:
        own[row["name"]] = own.get(row["name"], 0) + row["own"]
    atlas = any(row["region"] for row in rows)
    if not atlas and by:  # no regions to compare: the groups are
        rows = [row | {"name": ", ".join(row[name] or "not known" for name in by)} for row in rows]
        own, by = {row["name"]: row["own"] for row in rows}, ()
    shown = sorted(own, key=lambda name: (-own[name], name))[:SHOWN][::-1]
    groups = sorted({tuple(row[name] for name in by) for row in rows})
    picture = figure(8, 1.6 + 0.28 * max(len(shown), 3))
    axes = picture.add_subplot()
    for sign, sides in ((1, ("", "right")), (-1, ("left",))):
        start = np.zeros(len(shown))
        for number, group in enumerate(groups):
            chosen = [r for r in rows if r["side"] in sides and tuple(r[name] for name in by) == group]
            length = np.array([sum(r["own"] for r in chosen if r["name"] == name) for name in shown], float)
            label = ", ".join(part or "not known" for part in group) if sign == 1 else None
            axes.barh(shown, sign * length, left=start, color=COLOURS[number % len(COLOURS)], label=label)
            start += sign * length
    axes.set_xlabel("objects that lie in the region itself" if atlas else "objects")
    if any(row["side"] == "left" for row in rows):
        axes.set_xlabel("objects that lie in the region itself: left | right")
        axes.axvline(0, color="black", linewidth=0.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    if by and groups:
        axes.legend(loc="lower right", title=", ".join(by))
    return png(picture)
