"""Arrays over any box of a volume, made block by block and kept in a cache of bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.kernels.images.mirroring import mirrored

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
        indexes = [
            mirrored(a - first, b - first, size)
            for a, b, first, size in zip(
                box.start, box.stop, self.volume.start, self.volume.size, strict=True
            )
        ]
        needed = Box(vec(i.min() for i in indexes), vec(i.max() + 1 for i in indexes))
        made = self._inside(needed.shift(self.volume.start))
        if needed.shift(self.volume.start) == box:
            return made
        for axis, (index, first) in enumerate(zip(indexes, needed.start, strict=True)):
            made = made.take(index - first, axis + 1)
        return made

    def _inside(self, box: Box) -> Array:
        """The array over a box within the volume."""
        blocks = map(self._grid.box, self._grid.indexes_meeting(box))
        parts = [(block, self._block(block)) for block in blocks]
        made = np.empty((len(parts[0][1]), *box.size), parts[0][1].dtype)
        for block, array in parts:
            shared = block.clip(box)
            made[(slice(None), *shared.slices(box.start))] = array[(slice(None), *shared.slices(block.start))]
        return made

    def _block(self, block: Box) -> Array:
        return self._cache.get((id(self), block), lambda: self._make(block))
