"""What an annotation layer shows of its objects beside their places: numbers, named values, colours.

1. `seen_in` notes of some rows what decides the properties: the types of columns, and which texts they hold.
2. What was seen of all rows is put together (`seen_together`), in whatever order.
3. `properties_of` decides from it, and `records_of` encodes rows accordingly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chunkflow.errors import BadInput
from chunkflow.formats.points.neuroglancer import NOTHING, property_name
from chunkflow.kernels.precomputed import annotations as layers
from tasks.annotate.columns import plain
from tasks.annotate.rows import Chosen, Places, column_of

MOST_LABELS = 4096
COLOURS = ("color", "colour")
SHOWN = ("class", "combination", "probability", "volume_um3", "diameter_um", *COLOURS)
SHOWN_ENDINGS = ("_mean", "_positive")
ROUNDED = ("float", "double", "halffloat", "int64", "uint64")
NUMBERS = dict.fromkeys(ROUNDED, "float32") | {name: name for name in layers.PROPERTY_TYPES if "int" in name}


@dataclass(frozen=True)
class Property:
    """A column as the layer shows it."""

    column: str
    name: str
    type: str
    labels: tuple[str, ...] = ()
    """The texts that the numbers from 0 stand for."""

    def document(self) -> dict[str, Any]:
        """As the layer's `info` has it."""
        entry: dict[str, Any] = {"id": self.name, "type": self.type, "description": self.column}
        if self.labels:
            entry |= {"enum_values": list(range(len(self.labels))), "enum_labels": list(self.labels)}
        return entry


@dataclass(frozen=True)
class Seen:
    """What decides the properties: the type of each column; of those that are shown and hold texts, which
    there are; and the columns with colours that let something shine through."""

    columns: dict[str, str]
    texts: dict[str, list[str]]
    clear: list[str]


def seen_in(rows: pa.Table, chosen: Chosen) -> Seen:
    columns = {name: _type_name(rows.schema.field(name).type) for name in rows.column_names}
    texts: dict[str, list[str]] = {}
    clear = []
    for name in _wanted(columns, chosen):
        if columns.get(name) != "text":
            continue
        found = pc.unique(plain(rows[name])).to_pylist()
        if _is_colour(name, chosen):
            colours = filter(None, map(_colour, filter(None, found)))
            clear += [name] if any(alpha < 255 for *_, alpha in colours) else []
        else:
            texts[name] = _labels(name, found)
    return Seen(columns, texts, clear)


def seen_together(pieces: Iterable[Seen]) -> Seen:
    columns: dict[str, str] = {}
    texts: dict[str, set[str]] = {}
    clear: set[str] = set()
    for piece in pieces:
        columns = piece.columns if len(piece.columns) > len(columns) else columns
        for name, found in piece.texts.items():
            texts.setdefault(name, set()).update(found)
        clear.update(piece.clear)
    return Seen(columns, {name: _labels(name, found) for name, found in texts.items()}, sorted(clear))


def properties_of(seen: Seen, chosen: Chosen, rows: int) -> list[Property]:
    """The properties in the order in which they are stored: by size, then as asked for."""
    names = _wanted(seen.columns, chosen)
    if not rows:  # a table without rows may lack its columns
        names = [name for name in names if name in seen.columns]
    found = [_property(name, seen, chosen) for name in names]
    ids = [p.name for p in found]
    if len(set(ids)) < len(ids):
        raise BadInput(f"annotate: two of the properties {', '.join(names)} would have the same name.")
    return sorted(found, key=lambda p: -np.dtype(layers.PROPERTY_TYPES[p.type]).base.itemsize)


def one_colour(seen: Seen, chosen: Chosen, rows: int) -> str:
    """The colour that all annotations are given, as #rrggbb; none where each has its own."""
    if not chosen.color or chosen.color in seen.columns:
        return ""
    colour = _colour(chosen.color)
    if colour is None and not rows:  # a column that a table without rows lacks
        return ""
    if colour is None:
        known = ", ".join(seen.columns)
        raise BadInput(
            f"annotate: color: {chosen.color!r} is neither a colour (as red, or #ff0000) nor a column of the "
            f"table, which has {known}."
        )
    return "#" + bytes(colour[:3]).hex()


