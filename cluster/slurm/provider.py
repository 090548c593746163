"""SLURM for Ray's autoscaler (version 1, as version 2 takes no provider of one's own): a node is a job.

1. One squeue tells of all workers, at most every `poll` seconds; while it fails nothing is decided, and it is
   asked ever more seldom.
2. One step of growth is one array job. Where SLURM refuses it, half as many are asked for, and half again.
   What was refused is told in `status`, and not asked for again for a while; so is a worker that ends before
   it has joined.
3. All that is returned at a time is cancelled by one command.
4. Jobs that still wait when no work does are cancelled, too: Ray's autoscaler would leave them.

Nothing is kept but what SLURM itself knows: a job is known by its name and number, also to a new head.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import ray
from ray._private.ray_constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, _fits
from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    STATUS_SETTING_UP,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.core.generated.autoscaler_pb2 import NodeStatus

from cluster.slurm.refusals import FAILED, REFUSED, Refusals
from cluster.slurm.site import HEAD, TASKS, Relay, Slurm, SlurmJob, SlurmRefused, run_here
from cluster.workers.capacity import announce

LONGEST_POLL = 300.0
_groups: dict[str, dict[str, float]] = {}
"""The groups of workers in the file's order, and what a worker has; Ray gives a scorer nothing of its own."""

logger = logging.getLogger(__name__)


def in_order(
    node_resources: Any, resources: Any, node_type: str, *, node_availability_summary: Any
) -> tuple[Any, ...] | None:
    """How well a group fits what waits, for Ray's scheduler: none that was just refused, then the file's
    order. One with GPUs does not where other groups hold all that waits: its cores are not worth its GPUs,
    however long the others must be waited for."""
    if node_resources.get("GPU") and not any(_held_only_by(node_resources, asked) for asked in resources):
        return None
    score = _default_utilization_scorer(
        node_resources, resources, node_type, node_availability_summary=node_availability_summary
    )
    if score is None:
        return None
    known = node_availability_summary.node_availabilities.get(node_type)
    return known is None or known.is_available, *score[:2], -list(_groups).index(node_type)


def _held_only_by(gpu_node: Any, asked: Any) -> bool:
    """Whether a node with GPUs holds what is asked for, and none without does."""
    return _fits(gpu_node, asked) and not any(_fits(has, asked) for has in _groups.values() if not has["GPU"])


