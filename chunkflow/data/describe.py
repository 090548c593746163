"""Reading what exists at a URL: asked for each input of a job before anything is planned."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from chunkflow.data.encodings import require_codec
from chunkflow.data.folder import Folder
from chunkflow.data.info import (
    TABLE_TYPE,
    ImageInfo,
    LabelsInfo,
    LayerInfo,
    RoleKind,
    TableInfo,
    VoxelsInfo,
    parse_info,
)
from chunkflow.data.tables import Table
from chunkflow.data.volume import Volume, open_cloud
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, vec


def describe(url: str, mip: int, kind: RoleKind) -> LayerInfo:
    """The layer or table at a URL; a layer whose codec is not installed is refused."""
    if kind == "table":
        return table_at(url)
    layer = layer_at(url, mip)
    require_codec(url, layer.encoding)
    return layer


Known = LayerInfo | Table | Volume
"""A layer or table that was opened, or its description."""


def info_of(known: Known) -> LayerInfo:
    """The description of a layer or table."""
    return known.info if isinstance(known, Table | Volume) else known


def layer_at(url: str, mip: int = 0) -> VoxelsInfo:
    """The precomputed image or labels at a URL."""
    layer = open_cloud(url, mip)
    x, y, z = layer.resolution
    made = LabelsInfo if layer.layer_type == "segmentation" else ImageInfo
    contents = {"contents": layer.info["contents"]} if made is ImageInfo and "contents" in layer.info else {}
    return made(
        **contents,
        url=url,
        volume=Box(vec(layer.bounds.minpt), vec(layer.bounds.maxpt)),
        voxel_size=(float(x), float(y), float(z)),
        mip=mip,
        dtype=str(np.dtype(layer.dtype)),
        channels=int(layer.num_channels),
        encoding=str(layer.encoding),
        storage=vec(layer.chunk_size),
    )


def table_at(url: str) -> TableInfo:
    """The table at a URL."""
    data = Folder(url).get("info")
    document = json.loads(data) if data else {}
    info = parse_info(document["table"]) if document.get("@type") == TABLE_TYPE else None
    if not isinstance(info, TableInfo):
        raise BadInput(f"There is no table of chunkflow at {url} (no info file that says so).")
    # where it lies now: what its info says is where it was made
    return info.model_copy(update={"url": url})


def read_info(url: str) -> dict[str, Any]:
    """The content of a layer's file `info`."""
    content = Folder(url).get("info")
    if content is None:
        raise BadInput(f"{url} is not a layer: there is no file `info` in it.")
    try:
        info = json.loads(content)
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise BadInput(f"{url} is not a layer: its file `info` is not a JSON object.")
    return info
