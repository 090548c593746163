"""Memory that a network takes for one patch, found from the shapes alone: nothing is computed."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from chunkflow.networks.architectures import Architecture


class _Live(TorchDispatchMode):
    """Adds up the arrays that are alive after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        self._alive = {ref: size for ref, size in self._alive.items() if not ref.expired()}
        self.most = max(self.most, sum(self._alive.values()))
        return made


def most_live_bytes(blank: Architecture, shape: tuple[int, ...]) -> int:
    """The most bytes that the arrays of one forward pass take at a time, with its input."""
    with torch.inference_mode(), _Live() as live:
        blank(torch.empty(shape, device="meta"))
    most: int = live.most
    return most
