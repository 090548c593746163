"""A question put to every node of a cluster, answered by a worker on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

ANSWER_SECONDS = 600.0
"""A node that has no environment for the job yet installs it first."""


def ask_each_node(
    question: Callable[[Sequence[str]], dict[str, Any]], about: Sequence[str]
) -> dict[str, dict[str, Any] | str]:
    """By the address of each node that is up: its answer, or why there is none. It takes no core away."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(question)
        asked[f"{node['NodeManagerAddress']} {node['NodeID'][:8]}"] = task.remote(about)
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS)
    return {name: _answer(reference) for name, reference in asked.items()}


def _answer(reference: Any) -> dict[str, Any] | str:
    try:
        answer: dict[str, Any] = ray.get(reference, timeout=0.1)
        return answer
    except TimeoutError:
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    except RayError as error:
        return " ".join(str(error).split())[-500:]
