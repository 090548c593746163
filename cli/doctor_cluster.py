"""What the nodes of a cluster are and what each can reach, and what is wrong with it.

Through the dashboard (http://HOST:8265) the question goes as a small job, with chunkflow if it is not there,
as a job would; through ray:// it is asked from here. Nodes that are not up are not asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.words import counted, plain
from cli.doctor_here import strangers
from cli.doctor_places import Tried
from cluster import probe

Answers = Mapping[str, Mapping[str, Any] | str]
HEAD = ("device", "python", "ray", "chunkflow", "cores", "memory")


def examine_cluster(address: str, places: Sequence[str], console: Console) -> list[str]:
    """Show what the nodes said; returns what is wrong."""
    urls = [full_url(place) for place in places]
    answers = _by_client(address, urls) if address.startswith("ray://") else _by_job(address, urls)
    if isinstance(answers, list):
        return answers
    known = {node: said for node, said in answers.items() if not isinstance(said, str)}
    console.print(_nodes_table(known))
    _tell_places(known, urls, console)
    alike: dict[str, list[str]] = {}
    for node, said in answers.items():
        for fault in [said] if isinstance(said, str) else node_faults(said):
            alike.setdefault(fault, []).append(node if isinstance(said, str) else f"{said['host']} ({node})")
    return [f"{_among(nodes)}: {fault}" for fault, nodes in alike.items()]


def _by_job(address: str, urls: Sequence[str]) -> Answers | list[str]:
    from cli.doctor_nodes import MARK
    from cluster.environment import look, what_goes_along
    from cluster.submission import Jobs, folder_of

    jobs = Jobs(address)
    there = look(jobs)
    if faults := there.faults():
        return faults
    files, environment = what_goes_along(there)
    with folder_of(files) as folder:
        words = ["python", "-m", "cli.doctor_nodes", *urls]
        answers: Answers = jobs.ask(folder, words, environment, MARK)
    return answers


def _by_client(address: str, urls: Sequence[str]) -> Answers | list[str]:
    import ray

    from cli.doctor_nodes import examine
    from cluster.connection import join, refuse_dead
    from cluster.everywhere import ask_each_node

    try:
        refuse_dead(address)
        join(address)
    except BadInput as error:
        return [str(error)]
    try:
        return ask_each_node(examine, urls)
    finally:
        ray.shutdown()


def node_faults(said: Mapping[str, Any]) -> list[str]:
    """What is wrong with one node."""
    here = probe.here()
    faults = [f"{place}: {Tried(**tried).fault}" for place, tried in said["places"].items()]
    found = [fault for fault in faults if not fault.endswith(": ")]
    for name in ("python", "ray"):
        if said[name].split(".")[:2] != here[name].split(".")[:2]:
            found.append(f"it has {name} {said[name]}, and this machine {here[name]}")
    if said["chunkflow"] != here["chunkflow"]:
        found.append("it has another chunkflow than this machine")
    return [*found, *strangers(said["packages"])]


def _nodes_table(known: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for nodes that are alike: a cluster may have thousands."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for said in known.values():
        words = {
            **said,
            "device": said["device"] or "–",
            "memory": f"{said['memory']} GiB",
            "cores": str(said["cores"]),
        }
        words["chunkflow"] = "this one" if said["chunkflow"] == probe.here()["chunkflow"] else "another"
        alike.setdefault(tuple(words[name] for name in HEAD), []).append(said["host"])
    table = Table(title="nodes", title_justify="left", box=None, padding=(0, 2))
    for name in ("", *HEAD):
        table.add_column(name, overflow="fold")
    for row, hosts in alike.items():
        table.add_row(_named(hosts), *row)
    return table


def _tell_places(known: Mapping[str, Mapping[str, Any]], urls: Sequence[str], console: Console) -> None:
    """A line for nodes that found the same."""
    for url in urls:
        alike: dict[Tried, list[str]] = {}
        for said in known.values():
            alike.setdefault(Tried(**said["places"][url]), []).append(said["host"])
        for tried, hosts in alike.items():
            where = "all nodes" if len(alike) == 1 else _named(hosts)
            console.print(
                f"{plain(url)} from {where}: {tried.what}; read: {tried.read}, write: {tried.write}, "
                f"delete: {tried.delete}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )


def _named(hosts: Sequence[str]) -> str:
    return hosts[0] if len(hosts) == 1 else counted(len(hosts), "node")


def _among(nodes: Sequence[str]) -> str:
    return nodes[0] if len(nodes) == 1 else f"{counted(len(nodes), 'node')}, {nodes[0]} among them"
