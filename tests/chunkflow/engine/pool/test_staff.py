"""How many workers of each kind there is room for, and what is refused before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.experimental.internal_kv import _internal_kv_del

from chunkflow.engine.planning.plan import Plan
from chunkflow.engine.pool.staff import IDLE_SECONDS, SHARING_SECONDS, Nodes, Room, staff_for
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from cluster.workers import capacity
from tests.support.jobs import make_job, make_layer

OWN = "tests.support.own_tasks:"
GIB = 2.0**30


def plan_of(folder: Path, resources: dict[str, Any], queue: str = "") -> Plan:
    """A task for each set of resources."""
    if not (folder / "image").exists():
        make_layer(folder / "image", np.ones((32, 32, 32), np.uint16))
    names = ["Smooth", *(f"Smooth-{i + 2}" for i in range(len(resources)))]
    layers = {name: str(folder / name) for name in ("image", *names)}
    tasks = [{OWN + "Smooth": {"image": "image", "smooth": name}} for name in names]
    sizes = {"chunk": [32] * 3, "storage": [32] * 3}
    return open_plan(make_job(folder, layers, tasks, resources=resources, queue=queue, **sizes))


def room(cores: float, gpus: float = 0, gib: float = 64, nodes: int = 1, grows: bool = False) -> Room:
    """Of so much in all, on nodes that are alike."""
    one = {"CPU": cores / nodes, "GPU": gpus / nodes, "memory": gib * GIB / nodes}
    return Room("this machine", [Nodes(nodes, one)], grows)


def test_plain_workers_take_a_core_each(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {})
    staff = staff_for(plan, room(8))
    assert (staff.sizes, staff.idle_seconds, staff.cores) == ((8,), None, 8.0)
    assert staff_for(plan, room(8), workers=3).sizes == (3,)


def test_workers_with_gpus_get_their_cores_first(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"Smooth-2": {"gpus": 0.5, "cpus": 2}})
    staff = staff_for(plan, room(16, gpus=2))
    assert (staff.sizes, staff.idle_seconds) == ((8, 4), None)
    assert staff_for(plan, room(16, gpus=2), workers=3).sizes == (3, 3)


def test_two_kinds_share_the_gpus(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"Smooth-2": {"gpus": 1}, "Smooth-3": {"gpus": 1, "memory": 4}})
    staff = staff_for(plan, room(16, gpus=4))
    assert staff.sizes == (12, 2, 2)


def test_kinds_that_share_cores_end_their_idle_workers(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"Smooth-2": {"cpus": 4}})
    staff = staff_for(plan, room(16))
    assert (staff.sizes, staff.idle_seconds) == ((12, 3), SHARING_SECONDS)
    tight = staff_for(plan, room(4))
    assert (tight.sizes, tight.idle_seconds, tight.cores) == ((1, 1), SHARING_SECONDS, 4.0)


def test_kinds_that_share_end_idle_workers_also_where_all_find_room_at_once(tmp_path: Path) -> None:
    """Four small workers, two of them on the node of five cores, would keep the large one out for ever."""
    nodes = Room("the cluster", [Nodes(1, {"CPU": 5.0}), Nodes(1, {"CPU": 4.0})])
    staff = staff_for(plan_of(tmp_path, {"Smooth-2": {"cpus": 5}}), nodes)
    assert (staff.sizes, staff.idle_seconds, staff.cores) == ((4, 1), SHARING_SECONDS, 9.0)
    parts = plan_of(tmp_path, {"Smooth-2": {"gpus": 0.5}, "Smooth-3": {"gpus": 1}})
    assert staff_for(parts, room(16, gpus=2)).idle_seconds == SHARING_SECONDS


def test_memory_limits_workers_too(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"Smooth-2": {"memory": 24}})
    assert staff_for(plan, room(16, gib=64)).sizes == (15, 2)


def test_a_cluster_that_grows_lets_its_nodes_go(tmp_path: Path) -> None:
    staff = staff_for(plan_of(tmp_path, {}), room(2000, nodes=500, grows=True))
    assert (staff.sizes, staff.idle_seconds) == ((2000,), IDLE_SECONDS)


PLAIN = Nodes(40, {"CPU": 16.0, "memory": 44 * GIB})
WITH_GPU = Nodes(8, {"CPU": 4.0, "GPU": 1.0, "memory": 11 * GIB})
LARGE = Nodes(2, {"CPU": 32.0, "GPU": 4.0, "memory": 200 * GIB})


@pytest.mark.parametrize(
    ("nodes", "resources", "sizes"),
    [
        ([PLAIN, WITH_GPU], {}, (640,)),
        ([PLAIN, WITH_GPU], {"Smooth-2": {"gpus": 1}}, (640, 8)),
        ([WITH_GPU], {}, (32,)),
        ([WITH_GPU], {"Smooth-2": {"gpus": 1, "cpus": 2}}, (16, 8)),
        ([PLAIN, WITH_GPU], {"Smooth": {"cpus": 3}, "Smooth-2": {"cpus": 3}}, (637, 200)),
        ([PLAIN, WITH_GPU], {"Smooth": {"memory": 24}, "Smooth-2": {"memory": 24}}, (639, 40)),
        ([PLAIN, LARGE], {"Smooth-2": {"cpus": 32}}, (608, 2)),
    ],
)
def test_a_cluster_grows_by_nodes_with_gpus_for_work_that_others_do_not_hold(
    tmp_path: Path, nodes: list[Nodes], resources: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    assert staff_for(plan_of(tmp_path, resources), Room("the cluster", nodes, grows=True)).sizes == sizes


def test_cores_beside_gpus_are_used_where_nodes_stay(tmp_path: Path) -> None:
    assert staff_for(plan_of(tmp_path, {}), Room("the cluster", [PLAIN, WITH_GPU])).sizes == (672,)


@pytest.mark.parametrize(
    ("asked", "has", "said"),
    [
        ({"gpus": 1}, room(8), "Task Smooth-2 asks for 1 GPU a worker, and this machine has none"),
        ({"gpus": 2}, room(8, gpus=2, nodes=2), r"and this machine has at most 1 GPU on one node\."),
        (
            {"cpus": 16},
            room(32, nodes=4),
            r"asks for 16 cores a worker, and .* has at most 8 cores on one node\.",
        ),
        (
            {"memory": 100},
            room(8),
            r"asks for 100.0 GiB of memory a worker, and .* has at most 64.0 GiB of memory\.",
        ),
        (
            {"gpus": 9},
            room(8, gpus=16, nodes=2, grows=True),
            r"and this machine may grow to at most 8 GPUs on one node\.",
        ),
        (
            {"cpus": 32},
            room(640, nodes=40, grows=True),
            r"asks for 32 cores a worker, and .* may grow to at most 16 cores on one node\.",
        ),
        (
            {"gpus": 1, "cpus": 8},
            Room("this machine", [PLAIN, WITH_GPU], grows=True),
            r"asks for 8 cores and 1 GPU a worker, and this machine has no node with all of it\.",
        ),
    ],
)
def test_what_finds_no_place_is_refused_by_name(
    tmp_path: Path, asked: dict[str, Any], has: Room, said: str
) -> None:
    plan = plan_of(tmp_path, {"Smooth-2": asked})
    with pytest.raises(BadInput, match=said) as refused:
        staff_for(plan, has)
    assert "resources.Smooth-2" in str(refused.value), "what to do"


def test_with_a_queue_what_finds_no_place_here_is_left_to_other_pools(tmp_path: Path) -> None:
    resources = {"Smooth-2": {"gpus": 1, "cpus": 2}, "Smooth-3": {"memory": 100}}
    plan = plan_of(tmp_path, resources, "sqs://shared")
    staff = staff_for(plan, room(8))
    assert (staff.sizes, staff.idle_seconds, staff.cores) == ((8, 0, 0), None, 8.0)
    assert [why.split(" a worker")[0] for why in staff.left] == [
        "Task Smooth-2 asks for 1 GPU",
        "Task Smooth-3 asks for 100.0 GiB of memory",
    ]
    assert staff_for(plan, room(8, gpus=2)).sizes == (4, 2, 0)
    assert staff_for(plan, room(8, gpus=2, gib=200)).left == ()
    with pytest.raises(BadInput, match="asks for 1 core a worker"):
        staff_for(plan, room(0))


def test_what_is_announced_is_what_a_cluster_may_grow_to(ray_here: None) -> None:
    now = capacity.room_of("auto")
    assert not now.grows
    assert sum(nodes.has.get("CPU", 0) for nodes in now.nodes) == ray.cluster_resources()["CPU"]
    assert now.largest("CPU") == max(node["Resources"].get("CPU", 0) for node in ray.nodes())
    try:
        capacity.announce([{"most": 40, "CPU": 16.0}, {"most": 8, "CPU": 4.0, "GPU": 1.0}])
        grown = capacity.room_of("auto")
        assert grown.grows
        assert grown.nodes == [Nodes(40, {"CPU": 16.0}), Nodes(8, {"CPU": 4.0, "GPU": 1.0})]
        assert grown.largest("CPU") == 16
    finally:
        _internal_kv_del("nodes", namespace="chunkflow")
    assert capacity.announced() == []


def test_this_machine_has_as_many_cores_as_workers_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    assert capacity.room_here(1000).largest("CPU") == 1000
    assert capacity.room_here(0).largest("memory") > GIB


def test_a_process_whose_ray_is_up_has_the_room_of_that(ray_here: None) -> None:
    room = capacity.room_here(1000)
    assert room.where == "Ray in this process"
    assert room.largest("CPU") == max(
        node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]
    )
