"""The job of one task, whose layers are given by their places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Vec
from chunkflow.modules import Modules
from chunkflow.registry import task_type
from chunkflow.words import layer_name, split_mip


def job_of_task(
    name: str,
    parameters: Mapping[str, Any],
    work: str = "",
    chunk: Vec | None = None,
    storage: Vec | None = None,
    encoding: str = "",
) -> Job:
    """The job of the task `name` alone; one of the user's own lies in the working folder.

    `parameters` are the task's as in a job file, but layers are their paths or URLs, perhaps with @mip. The
    work folder is by default NAME.work in the working folder. What the job makes is stored in chunks of
    `storage` voxels, by `encoding`.

        job = job_of_task("segment", {"image": "data/dapi", "labels": "data/nuclei", "diameter": 10})
    """
    layers: dict[str, Any] = {}
    given = dict(parameters)
    made: list[str] = []
    own, _, short = name.rpartition(":")
    for role in task_type(name, Modules(Path.cwd()).reading([own])).roles():
        places = given.get(role.name) or []
        places = [places] if isinstance(places, str | Path) else places
        names = [_named(layers, str(place), role.name) for place in places]
        if names:
            given[role.name] = names if role.many else names[0]
        else:
            given.pop(role.name, None)
        made += names if role.output else []
    if encoding:
        stored = {split_mip(layer)[0] for layer in made}
        layers |= {layer: {"url": layers[layer], "encoding": encoding} for layer in stored}
    sizes = {key: size for key, size in (("chunk", chunk), ("storage", storage)) if size is not None}
    document = {"job": short, "work": work or f"./{short}.work", "layers": layers, **sizes}
    return Job.from_document(document | {"tasks": [{name: given}]}, Path.cwd())


def _named(layers: dict[str, Any], location: str, role: str) -> str:
    """Give a layer a name in the job, after the last part of its path, else after its role."""
    url, mip = split_mip(location)
    name = layer_name(url.rstrip("/").rsplit("/", 1)[-1], role)
    while name in layers and layers[name] != url:
        name += "_"
    layers[name] = url
    return name if mip is None else f"{name}@{mip}"
