"""Arrays over any box of a volume, made block by block and kept in a cache of bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Grid, Vec

Array = npt.NDArray[Any]
SIDE: Vec = (64, 64, 32)
CACHE_BYTES = 2**30


class BlockCache:
    """The arrays that were used last, as many as fit; several volumes share it, from any thread."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[object, Array] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], Array]) -> Array:
        """The array of a key, made where it is not kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        made.flags.writeable = False
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._bytes += made.nbytes
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return made


class Blocks:
    """What `make` gives for a box (channel, x, y, z), over any box: made block by block, each once as long as
    it is kept."""

    def __init__(self, volume: Box, make: Callable[[Box], Array], cache: BlockCache) -> None:
        self.volume = volume
        self._make = make
        self._cache = cache
        self._grid = Grid.chunks(volume, SIDE)

    def over(self, box: Box) -> Array:
        """The array over a box; beyond the volume it is mirrored, and the edge is seen twice."""
        inside = box.clip(self.volume)
        if inside.empty:
            raise ValueError(f"{box} lies outside of the volume {self.volume}")
        blocks = map(self._grid.box, self._grid.indexes_meeting(inside))
        parts = [(block, self._block(block)) for block in blocks]
        made = np.empty((len(parts[0][1]), *inside.size), parts[0][1].dtype)
        for block, array in parts:
            shared = block.clip(inside)
            made[(slice(None), *shared.slices(inside.start))] = array[
                (slice(None), *shared.slices(block.start))
            ]
        if inside == box:
            return made
        beyond = [(0, 0)] + [
            (a - b, d - c) for a, b, c, d in zip(inside.start, box.start, inside.stop, box.stop, strict=True)
        ]
        return np.pad(made, beyond, mode="symmetric")

    def _block(self, block: Box) -> Array:
        return self._cache.get((id(self), block), lambda: self._make(block))
