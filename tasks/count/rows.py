"""Rows of `count` that are added up: voxels and objects by region, side and group."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

STEP = 2.0**-16
"""Means are added up in whole steps of this size: integers give the same sum in any order."""
AREAS = pa.schema(
    [
        ("id", pa.uint64()),
        ("region", pa.int64()),
        ("side", pa.int64()),
        ("voxels", pa.int64()),
        ("voxel_mm3", pa.float64()),
    ]
)


def area_rows(numbers: npt.NDArray[np.int64], sides: npt.NDArray[np.int64], voxel_mm3: float) -> pa.Table:
    """One row for each region and side among these voxels of an atlas."""
    keys, counts = np.unique(np.stack([numbers, sides]), axis=1, return_counts=True)
    ids = [_hash(f"{n} {s}") for n, s in keys.T.tolist()]
    size = np.full(len(ids), voxel_mm3)
    columns = [pa.array(ids, pa.uint64()), keys[0], keys[1], counts.astype(np.int64), size]
    return pa.table(columns, schema=AREAS).sort_by("id")


def member_rows(
    objects: pa.Table, number: npt.NDArray[np.int64], side: npt.NDArray[np.int64], by: Sequence[str]
) -> pa.Table:
    """One row for each region, side and group among these objects."""
    columns = {"region": pa.array(number), "side": pa.array(side)}
    columns |= {name: pc.fill_null(pc.cast(objects[name], pa.string()), "") for name in by}
    columns["n"] = pa.array(np.ones(len(objects), np.int64))
    for name in objects.column_names:
        if (name.endswith("_mean") or name.startswith("p_")) and pa.types.is_floating(
            objects.schema.field(name).type
        ):
            values = np.nan_to_num(objects[name].to_numpy().astype(np.float64))
            columns[f"sum:{name}"] = pa.array(np.rint(values / STEP).astype(np.int64))
    keys = ["region", "side", *by]
    sums = [name for name in columns if name not in keys]
    found = pa.table(columns).group_by(keys).aggregate([(name, "sum") for name in sums])
    found = found.rename_columns([name.removesuffix("_sum") for name in found.column_names])
    ids = [_hash(" ".join(map(repr, row))) for row in zip(*(found[k].to_pylist() for k in keys), strict=True)]
    return found.select([*keys, *sums]).add_column(0, "id", pa.array(ids, pa.uint64()))


def _hash(text: str) -> int:
    """A number for a group, the same wherever it is met."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def summed(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """One row an id: these columns added up, the others as they are."""
    ids = rows["id"].to_numpy()
    begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    first = rows.take(pa.array(begins))
    for name in names:
        added = np.add.reduceat(pc.fill_null(rows[name], 0).to_numpy(), begins)
        first = first.set_column(first.column_names.index(name), name, pa.array(added))
    return first