class SlurmProvider(NodeProvider):  # type: ignore[misc]
    """Makes workers with sbatch, returns them with scancel; runs in the head's monitor."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._folder = Path(provider_config["folder"])
        _groups.clear()
        _groups.update(provider_config["groups"])
        run = Relay(self._folder / "asked").run if provider_config["relay"] else run_here
        self._slurm = Slurm(cluster_name, tuple(_groups), run)
        self._refused = Refusals(self._folder / REFUSED)
        self._failed = Refusals(self._folder / FAILED)
        self._lock = threading.RLock()
        self._jobs: dict[str, SlurmJob] = {}
        self._ended: set[str] = set()  # keys that were cancelled, until SLURM has forgotten them
        self._joined: set[str] = set()
        self._next_look = 0.0
        self._failures = 0
        self._waited = time.monotonic()  # when work last waited
        announce(list(provider_config["groups"].values()))
        self._publish()

    def _publish(self) -> None:
        """The head is up: its address is for all to find, if it is not already, as Ray was tried again."""
        address, coming = self._folder / "address", self._folder / "address.next"
        if coming.exists():
            coming.replace(address)
        gateway, _, _, head = address.read_text().split()
        self._gcs = ray._raylet.GcsClient(address=gateway)
        self._head = str(int(head) * TASKS)

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        with self._lock:
            self._look()
            keys = [self._head, *(key for key in self._jobs if key not in self._ended)]
            return [key for key in keys if tag_filters.items() <= self.node_tags(key).items()]

    def _look(self) -> None:
        """Ask SLURM, if it was not asked just now."""
        now = time.monotonic()
        if now < self._next_look:
            return
        poll = float(self.provider_config["poll"])
        try:
            found = {job.key: job for job in self._slurm.jobs() if job.group != HEAD and not job.over}
        except SlurmRefused as error:
            self._failures += 1
            self._next_look = now + min(poll * 2**self._failures, LONGEST_POLL)
            logger.warning("SLURM's queue cannot be read: %s", error)
            return
        self._failures = 0
        self._next_look = now + poll
        self._note_lost([job for key, job in self._jobs.items() if key not in found])
        self._jobs = found
        self._ended &= found.keys()
        self._joined &= found.keys()

    def _note_lost(self, gone: list[SlurmJob]) -> None:
        """Jobs that are over without having been cancelled; one that never joined failed as it started."""
        for group in _groups:
            lost = [job for job in gone if job.group == group and job.key not in self._ended | self._joined]
            if lost:
                place = self._folder / "logs" / f"{group}-{lost[-1].id}.out"
                self._failed.note(group, f"{len(lost)} ended before they joined; see {place}")

    def safe_to_scale(self) -> bool:
        return self._failures == 0

    def is_running(self, node_id: str) -> bool:
        return node_id == self._head or (node_id in self._jobs and self._jobs[node_id].runs)

    def is_terminated(self, node_id: str) -> bool:
        return node_id != self._head and (node_id not in self._jobs or node_id in self._ended)

    def node_tags(self, node_id: str) -> dict[str, str]:
        if node_id == self._head:
            kind, group, up = NODE_KIND_HEAD, HEAD, True
        else:
            job = self._jobs[node_id]
            kind, group, up = NODE_KIND_WORKER, job.group, job.runs
        return {
            TAG_RAY_NODE_KIND: kind,
            TAG_RAY_USER_NODE_TYPE: group,
            TAG_RAY_NODE_NAME: node_id,
            TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE if up else STATUS_SETTING_UP,
        }

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        """What there is to know of a node, SLURM knows."""

    def internal_ip(self, node_id: str) -> str:
        """Several nodes may share a machine, so Ray tells them apart by a resource that is this number."""
        return node_id

    external_ip = internal_ip

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> None:
        group = tags[TAG_RAY_USER_NODE_TYPE]
        with self._lock:
            said = self._refused.holds_back(group) or self._failed.holds_back(group)
            said = said or self._ask(group, count)
            if said:
                raise NodeLaunchException("refused", said, None)

    def _ask(self, group: str, count: int) -> str:
        """Ask for workers, by as few jobs as the site's longest array allows; returns why none was given."""
        most = int(self.provider_config["longest_array"])
        size, got, said = min(count, most), 0, ""
        while got < count and size:
            try:
                number = self._slurm.submit(self._folder / f"{group}.sbatch", group, size)
            except SlurmRefused as error:
                said = str(error)
                size //= 2
                continue
            got += size
            self._jobs |= {job.key: job for job in _asked(group, number, size)}
            if said:
                break
            size = min(count - got, most)
        if said:
            self._refused.note(group, f"{count} asked for, {got} taken: {said}")
        else:
            self._refused.clear(group)
        return said if not got else ""

    def terminate_node(self, node_id: str) -> None:
        self.terminate_nodes([node_id])

    def terminate_nodes(self, node_ids: list[str]) -> None:
        with self._lock:
            jobs = [self._jobs[key] for key in node_ids if key in self._jobs]
            self._ended |= {job.key for job in jobs}
            try:
                self._slurm.cancel(job.id for job in jobs)
            except SlurmRefused as error:  # they are looked at again, and are idle still
                self._ended -= {job.key for job in jobs}
                logger.warning("SLURM did not cancel: %s", error)

    def post_process(self) -> None:
        """After each turn of the autoscaler: who has joined, and whether any work waits."""
        state = get_cluster_resource_state(self._gcs)
        alive = [node for node in state.node_states if node.status != NodeStatus.DEAD]
        keys = {str(int(node.total_resources.get("NODE_ID_AS_RESOURCE", 0))) for node in alive}
        with self._lock:
            for key in (keys & self._jobs.keys()) - self._joined:
                self._joined.add(key)
                self._failed.clear(self._jobs[key].group)
            if state.pending_resource_requests or self._requested():
                self._waited = time.monotonic()
            elif time.monotonic() - self._waited > float(self.provider_config["idle"]):
                waiting = [key for key, job in self._jobs.items() if job.state == "PENDING"]
                self.terminate_nodes([key for key in waiting if key not in self._ended])

    def _requested(self) -> bool:
        """Somebody asked Ray to keep nodes, whether work waits or not."""
        said = self._gcs.internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL, None)
        return bool(json.loads(said or "[]"))


def _asked(group: str, number: int, count: int) -> list[SlurmJob]:
    """The jobs of an array that was just taken, before SLURM's queue was looked at."""
    now = time.time()
    return [SlurmJob(group, number, index, "PENDING", "", "", now) for index in range(1, count + 1)]
