"""What exists at a URL: asked for each input of a job before anything is planned."""

from __future__ import annotations

import json

from chunkflow.errors import BadInput
from chunkflow.roles import RoleKind
from chunkflow.storage import Folder
from chunkflow.volume import LayerInfo


def describe(url: str, mip: int, kind: RoleKind) -> LayerInfo:
    """The layer or table at a URL."""
    if kind != "table":
        return LayerInfo.of_layer(url, mip)
    data = Folder(url).get("info")
    document = json.loads(data) if data else {}
    if document.get("@type") != "chunkflow_table":
        raise BadInput(f"There is no table of chunkflow at {url} (no info file that says so).")
    # where it lies now: what its info says is where it was made
    return LayerInfo.model_validate(document["table"]).model_copy(update={"url": url})
