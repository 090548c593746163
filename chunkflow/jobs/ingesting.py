"""A stack brought in: checked first, its extent told, then made a layer, or one for each of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chunkflow.data.info import full_url
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.formats.stacks.facts import size_of_voxels
from chunkflow.formats.stacks.stack import Stack, open_stack
from chunkflow.geometry import Vec, VoxelSize
from chunkflow.task import Task
from chunkflow.words import layer_name, parse_voxel_size


@dataclass(frozen=True)
class Ingestion:
    """A job that brings a stack in, and what it will make."""

    job: Job
    layers: tuple[str, ...]
    """The URLs of the layers, one for each channel that is taken."""
    size: Vec
    """Voxels along x, y, z."""
    voxel_size: VoxelSize
    """Nanometres along x, y, z."""
    dtype: str
    """The type of the stack's voxels."""

    @property
    def extent(self) -> str:
        """The volume in voxels and in millimetres, for people to see whether it can be true."""
        voxels = " x ".join(str(n) for n in self.size)
        millimetres = " x ".join(
            f"{n * s * 1e-6:.4g}" for n, s in zip(self.size, self.voxel_size, strict=True)
        )
        channels = f" in {len(self.layers)} channels" if len(self.layers) > 1 else ""
        return f"{voxels} voxels (x, y, z) of {self.dtype}{channels}: {millimetres} mm"


def ingest_job(source: str, to: str, parameters: Mapping[str, object], work: str = "") -> Ingestion:
    """The job that writes a stack as a layer, or as a layer for each of its channels.

    `source` is a file or folder that a microscope or another program left, or FILE:NAME for one of several
    arrays in a file; what of it is damaged or missing raises BadInput. `to` is the path or URL of the layer,
    or of a folder of layers. `parameters` are those of the task `ingest`, as in a job file: sizes of voxels
    are text with their unit.

        ingestion = ingest_job("planes", "data/dapi", {"voxel_size": "0.227,0.227,1um"})
        print(ingestion.extent)
        plan = open_plan(ingestion.job)
    """
    fields = ingest_task(source, parameters).model_dump(mode="json")
    source = fields["source"]  # whole
    stack = open_stack(source, fields["axes"], fields["time"])
    layers = layers_of(source, stack, fields["channel"], to)
    stack.check()
    given = parse_voxel_size(fields["voxel_size"]) if fields["voxel_size"] else None
    size = size_of_voxels(source, stack.facts, given)
    job = _job(fields, layers, work or f"{full_url(to)}.work")
    return Ingestion(job, tuple(layers.values()), stack.size, size, stack.dtype)


def ingest_task(source: str, parameters: Mapping[str, object]) -> Task:
    """The task as it is asked for, checked as a job file would be."""
    document = {"job": "ingest", "work": ".", "layers": {"layer": "."}}
    entry = {"ingest": {"source": source, "layer": "layer", **parameters}}
    job = Job.from_document(document | {"tasks": [entry]}, Path.cwd())
    return job.tasks[0].load(job.modules)


def layers_of(source: str, stack: Stack, channel: str, to: str) -> dict[str, str]:
    """Where each channel goes, by its number; to the place itself where only one is taken."""
    url = full_url(to)
    if Path(source) == Path(url.removeprefix("file://")):
        raise BadInput(f"{source} is both what is read and where it is to be written.")
    if stack.channels == 1 or channel:
        return {channel: url}
    names = stack.facts.names or ("",) * stack.channels
    return {str(number): f"{url}/{name}" for number, name in enumerate(channel_names(names))}


def channel_names(channels: tuple[str, ...]) -> list[str]:
    """Names that folders and jobs can have, each different: as the channels are called, else c0, c1 ..."""
    found: list[str] = []
    for number, channel in enumerate(channels):
        name = layer_name(channel, f"c{number}", dots=True)
        while name in found:
            name += f"_c{number}"
        found.append(name)
    return found


def _job(fields: Mapping[str, object], layers: Mapping[str, str], work: str) -> Job:
    """One task for each channel."""
    names = {
        channel: url.rsplit("/", 1)[-1] if len(layers) > 1 else "layer" for channel, url in layers.items()
    }
    document = {
        "job": "ingest",
        "work": work,
        "layers": {names[channel]: url for channel, url in layers.items()},
        "tasks": [{"ingest": {**fields, "channel": c, "layer": name}} for c, name in names.items()],
    }
    return Job.from_document(document, Path.cwd())
