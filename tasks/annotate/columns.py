"""What tasks that show the rows of a table share: columns by their names, and rows by what columns hold."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.errors import BadInput

Value = bool | int | float | str
Where = Mapping[str, Value | list[Value]]
"""Columns, and for each the value or values wanted."""


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as values, where a file has it as a dictionary."""
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def column_of(task: str, rows: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    if name not in rows.column_names:
        known = ", ".join(rows.column_names)
        raise BadInput(f"{task}: the table has no column {name!r} {what}; it has {known}.")
    return plain(rows[name])


def rows_where(task: str, rows: pa.Table, where: Where) -> pa.Table:
    """The rows that have one of the wanted values in each of the columns."""
    for name, wanted in where.items():
        if not len(rows):  # a table without rows may lack its columns
            break
        column = column_of(task, rows, name, "to choose by")
        values = list(wanted) if isinstance(wanted, list) else [wanted]
        try:
            known = pa.array(values).cast(column.type)
        except pa.ArrowException as error:
            raise BadInput(
                f"{task}: where: the column {name!r} holds {column.type}, which {wanted!r} is not."
            ) from error
        rows = rows.filter(pc.is_in(column, value_set=known))
    return rows
