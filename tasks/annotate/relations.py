"""The ids that each annotation is related to, from a column of ids or of lists of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.errors import BadInput
from tasks.annotate.rows import column_of

Ids = npt.NDArray[np.uint64]


def related_of(rows: pa.Table, name: str) -> tuple[Ids, npt.NDArray[np.int64]]:
    """All ids one after another, each once for a row, and how many each row has. 0 is background: no id."""
    if not len(rows):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    column = column_of(rows, name, "to relate by").combine_chunks()
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        row_of = np.asarray(pc.list_parent_indices(column).to_numpy(), np.int64)
        ids = _ids(pc.list_flatten(column), name)
        order = np.lexsort((ids, row_of))
        row_of, ids = row_of[order], ids[order]
        same = (row_of[1:] == row_of[:-1]) & (ids[1:] == ids[:-1])
        kept = (ids != 0) & ~np.concatenate([[False], same])[: len(ids)]
    else:
        row_of, ids = np.arange(len(rows)), _ids(column, name)
        kept = ids != 0
    return ids[kept], np.bincount(row_of[kept], minlength=len(rows))


def _ids(values: pa.Array, name: str) -> Ids:
    if not pa.types.is_integer(values.type):
        raise BadInput(
            f"annotate: the column {name!r} holds {values.type}; what objects are related to must be ids, "
            "whole numbers, or lists of them."
        )
    numbers = np.asarray(pc.fill_null(values, 0).to_numpy(zero_copy_only=False))
    if len(numbers) and numbers.min() < 0:
        raise BadInput(f"annotate: the column {name!r} has {numbers.min()}, which is no id.")
    return numbers.astype(np.uint64)
