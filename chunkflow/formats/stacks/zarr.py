"""Zarr (2 and 3, OME-Zarr or plain) and N5, by tensorstore; a chunk that is absent holds the fill value.

1. The folder is an array, or a group: of an OME-Zarr group the finest level is taken, else the only volume.
2. Axes, voxel size, place and channels come from the group's multiscales, or from the attributes of N5.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts

from chunkflow.chunk import Array
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.formats.stacks.arrays import chosen
from chunkflow.formats.stacks.axes import Axes, type_name
from chunkflow.formats.stacks.facts import Facts, nanometres, offset_of, sizes_of
from chunkflow.formats.stacks.outside import inside, refuse_links_out
from chunkflow.formats.stacks.stack import is_zarr, refuse_unreadable
from chunkflow.geometry import Box


@dataclass(frozen=True)
class Node:
    """A folder of a Zarr or N5: an array, or a group of them."""

    path: Path
    driver: str
    """tensorstore's name of the format where this is an array."""
    attributes: dict[str, Any] = field(default_factory=dict)


def open_zarr(path: Path, name: str, axes: str, time: int | None) -> ChunkedStack:
    node = find_array(read_node(path), path)
    store = _opened(node)
    shape = tuple(store.shape)
    facts_of = _n5_facts if node.driver == "n5" else _ome_facts
    try:
        letters, facts = facts_of(node, len(shape))
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadInput(
            f"{node.path}: its axes, sizes or channels are not told as they must be: {error}."
        ) from error
    order = Axes.of(node.path, axes or letters, shape, time)
    if axes and axes != letters:
        facts = Facts()  # what is said is said of other axes
    return ChunkedStack(node.path, store, order, facts, path)


class ChunkedStack:
    """An array of chunks; only those that a box meets are read."""

    def __init__(self, path: Path, store: ts.TensorStore, axes: Axes, facts: Facts, root: Path) -> None:
        """`root` is the folder that was named, whose links may lead from place to place within it."""
        self.path, self.store, self.axes, self.root = path, store, axes, root
        self.size, self.channels, self.dtype = axes.size, axes.channels, type_name(store.dtype.numpy_dtype)
        self.facts = facts if len(facts.names) == axes.channels else Facts(facts.voxel_size, facts.offset)
        self.block = axes.block(
            tuple(int(n or 1) for n in store.chunk_layout.read_chunk.shape or store.shape)
        )

    def check(self) -> None:
        """No chunk may be a link out of the folder, and one is decoded; the others are when they are read."""
        refuse_links_out(self.path, self.root)
        refuse_unreadable(self, Box.of_size((1, 1, 1)))

    def read(self, box: Box, channel: int | None = None) -> Array:
        try:
            part = self.store[self.axes.index(box, channel)].read().result()
        except (ValueError, OSError, RuntimeError) as error:
            raise DamagedInput(f"{self.path}: {box} cannot be read: {_first_line(error)}") from error
        return np.asfortranarray(self.axes.arranged(np.asarray(part), box))


