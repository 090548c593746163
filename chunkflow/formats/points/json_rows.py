"""JSON: a list of rows, as `chunkflow export` writes them, read object by object."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.formats.points.rows import BATCH, Rows, check_names

BLOCK = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
LEAST, MOST_SIGNED, MOST = -(2**63), 2**63 - 1, 2**64 - 1


def open_rows(path: Path) -> Rows:
    """A list of rows."""
    kinds: dict[str, ValueKind] = {}
    for row in _objects(path):
        for name, value in row.items():
            kinds.setdefault(name, ValueKind()).look(value)
    if not kinds:
        raise BadInput(f"{path} has no rows, and nothing else in it tells the columns.")
    check_names(path, list(kinds))
    schema = pa.schema([(name, kind.type) for name, kind in kinds.items()])

    def pieces() -> Iterator[pa.Table]:
        rows = _objects(path)
        while batch := list(islice(rows, BATCH)):
            columns = [[_as(row.get(c.name), c.type) for row in batch] for c in schema]
            yield pa.table([pa.array(v, c.type) for v, c in zip(columns, schema, strict=True)], schema=schema)

    return Rows(path, schema, pieces)


class ValueKind:
    """Type of the values of a key, found by looking at all of them."""

    def __init__(self) -> None:
        self.found: set[type] = set()
        self.low = self.high = 0

    def look(self, value: Any) -> None:
        if value is None:
            return
        self.found.add(type(value))
        if type(value) is int:
            self.low, self.high = min(self.low, value), max(self.high, value)

    @property
    def type(self) -> pa.DataType:
        if self.found == {bool}:
            return pa.bool_()
        if self.found == {int} and self.low >= LEAST and self.high <= MOST_SIGNED:
            return pa.int64()
        if self.found == {int} and self.low >= 0 and self.high <= MOST:
            return pa.uint64()
        return pa.float64() if self.found <= {int, float} else pa.string()


def _as(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_float64(kind):
        return float(value)
    return json.dumps(value) if pa.types.is_string(kind) and not isinstance(value, str) else value


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of the list, one by one."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    number, place, text, ended = 0, 0, "", False
    with path.open("rb") as file:

        def more() -> bool:
            nonlocal text, place, ended
            data = file.read(BLOCK)
            text, place, ended = text[place:] + decode(data, not data), 0, not data
            return not ended

        def mark() -> str:
            """The next character that is no space."""
            nonlocal place
            while True:
                found = _SPACE.match(text, place)
                place = found.end() if found else place
                if place < len(text) or not more():
                    return text[place : place + 1]

        try:
            mark()
            place += 1  # the list's bracket, by which the format was recognised
            while mark() != "]":
                value = None
                while value is None:
                    try:
                        value, place = _DECODER.raw_decode(text, place)
                    except ValueError:
                        if not more():
                            raise
                number += 1
                if not isinstance(value, dict):
                    raise BadInput(f'{path}, row {number}: a row must be an object such as {{"x": 1}}.')
                yield value
                if mark() == ",":
                    place += 1
                elif mark() != "]":
                    raise ValueError("the list does not end")
        except (ValueError, RecursionError) as error:
            said = getattr(error, "msg", str(error))
            raise BadInput(f"{path} is not whole JSON after row {number}: {said}.") from None
