"""Layers to be shown: those of jobs and work folders, and a state with the layers' own URLs."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.jobs.locate import layer_or_work
from chunkflow.people.viewing.looks import look
from chunkflow.people.viewing.state import build_state
from chunkflow.people.viewing.work_layers import layers_of_plan
from chunkflow.words import free_name

REAL_SCHEMES = ("s3://", "gs://", "http://", "https://")


class HasUrl(Protocol):
    """A layer or a work folder that is known by its URL."""

    @property
    def url(self) -> str: ...


def layers_to_show(sources: Sequence[str | Path | HasUrl]) -> tuple[dict[str, str], dict[str, str]]:
    """The URLs of the layers by name, and of the labels whose ids they name, where known."""
    layers: dict[str, str] = {}
    links: dict[str, str] = {}
    for source in sources:
        opened = layer_or_work(source if isinstance(source, str | Path) else source.url)
        if isinstance(opened, str):
            layers[free_name(posixpath.basename(opened), layers)] = opened
            continue
        found = layers_of_plan(opened.plan())
        if not found.urls:
            raise BadInput(f"The job in {opened.url} has no layer yet that could be shown.")
        for name, layer in found.urls.items():
            free = free_name(name, layers)
            layers[free] = layer
            if name in found.links:
                links[free] = found.links[name]
    return layers, links


def write_state(layers: Mapping[str, str], to: Path, links: Mapping[str, str] | None = None) -> None:
    """Write the state with the layers' own URLs, which a browser elsewhere must reach."""
    urls = {name: full_url(url) for name, url in layers.items()}
    local = [url for url in urls.values() if not url.startswith(REAL_SCHEMES)]
    if local:
        raise BadInput(
            f"{local[0]} is a folder of this machine, which a Neuroglancer elsewhere cannot read: "
            "put the layer into a bucket or on a web server and give its URL."
        )
    shown = [look(name, url) for name, url in urls.items()]
    text = json.dumps(build_state(shown, lambda layer: layer.url, links), indent=2)
    try:
        to.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{to} cannot be written: {error.strerror}.") from None
