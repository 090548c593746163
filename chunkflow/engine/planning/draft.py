"""Draft of a job file: tasks that fit the layers that there are, with a comment on every choice."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from chunkflow.data.describe import layer_at, read_info
from chunkflow.data.info import VOLUME, ImageInfo, LabelsInfo, VoxelsInfo, full_url
from chunkflow.errors import BadInput
from chunkflow.words import free_name, layer_name


@dataclass(frozen=True)
class Input:
    """A layer that the job is to read."""

    name: str
    info: VoxelsInfo

    @property
    def line(self) -> str:
        size = " x ".join(str(n) for n in self.info.bounds.size)
        voxel = " x ".join(f"{v:g}" for v in self.info.voxel_size)
        return f"  {self.name}: {self.info.url}  # {self.info.dtype}, {size} voxels of {voxel} nm"


def draft_job(layers: Sequence[str]) -> str:
    """The text of a job file to begin from.

    `layers` are paths or URLs. Where there is an image, nuclei are found in the first, measured in all,
    meshed and shown as points; where there are labels, those are measured and meshed.

        Path("rat.yaml").write_text(draft_job(["data/rat/dapi", "data/rat/cfos"]))
    """
    return job_text(inputs_of(layers))


def inputs_of(locations: Sequence[str]) -> list[Input]:
    """The layers, each with a name that a job may give it."""
    found: dict[str, Input] = {}
    for location in locations:
        url = full_url(location)
        kind = read_info(url).get("@type", VOLUME)
        if kind != VOLUME:
            raise BadInput(f"{url} is {kind}: a job begins from images or labels.")
        name = free_name(layer_name(posixpath.basename(url), "layer"), found)
        found[name] = Input(name, layer_at(url))
    return list(found.values())


def job_text(inputs: Sequence[Input]) -> str:
    """The whole file; every choice says what it means."""
    images = [i for i in inputs if isinstance(i.info, ImageInfo)]
    labels = [i for i in inputs if isinstance(i.info, LabelsInfo)]
    place = posixpath.dirname(inputs[0].info.url)
    taken = {i.name: i for i in inputs}
    nuclei = free_name("nuclei", taken)
    target = labels[0].name if labels else nuclei
    made = free_name("cells", taken)
    outputs = [(nuclei, "the labels that segment makes")] if not labels else []
    outputs += (
        [(free_name("meshes", taken), f"the meshes of {target}, which itself is only read")] if labels else []
    )
    outputs += [(made, "one point an object")]
    lines = [
        f"job: {layer_name(posixpath.basename(place), 'job')}",
        "# where the job keeps its ledger, tables and report; a run can be resumed from here alone",
        f"work: {place}/{free_name('work', taken)}",
        "# voxels x, y, z that one worker holds at a time: whole storage chunks (64 each); left out, the",
        "# largest that fits into `memory`",
        "# chunk: [256, 256, 128]",
        "# GiB that one worker may take",
        "# memory: 2",
        "",
        "layers:",
        *(i.line for i in inputs),
        *(f"  {name}: {place}/{name}  # made: {why}" for name, why in outputs),
        "",
        "tasks:",
    ]
    if not labels:
        lines += segment_lines(images[0], nuclei)
    lines += after_lines(images, target, made, outputs[0][0] if labels else "")
    return "\n".join(lines) + "\n"


def segment_lines(image: Input, labels: str) -> list[str]:
    return [
        "  - segment:",
        f"      image: {image.name}",
        f"      labels: {labels}",
        "      diameter: 10  # micrometres: the one thing to measure before; look with chunkflow view",
        "      # threshold: auto  # decided once for the whole volume; or a number, as another brain had it",
    ]


def after_lines(images: Sequence[Input], labels: str, points: str, meshes: str) -> list[str]:
    """The tasks on labels, whoever made them."""
    names = ", ".join(image.name for image in images)
    lines = ["  - measure:", f"      labels: {labels}"]
    lines += [f"      images: [{names}]  # mean, std, skew, kurtosis, min, max of each"] if images else []
    lines += [
        "      objects: objects  # a table: one row an object, in the work folder; see chunkflow export"
    ]
    lines += ["  - mesh:", f"      labels: {labels}", *([f"      meshes: {meshes}"] if meshes else [])]
    if not meshes:
        lines += [
            "  - downsample:",
            f"      layer: {labels}  # coarser mips, to look at large volumes quickly",
        ]
    return [*lines, "  - annotate:", "      objects: objects", f"      annotations: {points}"]
