"""The columns of a table that say of which class each object is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def with_classes(
    rows: pa.Table,
    classes: Sequence[str],
    chosen: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.floating],
    known: npt.NDArray[np.bool_],
) -> pa.Table:
    """Rows with the class that was chosen for each of those that are known, and how probable it is.

    The columns `class` and `probability` of an earlier decision give way.
    """
    columns = {
        "class": pa.array(np.array(classes)[chosen], pa.string(), mask=~known),
        "probability": pa.array(probabilities[np.arange(len(rows)), chosen].astype(np.float32), mask=~known),
    }
    rows = rows.drop_columns([name for name in columns if name in rows.column_names])
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows
