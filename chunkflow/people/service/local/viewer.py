"""Layers in Neuroglancer, served to this machine; in a notebook, in a frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chunkflow.people.service.app import Service
from chunkflow.people.service.catalogue.datasets import DataSet
from chunkflow.people.service.local.server import LocalServer, Served
from chunkflow.people.service.local.token import token_of
from chunkflow.people.viewing.shown import HasUrl, layers_to_show, write_state
from chunkflow.people.viewing.state import ViewerState

NAME = "view"
"""The one data set has no name of its own."""


class Viewer(Served):
    """Layers in Neuroglancer, served to this machine until closed; in a notebook a frame."""

    def __init__(self, server: LocalServer, layers: Mapping[str, str], links: Mapping[str, str]) -> None:
        super().__init__(server, server.url)
        self.layers = layers
        """The URLs of the layers by name."""
        self._links = links

    def state(self) -> ViewerState:
        """The state of Neuroglancer, which finds the layers at this server."""
        return self._server.state()

    def write_state(self, to: str | Path) -> None:
        """Write the state for a Neuroglancer hosted elsewhere, with the layers' own URLs."""
        write_state(self.layers, Path(to), self._links)

    def __repr__(self) -> str:
        return f"Neuroglancer with {', '.join(self.layers)}: {self.url}"


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


def start_server(
    layers: Mapping[str, str], port: int = 0, links: Mapping[str, str] | None = None
) -> LocalServer:
    """Serve layers (URLs by name) from a thread of this process, until it is closed.

    `links` has the segmentation (name or URL) whose ids a mesh or annotation layer names.
    """
    service = Service.of(DataSet.of(NAME, layers, links))
    return LocalServer(service, token_of(layers.values()), port).start()