def _opened(node: Node) -> ts.TensorStore:
    spec = {"driver": node.driver, "kvstore": {"driver": "file", "path": f"{node.path}/"}}
    try:
        return ts.open(spec, open=True, read=True).result()
    except (ValueError, OSError, RuntimeError) as error:
        raise BadInput(f"{node.path} is damaged or cannot be read: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    """tensorstore adds where in its source, and the whole specification."""
    return str(error).partition("\n")[0].partition(" [")[0].rstrip(".")


def read_node(path: Path) -> Node:
    """What a folder is, and the attributes that people gave it; those of N5 from the group above, too."""
    three = _json(path / "zarr.json")
    if three is not None:
        driver = "zarr3" if three.get("node_type") == "array" else ""
        attributes = three.get("attributes", {})
        return Node(path, driver, attributes.get("ome", attributes))
    if is_zarr(path):
        return Node(path, "zarr" if (path / ".zarray").is_file() else "", _json(path / ".zattrs") or {})
    attributes = _json(path / "attributes.json") or {}
    return Node(path, "n5" if "dimensions" in attributes else "", attributes)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise BadInput(f"{path} is damaged: {error}.") from error
    if not isinstance(document, dict):
        raise BadInput(f"{path} is damaged: it holds no keys.")
    return document


def find_array(node: Node, root: Path) -> Node:
    """The array that a folder is or stands for, within the folder that was named."""
    if node.driver:
        return node
    datasets = _datasets(node.attributes)
    if datasets:
        found = read_node(inside(root, node.path / str(datasets[0].get("path"))))
        if not found.driver:
            raise BadInput(f"{node.path} lacks its finest level, {found.path.name}.")
        return found
    children = [read_node(inside(root, child)) for child in sorted(node.path.iterdir()) if child.is_dir()]
    arrays = {child.path.name: child for child in children if child.driver}
    if "s0" in arrays:  # the levels of an N5
        return arrays["s0"]
    images = [child for child in children if _datasets(child.attributes)]
    if not arrays and len(images) == 1:
        return find_array(images[0], root)
    if not arrays:
        named = ", ".join(child.path.name for child in images or children) or "nothing"
        raise BadInput(
            f"{node.path} is no array but holds {named}: name one of them, as in {node.path}/NAME."
        )
    shapes = {name: tuple(_opened(child).shape) for name, child in arrays.items()}
    return arrays[chosen(node.path, "", shapes, joint="/")]


def _datasets(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    scales = attributes.get("multiscales")
    if not isinstance(scales, list) or not scales or not isinstance(scales[0], dict):
        return []
    return [dataset for dataset in scales[0].get("datasets", []) if isinstance(dataset, dict)]


def _ome_facts(node: Node, dimensions: int) -> tuple[str, Facts]:
    """The axes and facts that the group above says of one of its levels; plain Zarr is z, y, x."""
    plain = "zyx"[-dimensions:]
    group = node.path
    for _ in range(2):  # a level may lie one folder deeper
        group = group.parent
        attributes = read_node(group).attributes
        level = str(node.path.relative_to(group))
        dataset = next((d for d in _datasets(attributes) if str(d.get("path")) == level), None)
        if dataset is not None:
            break
    else:
        return plain, Facts()
    scales = attributes["multiscales"][0]
    axes = [a if isinstance(a, dict) else {"name": a} for a in scales.get("axes", [])]
    letters = "".join(str(axis.get("name", "")).lower()[:1] for axis in axes) or "tczyx"[-dimensions:]
    if len(letters) != dimensions or not set("xy") <= set(letters):
        return letters, Facts()
    scale, place = np.ones(dimensions), np.zeros(dimensions)
    told = False
    for transforms in (dataset, scales):
        for one in transforms.get("coordinateTransformations", []):
            told = told or one.get("type") == "scale"
            values = one.get(one.get("type"))
            by = np.array(values if isinstance(values, list) and len(values) == dimensions else np.nan, float)
            with np.errstate(invalid="ignore"):  # what is no number is refused where it is asked for
                scale, place = (scale * by, place * by) if one.get("type") == "scale" else (scale, place + by)
    where = [letters.find(letter) for letter in "xyz"]
    units = [axes[i].get("unit", "") if 0 <= i < len(axes) else "um" for i in where]
    size = sizes_of([float(scale[i]) if i >= 0 else 1 for i in where], units) if told else None
    names = tuple(str(c.get("label") or "") for c in attributes.get("omero", {}).get("channels", []))
    places = [float(place[i]) * (nanometres(u) or 0) for i, u in zip(where, units, strict=True)]
    return letters, Facts(size, offset_of(places, size), names)


def _n5_facts(node: Node, dimensions: int) -> tuple[str, Facts]:
    """N5 lists x first; its size of a voxel is kept under several names, some of them in the group above."""
    above = read_node(node.path.parent).attributes
    found = above | node.attributes
    axes = [str(axis).lower() for axis in found.get("axes", [])]
    letters = "".join(axes) if len(axes) == dimensions else "xyz"[:dimensions]
    place = [letters.find(letter) for letter in "xyz"]
    values, units = found.get("resolution"), found.get("units", "")
    if isinstance(found.get("pixelResolution"), dict):
        values, units = found["pixelResolution"].get("dimensions"), found["pixelResolution"].get("unit")
    if isinstance(found.get("transform"), dict):  # its lists are in the order of its own axes
        values, units = found["transform"].get("scale"), found["transform"].get("units")
        place = ["".join(found["transform"].get("axes", [])).find(letter) for letter in "xyz"]
    if not isinstance(values, list) or min(place) < 0 or max(place) >= len(values):
        return letters, Facts()
    units = units if isinstance(units, list) and len(units) == len(values) else [units] * len(values)
    own = {"resolution", "pixelResolution", "transform"} & set(node.attributes)
    factors = [1] * len(values) if own else found.get("downsamplingFactors", [1] * len(values))
    size = sizes_of([float(values[i]) * factors[i] for i in place], [units[i] for i in place])
    return letters, Facts(size)
