"""The nodes of a cluster: their versions, cores and memory, what each can reach, and the faults.

Through the dashboard (http://HOST:8265) the question goes as a small job, with chunkflow if it is not there,
as a job would; through ray:// it is asked from here. Nodes that are not up are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.words import counted
from cluster import probe
from cluster.health.here import strangers
from cluster.health.places import Tried

Answers = Mapping[str, Mapping[str, Any] | str]
HEAD = ("device", "python", "ray", "chunkflow", "cores", "memory")


@dataclass(frozen=True)
class ClusterHealth:
    """The nodes of a cluster, the places that they can reach, and the faults that were found."""

    nodes: dict[str, Mapping[str, Any]]
    """The answer of each node, by its address."""
    places: dict[str, dict[Tried, list[str]]]
    """The results of reading and writing at each URL, with the hosts that found the same."""
    faults: list[str]

    def alike(self) -> dict[tuple[str, ...], list[str]]:
        """The hosts that are alike, by the words of HEAD: a cluster may have thousands."""
        found: dict[tuple[str, ...], list[str]] = {}
        for said in self.nodes.values():
            words = {
                **said,
                "device": said["device"] or "–",
                "memory": f"{said['memory']} GiB",
                "cores": str(said["cores"]),
            }
            words["chunkflow"] = "this one" if said["chunkflow"] == probe.here()["chunkflow"] else "another"
            found.setdefault(tuple(words[name] for name in HEAD), []).append(said["host"])
        return found


def examine_cluster(address: str, places: Sequence[str]) -> ClusterHealth:
    """Ask every node of a cluster what it is, and let each read, write and delete at each place.

    `address` is the dashboard's (http://HOST:8265) or that of Ray's client (ray://HOST:10001).
    """
    urls = [full_url(place) for place in places]
    answers = _by_client(address, urls) if address.startswith("ray://") else _by_job(address, urls)
    if isinstance(answers, list):
        return ClusterHealth({}, {}, answers)
    known = {node: said for node, said in answers.items() if not isinstance(said, str)}
    found: dict[str, dict[Tried, list[str]]] = {url: {} for url in urls}
    for url, said in product(urls, known.values()):
        found[url].setdefault(Tried(**said["places"][url]), []).append(said["host"])
    return ClusterHealth(known, found, _faults(answers))


def _faults(answers: Answers) -> list[str]:
    """The faults, each once for all nodes that have it."""
    alike: dict[str, list[str]] = {}
    for node, said in answers.items():
        for fault in [said] if isinstance(said, str) else node_faults(said):
            alike.setdefault(fault, []).append(node if isinstance(said, str) else f"{said['host']} ({node})")
    return [f"{_among(nodes)}: {fault}" for fault, nodes in alike.items()]


def _by_job(address: str, urls: Sequence[str]) -> Answers | list[str]:
    from cluster.health.nodes import MARK
    from cluster.submission.environment import look, what_goes_along
    from cluster.submission.jobs import Jobs, folder_of

    jobs = Jobs(address)
    there = look(jobs)
    if faults := there.faults():
        return faults
    files, environment = what_goes_along(there)
    with folder_of(files) as folder:
        words = ["python", "-m", "cluster.health.nodes", *urls]
        answers: Answers = jobs.ask(folder, words, environment, MARK)
    return answers


def _by_client(address: str, urls: Sequence[str]) -> Answers | list[str]:
    import ray

    from cluster.health.nodes import examine
    from cluster.workers.connection import join, refuse_dead
    from cluster.workers.everywhere import ask_each_node

    had_joined = ray.is_initialized()
    try:
        refuse_dead(address)
        join(address)
    except BadInput as error:
        return [str(error)]
    try:
        return ask_each_node(examine, urls)
    finally:
        if not had_joined:  # else a run of this process may be going on there
            ray.shutdown()


def node_faults(said: Mapping[str, Any]) -> list[str]:
    """The faults of one node."""
    here = probe.here()
    faults = [f"{place}: {Tried(**tried).fault}" for place, tried in said["places"].items()]
    found = [fault for fault in faults if not fault.endswith(": ")]
    for name in ("python", "ray"):
        if said[name].split(".")[:2] != here[name].split(".")[:2]:
            found.append(f"it has {name} {said[name]}, and this machine {here[name]}")
    if said["chunkflow"] != here["chunkflow"]:
        found.append("it has another chunkflow than this machine")
    return [*found, *strangers(said["packages"])]


def _among(nodes: Sequence[str]) -> str:
    return nodes[0] if len(nodes) == 1 else f"{counted(len(nodes), 'node')}, {nodes[0]} among them"
