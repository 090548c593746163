"""Data sets as they are served: layers that belong together, and how Neuroglancer shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from chunkflow.people.viewing.looks import Extent, LookKind, Shown, extent_of, look
from chunkflow.people.viewing.sources import Source, source_of
from chunkflow.people.viewing.state import ViewerState, build_state

StateAt = Callable[[str], ViewerState]
"""The state of Neuroglancer, where the data set is found at an address."""


@dataclass
class DataSet:
    """Layers that are served together under one name."""

    name: str
    sources: dict[str, Source]
    """Where the files of each layer are read."""
    state: StateAt
    shown: tuple[Shown, ...] = ()

    @classmethod
    def of(cls, name: str, layers: Mapping[str, str], links: Mapping[str, str] | None = None) -> DataSet:
        """Look at layers (URLs by name); `links` has the segmentation that meshes and annotations name."""
        shown = tuple(look(layer, url) for layer, url in layers.items())

        def state(base: str) -> ViewerState:
            return build_state(shown, lambda layer: layer_address(base, layer.name), links)

        return cls(name, {layer: source_of(url) for layer, url in layers.items()}, state, shown)

    @property
    def layers(self) -> dict[str, LookKind]:
        """The kinds of the layers by name."""
        return {layer.name: layer.kind for layer in self.shown}

    @property
    def extent(self) -> Extent:
        """Where the data set lies."""
        return extent_of(self.shown)


def layer_address(base: str, name: str) -> str:
    """The address of a layer below that of its data set."""
    return f"{base}/data/{quote(name, safe='')}"
