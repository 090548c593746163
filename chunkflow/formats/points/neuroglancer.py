"""Neuroglancer's JSON: the points of the local annotation layers of a state, or of one layer by itself.

1. The dimensions of a layer's source, else those of the state, say what a coordinate is.
2. Each property is a column, under its description where that names the column that it was made of.
3. An annotation's class is its layer's name, unless it has a property of this name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from chunkflow.errors import BadInput
from chunkflow.formats.points.rows import Rows
from chunkflow.geometry import VoxelSize

NOTHING = "(none)"

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12}
WHOLE = {f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32)}
MOST_ID = 2**64 - 1
SEGMENT = "segment"
FLAGS = ["no", "yes"]


def open_state(path: Path, document: Mapping[str, Any], voxel_size: VoxelSize) -> Rows:
    """The points, in voxels of `voxel_size` nanometres."""
    entries = document.get("layers", [document])
    if isinstance(entries, Mapping):  # as older states have them
        entries = [{**entry, "name": name} for name, entry in entries.items()]
    layers = [e for e in entries if isinstance(e, Mapping) and isinstance(e.get("annotations"), list)]
    if not layers:
        raise BadInput(
            f"{path} has no annotations: of a Neuroglancer state, only points drawn in it "
            "(local://annotations) are read. A layer of a server is exported with chunkflow export."
        )
    tables = []
    try:
        for layer in layers:
            tables.append(_table(path, layer, document.get("dimensions"), voxel_size))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path}: {_name(layer)} is not as Neuroglancer writes it ({error!r}).") from None
    try:
        table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise BadInput(f"{path}: its layers have properties of one name that do not agree: {error}") from None
    if "id" in table.column_names and (table["id"].null_count or len(table["id"].unique()) < len(table)):
        table = table.drop_columns(["id"])  # numbered anew in every layer, they name nothing

    def pieces() -> Iterator[pa.Table]:
        yield table

    return Rows(path, table.schema, pieces, "voxels", word="point")


def _name(layer: Mapping[str, Any]) -> str:
    return f"the layer {layer.get('name') or 'annotations'}"


def _table(
    path: Path, layer: Mapping[str, Any], dimensions: Mapping[str, Any] | None, voxel_size: VoxelSize
) -> pa.Table:
    annotations = layer["annotations"]
    others = sorted({str(a["type"]) for a in annotations} - {"point"})
    if others:
        raise BadInput(
            f"{path}: {_name(layer)} has annotations that are no points ({', '.join(others)}): "
            "delete these or move them to another file."
        )
    places = _places(path, layer, dimensions, voxel_size)
    columns: dict[str, Any] = {axis: pa.array(v, pa.float64()) for axis, v in zip("xyz", places, strict=True)}
    ids, segments = _ids(annotations), [_segment(a) for a in annotations]
    if ids is not None:
        columns = {"id": pa.array(ids, pa.uint64()), **columns}
    columns["class"] = pa.array([str(layer.get("name") or "annotations")] * len(annotations), pa.string())
    if segments != ids and any(segment is not None for segment in segments):
        columns[SEGMENT] = pa.array(segments, pa.uint64())
    descriptions = [a.get("description") for a in annotations]
    if any(descriptions):
        columns["description"] = pa.array(descriptions, pa.string())
    for number, wanted in enumerate(layer.get("annotationProperties") or []):
        values = [(a.get("props") or a.get("properties"))[number] for a in annotations]
        columns[column_of_property(wanted)] = _property(wanted, values)
    return pa.table(columns)


def _places(
    path: Path, layer: Mapping[str, Any], dimensions: Mapping[str, Any] | None, voxel_size: VoxelSize
) -> list[list[float]]:
    """x, y and z of the points."""
    source = layer.get("source")
    source = source[0] if isinstance(source, list) and source else source
    transform = (source.get("transform") or {}) if isinstance(source, Mapping) else {}
    dimensions = transform.get("outputDimensions") or dimensions
    if not dimensions or not {"x", "y", "z"} <= set(dimensions):
        raise BadInput(
            f"{path}: {_name(layer)} does not say what its x, y and z are (dimensions): save Neuroglancer's "
            "state as a whole."
        )
    for row, values in enumerate(transform.get("matrix") or []):
        if any(value != (column == row) for column, value in enumerate(values)):
            raise BadInput(f"{path}: {_name(layer)} is shown turned or moved; its points cannot be read so.")
    names, places = list(dimensions), []
    for axis, size in zip("xyz", voxel_size, strict=True):
        scale, unit = dimensions[axis]
        if unit not in METRES:
            raise BadInput(f"{path}: {_name(layer)} has {axis} in {unit or 'no unit'}, not in metres.")
        ratio = scale * METRES[unit] * 1e9 / size
        ratio = 1.0 if abs(ratio - 1) < 1e-9 else ratio
        index = names.index(axis)
        places.append([float(a["point"][index]) * ratio for a in layer["annotations"]])
    return places


def _ids(annotations: list[Mapping[str, Any]]) -> list[int] | None:
    """The annotations' ids, if they are numbers: those that Neuroglancer makes up are not."""
    texts = [str(a.get("id", "")) for a in annotations]
    plain = all(text.isascii() and text.isdigit() and text[0] != "0" for text in texts if text) and all(texts)
    found = [int(text) for text in texts] if plain else []
    return found if plain and all(number <= MOST_ID for number in found) else None


def _segment(annotation: Mapping[str, Any]) -> int | None:
    """The segment that an annotation is related to, where there is one."""
    segments = annotation.get("segments") or []
    first = segments[0] if segments and isinstance(segments[0], list) else segments
    return int(first[0]) if first else None


def column_of_property(wanted: Mapping[str, Any]) -> str:
    """The column that a property was made of."""
    described = str(wanted.get("description") or "")
    return described if described and property_name(described) == wanted["id"] else str(wanted["id"])


def _property(wanted: Mapping[str, Any], values: list[Any]) -> pa.Array:
    labels = wanted.get("enum_labels")
    if labels:
        of_value = dict(zip(wanted["enum_values"], labels, strict=True))
        texts = [of_value.get(value) for value in values]
        if list(labels) == FLAGS:
            return pa.array([None if text is None else text == "yes" for text in texts], pa.bool_())
        return pa.array([None if text == NOTHING else text for text in texts], pa.string())
    if wanted["type"] in WHOLE:
        return pa.array(values, getattr(pa, WHOLE[wanted["type"]])())
    if wanted["type"] == "float32":  # whose numbers are written in full
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([str(value) for value in values], pa.string())


def property_name(column: str) -> str:
    """A column's name as the format allows it: a small letter, then letters, digits and underscores."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", column)
    return name[0].lower() + name[1:] if re.match(r"[A-Za-z]", name) else f"p_{name}"