def records_of(rows: pa.Table, places: Places, properties: Sequence[Property]) -> npt.NDArray[np.uint8]:
    """The annotations as they are stored, a row of bytes each."""
    kind = layers.record_type(places.shape[1], [p.type for p in properties])
    records = np.zeros(len(rows), kind)
    records["place"] = places
    for i, wanted in enumerate(properties if len(rows) else ()):
        column = column_of(rows, wanted.column, "to show")
        if wanted.labels:
            records[f"p{i}"] = _numbered(column, wanted)
        elif wanted.type in ("rgb", "rgba"):
            records[f"p{i}"] = _colours(column, wanted)
        else:
            if column.null_count and wanted.type != "float32":
                raise BadInput(f"annotate: the column {wanted.column!r} has rows without a number.")
            records[f"p{i}"] = column.to_numpy()
    return records.view(np.uint8).reshape(len(rows), kind.itemsize)


def _wanted(columns: Mapping[str, str], chosen: Chosen) -> list[str]:
    names = list(chosen.properties) or [
        name
        for name, kind in columns.items()
        if (name in SHOWN or name.endswith(SHOWN_ENDINGS)) and (kind in NUMBERS or kind in ("text", "bool"))
    ]
    return [*names, chosen.color] if chosen.color in columns and chosen.color not in names else names


def _is_colour(column: str, chosen: Chosen) -> bool:
    return column == chosen.color or column.lower() in COLOURS


def _type_name(kind: pa.DataType) -> str:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return "text" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def _labels(column: str, texts: Iterable[str | None]) -> list[str]:
    labels = sorted({NOTHING if text is None else text for text in texts})
    if len(labels) > MOST_LABELS:
        raise BadInput(
            f"annotate: the column {column!r} holds more than {MOST_LABELS:,} different texts, too many to "
            "name in a layer; leave it out of `properties`."
        )
    return labels


def _property(column: str, seen: Seen, chosen: Chosen) -> Property:
    name = property_name(column)
    if column not in seen.columns:
        known = ", ".join(seen.columns)
        raise BadInput(f"annotate: the table has no column {column!r} to show; it has {known}.")
    kind = seen.columns[column]
    if kind == "text" and _is_colour(column, chosen):
        return Property(column, name, "rgba" if column in seen.clear else "rgb")
    if column == chosen.color:
        raise BadInput(f"annotate: color: the column {column!r} holds {kind}, not colours as #ff0000.")
    if kind == "text":
        labels = tuple(seen.texts.get(column, ())) or (NOTHING,)
        return Property(column, name, "uint8" if len(labels) <= 256 else "uint16", labels)
    if kind == "bool":
        return Property(column, name, "uint8", ("no", "yes"))
    if kind not in NUMBERS:
        raise BadInput(
            f"annotate: the column {column!r} cannot be shown: it holds {kind}, not numbers or texts."
        )
    return Property(column, name, NUMBERS[kind])


def _numbered(column: pa.ChunkedArray, wanted: Property) -> npt.NDArray[Any]:
    """The number of each row's label."""
    if pa.types.is_boolean(column.type):
        if column.null_count:
            raise BadInput(f"annotate: the column {wanted.column!r} has rows with neither yes nor no.")
        return np.asarray(column.to_numpy())
    texts = pc.fill_null(column, NOTHING)
    return np.asarray(pc.index_in(texts, value_set=pa.array(wanted.labels, texts.type)).to_numpy())


def _colours(column: pa.ChunkedArray, wanted: Property) -> npt.NDArray[np.uint8]:
    """The colour of each row, as bytes."""
    encoded = column.combine_chunks().dictionary_encode()
    known = []
    for text in encoded.dictionary.to_pylist():
        colour = _colour(text)
        if colour is None:
            raise BadInput(
                f"annotate: the column {wanted.column!r} has {text!r}, which is no colour; "
                "write #ff0000, or a name as red."
            )
        known.append(colour)
    if encoded.null_count:
        raise BadInput(f"annotate: the column {wanted.column!r} has rows without a colour.")
    width = len(wanted.type)
    return np.array(known, np.uint8).reshape(-1, 4)[encoded.indices.to_numpy(), :width]


def _colour(text: str) -> tuple[int, int, int, int] | None:
    from matplotlib.colors import to_rgba

    try:
        red, green, blue, alpha = (round(255 * share) for share in to_rgba(text))
    except ValueError:
        return None
    return red, green, blue, alpha
