"""Calls of one function side by side, each a task of Ray with a device of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayTaskError

from chunkflow.errors import ChunkflowError
from cluster.workers.connection import join, refuse_dead, start_here

Made = TypeVar("Made")


def run_side_by_side(
    function: Callable[..., Made],
    calls: Sequence[tuple[Any, ...]],
    cores: int,
    gpus: int,
    address: str = "",
) -> list[Made]:
    """What the function gives for each call, in their order; each takes so many cores and GPUs of a node."""
    if address:
        refuse_dead(address)
        join(address)
    else:
        start_here(cores)
    remote: Any = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=3)(function)
    waiting = [remote.remote(*call) for call in calls]
    try:
        made: list[Made] = ray.get(waiting)
    except BaseException as error:  # an interrupt, too, leaves nobody at work
        for one in waiting:
            ray.cancel(one)
        if isinstance(error, RayTaskError) and isinstance(error.cause, ChunkflowError):
            raise error.cause from error
        raise
    return made
