"""The columns of a table that say of which class each object is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def class_columns(
    classes: Sequence[str],
    chosen: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    known: npt.NDArray[np.bool_],
) -> tuple[dict[str, pa.Array], dict[str, int]]:
    """The class that was chosen for each object of those that are known, and how probable it is; and how many
    are of each class."""
    likely = probabilities[np.arange(len(chosen)), chosen]
    columns = {
        "class": pa.array(np.array(classes)[chosen], pa.string(), mask=~known),
        "probability": pa.array(likely.astype(np.float32), mask=~known),
    }
    return columns, {f"of class {name}": int((known & (chosen == n)).sum()) for n, name in enumerate(classes)}


def with_columns(rows: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Rows with these columns more; those of the same names, of an earlier decision, give way."""
    rows = rows.drop_columns([name for name in columns if name in rows.column_names])
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows
