"""How many workers of each kind a pool keeps.

1. A kind of which no worker finds room is refused; where the job has a queue it is left to other pools, as
   long as there is room for another kind.
2. Kinds that take GPUs are given their share first, with the cores that they need beside.
3. The other kinds share the cores that are left: each may have all but one worker of every other kind, and no
   more than its nodes hold. On a cluster that grows these are nodes without GPUs, if there may be some that
   hold it: those with GPUs would be started for their cores alone.
4. Where several kinds share cores or GPUs, the pool ends idle workers: one that waits for a whole node would
   wait for ever where small ones sit on it, even if all together find room.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.resources import Resources

IDLE_SECONDS = 60.0
"""After which an idle worker is ended, so that its node can go."""
SHARING_SECONDS = 5.0
"""The same where nodes stay and only workers of other kinds wait for the cores."""


@dataclass(frozen=True)
class Nodes:
    """Nodes that are alike."""

    most: int
    """How many of them there are, or may be."""
    has: Mapping[str, float]
    """What each has for workers, as Ray names it: CPU, GPU, memory."""

    def hold(self, taken: Resources) -> int:
        """How many such workers find room on them."""
        return self.most * _fits(taken, self.has)


@dataclass(frozen=True)
class Room:
    """Where workers may be placed."""

    where: str
    nodes: Sequence[Nodes]
    grows: bool = False

    @property
    def plain(self) -> Sequence[Nodes]:
        """Those for work without GPUs."""
        without = [nodes for nodes in self.nodes if not nodes.has.get("GPU")]
        return without if self.grows and without else self.nodes

    def largest(self, name: str) -> float:
        """The most that one node has."""
        return max((nodes.has.get(name, 0.0) for nodes in self.nodes), default=0.0)

    def holds(self, taken: Resources) -> int:
        """How many such workers find room."""
        suited = sum(nodes.hold(taken) for nodes in (self.nodes if taken.gpus else self.plain))
        return suited or sum(nodes.hold(taken) for nodes in self.nodes)


@dataclass(frozen=True)
class Staff:
    """How many workers of each kind a pool keeps at most, and after how long an idle one is ended."""

    sizes: tuple[int, ...]
    idle_seconds: float | None
    cores: float
    """What they take together, of what there is."""
    left: tuple[str, ...] = ()
    """Why each kind that is left to other pools is; their size is 0."""


def staff_for(plan: Plan, room: Room, workers: int = 0) -> Staff:
    """The workers for a plan in this room, `workers` of each kind at most; refuses what finds no place."""
    used = {stage.worker_kind for stage in plan.stages}
    refused = {kind: why for kind in sorted(used) if (why := _too_large(plan, kind, room))}
    if refused and not (plan.job.queue and used - refused.keys()):
        kind, why = next(iter(refused.items()))
        raise BadInput(f"{why} {_advice(plan, kind, room)}")
    sizes = [min(size, workers or size) for size in _sizes(plan.worker_kinds, room, refused)]
    cores = sum(size * taken.cpus for size, taken in zip(sizes, plan.worker_kinds, strict=True))
    has = _total(room.nodes)["CPU"]
    by_gpus = Counter(bool(taken.gpus) for size, taken in zip(sizes, plan.worker_kinds, strict=True) if size)
    shared = SHARING_SECONDS if max(by_gpus.values(), default=0) > 1 else None
    idle_seconds = IDLE_SECONDS if room.grows else shared
    return Staff(tuple(sizes), idle_seconds, min(cores, has), tuple(refused.values()))


def needs(taken: Resources) -> dict[str, float]:
    """What one worker takes, as Ray names it."""
    memory = {"memory": math.ceil(taken.memory * 2**30)} if taken.memory else {}
    return {"CPU": taken.cpus} | ({"GPU": taken.gpus} if taken.gpus else {}) | memory


def _too_large(plan: Plan, kind: int, room: Room) -> str:
    """Why no worker of this kind finds room; empty where one does."""
    taken = plan.worker_kinds[kind]
    amounts = {name: _amount(name, wanted) for name, wanted in needs(taken).items()}
    for name, wanted in needs(taken).items():
        has = room.largest(name)
        if wanted <= has:
            continue
        asks = f"Task {_task(plan, kind)} asks for {amounts[name]} a worker, and {room.where}"
        if name == "GPU" and not has:
            return f"{asks} has none."
        holds = "may grow to" if room.grows else "has"
        node = " on one node" if sum(nodes.most for nodes in room.nodes) > 1 else ""
        return f"{asks} {holds} at most {_amount(name, has)}{node}."
    if room.holds(taken):
        return ""
    asks = f"Task {_task(plan, kind)} asks for {' and '.join(amounts.values())} a worker"
    return f"{asks}, and {room.where} has no node with all of it."


def _advice(plan: Plan, kind: int, room: Room) -> str:
    task = _task(plan, kind)
    if plan.worker_kinds[kind].gpus and not room.largest("GPU"):
        return f"Run it on a cluster with GPUs (address), or set resources.{task}.gpus: 0 in the job file."
    return f"Set resources.{task} in the job file to less, or take larger nodes."


def _task(plan: Plan, kind: int) -> str:
    return next(plan.steps[stage.step].entry for stage in plan.stages if stage.worker_kind == kind)


def _amount(name: str, amount: float) -> str:
    if name == "memory":
        return f"{amount / 2**30:,.1f} GiB of memory"
    noun = {"CPU": "core", "GPU": "GPU"}[name]
    return f"{amount:g} {noun}" + ("s" if amount > 1 or not amount else "")


def _sizes(kinds: Sequence[Resources], room: Room, without: Container[int]) -> list[int]:
    sizes = [0] * len(kinds)
    left = _total(room.nodes)
    gpu_kinds = [kind for kind, taken in enumerate(kinds) if taken.gpus and kind not in without]
    for place, kind in enumerate(gpu_kinds):
        share = left | {"GPU": left["GPU"] / (len(gpu_kinds) - place)}
        sizes[kind] = max(1, _fits(kinds[kind], share))
        for name, amount in needs(kinds[kind]).items():
            left[name] -= amount * sizes[kind]
    left = {name: min(left[name], amount) for name, amount in _total(room.plain).items()}
    others = [kind for kind, taken in enumerate(kinds) if not taken.gpus and kind not in without]
    reserved = sum(kinds[kind].cpus for kind in others)
    for kind in others:
        share = left | {"CPU": left["CPU"] - reserved + kinds[kind].cpus}
        sizes[kind] = max(1, min(_fits(kinds[kind], share), room.holds(kinds[kind])))
    return sizes


def _total(nodes: Sequence[Nodes]) -> dict[str, float]:
    """What they have together."""
    return {
        name: sum(one.most * one.has.get(name, 0.0) for one in nodes) for name in ("CPU", "GPU", "memory")
    }


def _fits(taken: Resources, room: Mapping[str, float]) -> int:
    return int(min((room.get(name, 0.0) + 1e-6) // amount for name, amount in needs(taken).items()))
