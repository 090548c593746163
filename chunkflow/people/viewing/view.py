"""Layers shown in Neuroglancer: a local server, a state with all of them, and the link to it."""

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
from chunkflow.people.viewing.server import LayerServer, layer_address
from chunkflow.people.viewing.state import ViewerState, build_state
from chunkflow.people.viewing.work_layers import layers_of_plan
from chunkflow.words import free_name

REAL_SCHEMES = ("s3://", "gs://", "http://", "https://")
FRAME_HEIGHT = 600


class HasUrl(Protocol):
    """A layer or a work folder that is known by its URL."""

    @property
    def url(self) -> str: ...


class Viewer:
    """Layers in Neuroglancer, served to this machine until closed; in a notebook a frame."""

    def __init__(self, server: LayerServer, layers: Mapping[str, str], links: Mapping[str, str]) -> None:
        self.layers = layers
        """The URLs of the layers by name."""
        self._server = server
        self._links = links

    @property
    def url(self) -> str:
        """The link to open in a browser."""
        return self._server.url

    @property
    def port(self) -> int:
        return self._server.port

    def state(self) -> ViewerState:
        """The state of Neuroglancer, which finds the layers at this server."""
        return self._server.state(self._server.base)

    def write_state(self, to: str | Path) -> None:
        """Write the state for a Neuroglancer hosted elsewhere, with the layers' own URLs."""
        write_state(self.layers, Path(to), self._links)

    def close(self) -> None:
        """End the server."""
        self._server.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Neuroglancer with {', '.join(self.layers)}: {self.url}"

    def _repr_html_(self) -> str:
        frame = f'<iframe src="{self.url}" width="100%" height="{FRAME_HEIGHT}" style="border:0"></iframe>'
        return f'{frame}<p><a href="{self.url}" target="_blank">{self.url}</a></p>'


def view(*sources: str | Path | HasUrl, port: int = 0) -> Viewer:
    """Show layers, or all layers of jobs, in Neuroglancer.

    A source is a layer or a job's work folder: its path or URL, or an object that has one. Images get a
    contrast and a colour each, segments their colours and meshes, annotations their links to segments. The
    server answers to this machine alone, at `port` (0 takes a free one), serves nothing but these layers, and
    needs no network.

    >>> with view(work, folder / "cfos") as shown:
    ...     print(*shown.layers)
    dapi nuclei cfos
    """
    layers, links = layers_to_show(sources)
    return Viewer(start_server(layers, port, links), layers, links)


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


def start_server(
    layers: Mapping[str, str], port: int = 0, links: Mapping[str, str] | None = None
) -> LayerServer:
    """Serve layers (URLs by name) from threads of this process, until it is closed.

    `links` has the segmentation (name or URL) whose ids a mesh or annotation layer names.
    """
    shown = [look(name, url) for name, url in layers.items()]

    def state(base: str) -> ViewerState:
        return build_state(shown, lambda layer: layer_address(base, layer.name), links)

    server = LayerServer({layer.name: layer.url for layer in shown}, port)
    server.state = state
    return server.start()


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
