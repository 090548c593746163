"""The points of a precomputed annotation layer, as rows again: read cell by cell of its spatial index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import tensorstore as ts

from chunkflow.data.folder import Folder
from chunkflow.data.info import FolderInfo, LayerInfo
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.points.neuroglancer import FLAGS, METRES, NOTHING, column_of_property
from chunkflow.formats.points.rows import BATCH
from chunkflow.geometry import Box, vec
from chunkflow.kernels.precomputed.morton import morton_encode

SIZES: dict[str, Any] = {
    **{
        name: f"<{name[0]}{int(name[-2:]) // 8}" for name in ("float32", "uint32", "int32", "uint16", "int16")
    },
    "uint8": "u1",
    "int8": "i1",
    "rgb": ("u1", (3,)),
    "rgba": ("u1", (4,)),
}
TOGETHER = 256
"""Cells that are asked for at once."""
CACHE = 2**26
Places = list[tuple[int, ...]]
Read = Callable[[Places], list[bytes | None]]


def space_of(url: str, document: Mapping[str, Any]) -> FolderInfo:
    """Where a layer's points lie."""
    try:
        if document["annotation_type"].upper() != "POINT":
            raise BadInput(
                f"{url} has annotations of the kind {document['annotation_type'].lower()}; only points are "
                "rows: export the table that the layer was made of."
            )
        x, y, z = (scale * METRES[unit] * 1e9 for scale, unit in document["dimensions"].values())
        start = vec(np.floor(document["lower_bound"]))
        bounds = Box(start, vec(np.ceil(document["upper_bound"])))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{url} is not an annotation layer of three axes ({error!r}).") from None
    size = (float(f"{x:.12g}"), float(f"{y:.12g}"), float(f"{z:.12g}"))
    return FolderInfo(url=url, volume=bounds, voxel_size=size)


def annotation_rows(url: str, document: Mapping[str, Any], info: LayerInfo) -> Iterator[pa.Table]:
    """The points in pieces, the first without rows."""
    properties = document.get("properties", [])
    kind = record_type(properties)
    yield _table(np.zeros(0, kind), np.zeros(0, np.uint64), properties, info)
    held: list[tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]] = []
    for level in document["spatial"]:
        read = _reader(url, level)
        places = np.ndindex(*level["grid_shape"])
        while together := list(islice(places, TOGETHER)):
            found = [_decode(data, kind, f"{url}/{level['key']}") for data in read(together)]
            held += [points for points in found if len(points[1])]
            if sum(len(ids) for _, ids in held) >= BATCH:
                yield _joined(held, properties, info)
                held = []
    if held:
        yield _joined(held, properties, info)


def record_type(properties: list[dict[str, Any]]) -> np.dtype[Any]:
    """A point as it is stored: properties by the size of their numbers, then as they are listed."""
    fields = [(p["id"], SIZES[p["type"]]) for p in properties]
    fields = [(name, *((kind,) if isinstance(kind, str) else kind)) for name, kind in fields]
    fields.sort(key=lambda field: -np.dtype(field[1]).itemsize)
    plain = np.dtype([("place", "<f4", (3,)), *fields])
    padding = -plain.itemsize % 4
    return np.dtype([*plain.descr, ("", f"V{padding}")]) if padding else plain


def _reader(url: str, level: Mapping[str, Any]) -> Read:
    """Reads cells, by their places in the level."""
    key = level["key"]
    if not level.get("sharding"):
        folder = Folder(url)
        return lambda places: folder.get_all([f"{key}/{'_'.join(map(str, place))}" for place in places])
    base = ts.KvStore.open(f"{url}/{key}/").result()
    spec = {
        "driver": "neuroglancer_uint64_sharded",
        "base": base.spec().to_json(),
        "metadata": level["sharding"],
    }
    context = ts.Context({"cache_pool": {"total_bytes_limit": CACHE}})  # of the shards' indexes
    store = ts.KvStore.open(spec, context=context).result()

    def read(places: Places) -> list[bytes | None]:
        codes = morton_encode(np.array(places), level["grid_shape"])
        asked = [store.read(int(code).to_bytes(8, "big")) for code in codes]
        found = [answer.result() for answer in asked]
        return [bytes(one.value) if one.state == "value" else None for one in found]

    return read


def _decode(
    data: bytes | None, kind: np.dtype[Any], where: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Count, records, ids."""
    if not data:
        return np.zeros(0, kind), np.zeros(0, np.uint64)
    count = int(np.frombuffer(data, "<u8", 1)[0])
    if len(data) != 8 + count * (kind.itemsize + 8):
        raise DamagedInput(f"{where}: it has {len(data)} bytes, which is not what {count} points take.")
    records = np.frombuffer(data, kind, count, 8)
    return records, np.frombuffer(data, "<u8", count, 8 + count * kind.itemsize)


def _joined(
    held: list[tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]],
    properties: list[dict[str, Any]],
    info: LayerInfo,
) -> pa.Table:
    records, ids = (np.concatenate(parts) for parts in zip(*held, strict=True))
    return _table(records, ids, properties, info)


def _table(
    records: npt.NDArray[Any], ids: npt.NDArray[np.uint64], properties: list[dict[str, Any]], info: LayerInfo
) -> pa.Table:
    places = records["place"].astype(np.float64)
    columns: dict[str, Any] = {"id": ids.astype(np.uint64)}
    columns |= {axis: places[:, i] for i, axis in enumerate("xyz")}
    columns |= {f"{axis}_um": places[:, i] * (info.voxel_size[i] / 1e3) for i, axis in enumerate("xyz")}
    for wanted in properties:
        columns[column_of_property(wanted)] = _column(wanted, records[wanted["id"]])
    return pa.table(columns)


def _column(wanted: Mapping[str, Any], values: npt.NDArray[Any]) -> pa.Array:
    """Numbers as they are, their names where they have some, colours as #rrggbb."""
    labels = wanted.get("enum_labels")
    if labels:
        numbers = pa.array(wanted["enum_values"], pa.from_numpy_dtype(values.dtype))
        which = pc.index_in(np.ascontiguousarray(values), value_set=numbers)
        if list(labels) == FLAGS:
            return pa.array([False, True]).take(which)
        return pa.array([None if label == NOTHING else label for label in labels], pa.string()).take(which)
    if wanted["type"] in ("rgb", "rgba"):
        return pa.array(["#" + bytes(colour).hex() for colour in values], pa.string())
    return pa.array(np.ascontiguousarray(values))
