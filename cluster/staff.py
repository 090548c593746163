"""How many workers of each kind a pool keeps.

1. Kinds that take GPUs are given their share first, with the cores that they need beside.
2. The other kinds share the cores that are left: each may have all but one worker of every other kind, and
   where there are several, the pool ends idle workers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chunkflow.errors import BadInput
from chunkflow.plan import Plan
from chunkflow.resources import Resources

IDLE_SECONDS = 60.0
"""After which an idle worker is ended, so that its node can go."""
SHARING_SECONDS = 5.0
"""The same where nodes stay and only workers of other kinds wait for the cores."""


@dataclass(frozen=True)
class Room:
    """Where workers may be placed; resources as Ray names them."""

    where: str
    total: Mapping[str, float]
    largest: Mapping[str, float]
    """The most of each that one node has."""
    grows: bool = False


@dataclass(frozen=True)
class Staff:
    """How many workers of each kind a pool keeps at most, and after how long an idle one is ended."""

    sizes: tuple[int, ...]
    idle_seconds: float | None
    cores: float
    """What they take together, of what there is."""


def staff_for(plan: Plan, room: Room, workers: int = 0) -> Staff:
    """The workers for a plan in this room, `workers` of each kind at most; refuses what finds no place."""
    for kind, taken in enumerate(plan.worker_kinds):
        if any(stage.worker_kind == kind for stage in plan.stages):
            _refuse_too_large(plan, kind, taken, room)
    sizes = [min(size, workers or size) for size in _sizes(plan.worker_kinds, room.total)]
    cores = sum(size * taken.cpus for size, taken in zip(sizes, plan.worker_kinds, strict=True))
    has = room.total.get("CPU", 0.0)
    shared = SHARING_SECONDS if cores > has else None
    return Staff(tuple(sizes), IDLE_SECONDS if room.grows else shared, min(cores, has))


def needs(taken: Resources) -> dict[str, float]:
    """What one worker takes, as Ray names it."""
    memory = {"memory": math.ceil(taken.memory * 2**30)} if taken.memory else {}
    return {"CPU": taken.cpus} | ({"GPU": taken.gpus} if taken.gpus else {}) | memory


def _refuse_too_large(plan: Plan, kind: int, taken: Resources, room: Room) -> None:
    task = next(plan.steps[stage.step].entry for stage in plan.stages if stage.worker_kind == kind)
    for name, wanted in needs(taken).items():
        has = room.largest.get(name, 0.0)
        if wanted <= has:
            continue
        if name == "GPU" and not has:
            raise BadInput(
                f"Task {task} asks for {_amount(name, wanted)} a worker, and {room.where} has none. Run it "
                f"on a cluster with GPUs (--address), or set resources.{task}.gpus: 0 in the job file."
            )
        holds = "may grow to" if room.grows else "has"
        node = "" if room.largest == room.total else " on one node"
        raise BadInput(
            f"Task {task} asks for {_amount(name, wanted)} a worker, and {room.where} {holds} at most "
            f"{_amount(name, has)}{node}. Set resources.{task} in the job file to less, or take larger nodes."
        )


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:,.1f} GiB of memory"
    noun = {"CPU": "core", "GPU": "GPU"}[name]
    return f"{amount:g} {noun}" + ("s" if amount > 1 or not amount else "")


def _sizes(kinds: Sequence[Resources], total: Mapping[str, float]) -> list[int]:
    sizes = [0] * len(kinds)
    left = dict(total)
    gpu_kinds = [kind for kind, taken in enumerate(kinds) if taken.gpus]
    for place, kind in enumerate(gpu_kinds):
        share = left | {"GPU": left.get("GPU", 0.0) / (len(gpu_kinds) - place)}
        sizes[kind] = max(1, _fits(kinds[kind], share))
        for name, amount in needs(kinds[kind]).items():
            left[name] = left.get(name, 0.0) - amount * sizes[kind]
    others = [kind for kind, taken in enumerate(kinds) if not taken.gpus]
    reserved = sum(kinds[kind].cpus for kind in others)
    for kind in others:
        share = left | {"CPU": left.get("CPU", 0.0) - reserved + kinds[kind].cpus}
        sizes[kind] = max(1, _fits(kinds[kind], share))
    return sizes


def _fits(taken: Resources, room: Mapping[str, float]) -> int:
    return int(min((room.get(name, 0.0) + 1e-6) // amount for name, amount in needs(taken).items()))
