"""Measures on a cluster: some cells done, without writing, on one node of each device.

A node is filled with workers as a run would fill it, as workers that share a node slow each other down.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from chunkflow.engine.cost.measures import Measures, map_stage, measure, together
from chunkflow.engine.cost.prices import SPOT
from chunkflow.engine.planning.plan import Plan, plan_of_spec, spec_of
from chunkflow.engine.planning.spec import PlanSpec
from chunkflow.engine.pool.staff import needs
from chunkflow.errors import BadInput
from chunkflow.modules import Modules
from chunkflow.resources import Resources
from cluster.workers.actor import Sources, lay
from cluster.workers.connection import join
from cluster.workers.executor import threads_of
from cluster.workers.nodes import DEVICE

TRIES = 5
ANSWER_SECONDS = 60.0

ChosenCells = Mapping[int, Sequence[int]]
"""Cells by step."""


def measure_on_devices(address: str, plan: Plan, chosen: ChosenCells) -> dict[str, Measures]:
    """What the chosen cells take, by device as the price table names it."""
    join(address)
    nodes = _node_of_each_device()
    if not nodes:
        raise BadInput(
            "No node with cores of this cluster says which device it is, or none is up just now. Those of "
            "`chunkflow cluster up` say it: on a cloud keep one of each type up, with `least: 1` in the "
            f"cluster's file. Elsewhere start Ray on one with --resources='{{\"{DEVICE}NAME\": 1}}'."
        )
    spec, sources = spec_of(plan).model_dump(mode="json"), plan.job.sources()
    begun = {
        device: [_begin(node, spec, sources, share, taken) for taken, share in _shares(plan, node, chosen)]
        for device, node in nodes.items()
    }
    return {device: together(plan, ray.get(shares)) for device, shares in begun.items() if shares}


def _node_of_each_device() -> dict[str, dict[str, Any]]:
    """Of those that are up and have cores to give, which a cloud's head has not."""
    nodes: dict[str, dict[str, Any]] = {}
    for node in ray.nodes():
        for name in node["Resources"] if node["Alive"] and node["Resources"].get("CPU") else ():
            device = name.removeprefix(DEVICE).removesuffix(SPOT)
            if name.startswith(DEVICE) and device not in nodes and _answers(node):
                nodes[device] = node
    return nodes


def _answers(node: dict[str, Any]) -> bool:
    """Whether something can be started there: for some seconds Ray has not heard of a node that is new, nor
    that one is gone."""
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    for _ in range(TRIES):
        try:
            ray.get(_greet.options(scheduling_strategy=there).remote(), timeout=ANSWER_SECONDS)
            return True
        except RayError:
            time.sleep(1.0)
    return False


@ray.remote(num_cpus=0, max_retries=0)  # type: ignore[untyped-decorator]
def _greet() -> None:
    """Nothing but a sign of life."""


def _shares(plan: Plan, node: dict[str, Any], chosen: ChosenCells) -> list[tuple[Resources, ChosenCells]]:
    """The cells dealt out to as many workers of each kind as this node holds; none where none fits."""
    shares: list[tuple[Resources, ChosenCells]] = []
    for kind, taken in enumerate(plan.worker_kinds):
        has = node["Resources"]
        fits = int(min(has.get(name, 0) // amount for name, amount in needs(taken).items()))
        own = {index: cells for index, cells in chosen.items() if map_stage(plan, index).worker_kind == kind}
        for worker in range(fits):
            share = {index: cells[worker::fits] for index, cells in own.items() if cells[worker::fits]}
            if share:
                shares.append((taken, share))
    return shares


def _begin(node: dict[str, Any], spec: Any, sources: Sources, share: ChosenCells, taken: Resources) -> Any:
    asked = needs(taken)
    return _measure.options(
        num_cpus=asked["CPU"],
        num_gpus=asked.get("GPU", 0),
        memory=asked.get("memory", 0),
        scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        runtime_env={"env_vars": threads_of(taken)},
    ).remote(spec, sources, share)


@ray.remote(max_retries=0)  # type: ignore[untyped-decorator]
def _measure(spec: dict[str, Any], sources: Sources, share: ChosenCells) -> Measures:
    folder = lay(sources) if sources else None
    try:
        return measure(plan_of_spec(PlanSpec.model_validate(spec), Modules(folder)), share)
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
