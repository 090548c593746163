"""Segment properties: what Neuroglancer shows of a segment, and lets a user filter segments by.

1. `choose` takes the rows and the columns that are shown, and leaves the rest of the table behind.
2. `number` counts them, as a viewer loads all of them at once.
3. `write` puts them into the one file that the format has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from chunkflow.chunk import Chunk
from chunkflow.data.info import LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid
from chunkflow.task import Cell, Labels, Layout, MergedRows, Objects, Out, Result, RowByRow, Tags, Task
from tasks.annotate.columns import Value, column_of, rows_where

DEFAULT = ("class", "combination", "volume_um3", "diameter_um", "probability")
NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
"""What the format can hold; larger numbers become float32."""
FORMAT = "neuroglancer_segment_properties"


class Tag(Task):
    """Let a user of Neuroglancer see and filter the segments of `labels` by what a table says of them.

    Texts (such as class) and what is true or false (such as cfos_positive) become tags, to be searched for as
    #neuron; numbers can be sorted and limited by. A viewer loads the properties of all segments at once, so
    at most `limit` rows are written; `where` chooses among more.
    """

    objects: Objects = Field(description="the table, whose ids are those of the segments")
    labels: Labels = Field(description="the layer that the segments are of")
    tags: Tags = Out("the folder; by default `segment_properties` in the labels' own")
    properties: list[str] = Field(
        [],
        description=f"columns to show; by default what there is of {', '.join(DEFAULT)}, IMAGE_positive",
    )
    where: dict[str, Value | list[Value]] = Field(
        {}, description="which rows: columns, and the value or values wanted, as in {class: neuron}"
    )
    limit: int = Field(1_000_000, ge=1, description="the most rows that a viewer is to load")

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        tags = self.tags or f"{self.labels.split('@')[0]}/segment_properties"
        chosen, number = f"{tags.replace('/', '.')}.chosen", f"{tags.replace('/', '.')}.number"
        return [
            (
                "choose",
                Choose(objects=self.objects, chosen=chosen, properties=self.properties, where=self.where),
            ),
            ("number", Number(chosen=chosen, number=number)),
            ("write", Write(chosen=chosen, number=number, limit=self.limit, tags=tags)),
        ]


class Choose(Task):
    """The rows and columns to be shown."""

    shape = RowByRow()

    objects: Objects
    chosen: Objects = Out()
    properties: list[str]
    where: dict[str, Value | list[Value]]

    def map(self, cell: Cell, objects: pa.Table) -> pa.Table:
        rows = rows_where("tag", objects, self.where)
        names = list(dict.fromkeys(self.properties))
        if not len(objects):  # a table without rows may lack its columns
            names = [name for name in names if name in objects.column_names]
        if not self.properties:
            names = [n for n in objects.column_names if n in DEFAULT or n.endswith("_positive")]
        columns = {name: column_of("tag", rows, name, "to show") for name in names if name != "id"}
        for name, column in columns.items():
            if not (_is_tags(column.type) or _is_number(column.type)):
                raise BadInput(
                    f"tag: the column {name!r} cannot be shown: it holds {column.type}, not numbers or texts."
                )
        return pa.table({"id": rows["id"], **columns})


class Number(Task):
    """How many rows there are, of each file of the table."""

    shape = MergedRows(row_by_row=True)

    chosen: Objects
    number: Objects = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"number": layout.main.as_table()}

    def map(self, cell: Cell, chosen: pa.Table) -> pa.Table:
        return pa.table({"id": pa.array([1], pa.uint64()), "rows": pa.array([len(chosen)], pa.int64())})

    def no_rows(self, layout: Layout) -> pa.Table:
        return pa.schema([("id", pa.uint64()), ("rows", pa.int64())]).empty_table()

    def merge(self, rows: pa.Table) -> pa.Table:
        total = pc.sum(rows["rows"]).as_py()
        return pa.table({"id": pa.array([1], pa.uint64()), "rows": pa.array([total], pa.int64())})


class Write(Task):
    """The file that a viewer loads."""

    chosen: Objects
    number: Objects
    limit: int
    tags: Tags = Out()

    def grid(self, layout: Layout, region: Box) -> Grid:
        return Grid.whole(region)

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        return [("number", layout.info("number").bounds)]

    def prepare(self, layout: Layout, samples: Iterable[Chunk | pa.Table]) -> dict[str, Any]:
        rows = sum(sum(table["rows"].to_pylist()) for table in samples if isinstance(table, pa.Table))
        if rows > self.limit:
            raise BadInput(
                f"tag: {rows:,} segments would be loaded by a viewer at once, more than {self.limit:,}: "
                "choose some by `where`, or raise `limit`."
            )
        return {"rows": rows}

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        return [box] if field == "chosen" else []

    def map(self, cell: Cell, chosen: pa.Table) -> Result:
        rows = chosen.sort_by("id")
        inline = {
            "ids": [str(number) for number in rows["id"].to_pylist()],
            "properties": [*_tags(rows), *_numbers(rows)],
        }
        document = {"@type": FORMAT, "inline": inline}
        return {"info": json.dumps(document, separators=(",", ":")).encode()}


def _tags(rows: pa.Table) -> list[dict[str, Any]]:
    """All texts and truths together, as the format has one list of tags; none where there are neither."""
    named: list[list[str]] = [[] for _ in range(len(rows))]
    columns = [field.name for field in rows.schema if _is_tags(field.type)]
    for name in columns:
        for tags, value in zip(named, rows[name].to_pylist(), strict=True):
            if isinstance(value, str) and value:
                tags.extend(_tag(part) for part in value.split(" + "))
            elif value is True:
                tags.append(_tag(name))
    if not columns:
        return []
    known = sorted({tag for tags in named for tag in tags})
    place = {tag: number for number, tag in enumerate(known)}
    values = [sorted({place[tag] for tag in tags}) for tags in named]
    return [{"id": "tags", "type": "tags", "tags": known, "values": values}]


def _is_tags(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_boolean)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _tag(text: str) -> str:
    """A tag is typed after a #, so it has no blanks."""
    return "-".join(text.split())


def _numbers(rows: pa.Table) -> list[dict[str, Any]]:
    return [
        {"id": field.name, "type": "number", **_values(rows[field.name], str(field.type))}
        for field in rows.schema
        if field.name != "id" and _is_number(field.type)
    ]


def _values(column: pa.ChunkedArray, kind: str) -> dict[str, Any]:
    """JSON has no word for what is no number: it is 0; nor for what is without end: it is the largest."""
    values = pc.fill_null(column, 0).to_numpy()
    if kind in NUMBERS and kind != "float32":
        return {"data_type": kind, "values": values.tolist()}
    most = np.finfo(np.float32).max
    values = np.clip(np.nan_to_num(values.astype(np.float64)), -most, most)
    return {"data_type": "float32", "values": [float(f"{value:.7g}") for value in values.tolist()]}
