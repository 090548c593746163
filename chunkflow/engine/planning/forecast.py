"""What a plan will take: chunks, bytes and requests in and out, a worker's memory, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from urllib.parse import urlsplit

from chunkflow.data.info import FolderInfo, ImageInfo, LabelsInfo, TableInfo, VoxelsInfo
from chunkflow.data.sharded import file_count
from chunkflow.engine.planning.plan import Plan, Product, Step
from chunkflow.geometry import Box, Grid, vec

BASE_BYTES = 330 * 2**20
"""A worker that has loaded Ray, CloudVolume, numba and the tasks, and holds no chunk."""


@dataclass(frozen=True)
class StepForecast:
    """One step's share."""

    name: str
    cells: int
    bytes_in: int
    bytes_out: int
    memory: int
    """What a worker takes where the smallest window of each cell is enough."""
    most_memory: int
    """What it takes where cells ask for their largest window."""
    read_factor: float
    """The largest read of a cell, in sizes of the cell."""
    files: int
    """What it makes, without those whose number the objects decide (fragments of meshes)."""
    requests: int
    """What storage is asked for: storage chunks and files of tables read, and files written."""
    remarks: tuple[str, ...] = ()
    """What else its task has to say."""


def forecast(plan: Plan) -> list[StepForecast]:
    return [_of_step(plan, step) for step in plan.steps]


def worker_memory(plan: Plan) -> int:
    """The most memory that one worker takes, whatever its cells ask for."""
    return max(step.most_memory for step in forecast(plan))


def usual_memory(plan: Plan) -> int:
    """What one worker takes where no cell asks for more than its smallest window."""
    return max(step.memory for step in forecast(plan))


@dataclass
class Traffic:
    """What goes to and comes from one bucket."""

    gets: int = 0
    puts: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


def traffic(plan: Plan) -> dict[str, Traffic]:
    """Requests and bytes by bucket, as in s3://lab; what lies on file systems is left out."""
    found: dict[str, Traffic] = {}

    def at(url: str) -> Traffic:
        place = urlsplit(url)
        return found.setdefault(f"{place.scheme}://{place.netloc}", Traffic())

    for step in plan.steps:
        middle, cells = _middle(step), len(step.grid)
        share = step.region.voxels / max(middle.voxels, 1)
        for product, boxes in _reads(step, middle):
            bucket = at(product.info.url)
            bucket.gets += _files_read(product, boxes[0]) * cells
            if isinstance(product.info, VoxelsInfo):
                voxels = boxes[0].clip(product.info.bounds).voxels
                bucket.bytes_in += int(voxels * product.info.bytes_per_voxel * share)
        for product in step.outputs.values():
            bucket = at(product.info.url)
            bucket.puts += _files_made(product)
            if isinstance(product.info, VoxelsInfo):
                bucket.bytes_out += int(middle.voxels * product.info.bytes_per_voxel * share)
        at(plan.work).puts += _parts(plan, step)
    return {place: bucket for place, bucket in found.items() if not place.startswith("file://")}


def _middle(step: Step) -> Box:
    """A cell that is not cut short: of two the last may be."""
    return step.grid.box_at(vec((n - 1) // 2 for n in step.grid.shape))


def _of_step(plan: Plan, step: Step) -> StepForecast:
    middle = _middle(step)
    first, most, factor = _read_bytes(step, middle)
    written = sum(middle.voxels * p.voxels.bytes_per_voxel for _, p in step.layer_outputs)
    cells = len(step.grid)
    share = step.region.voxels / max(middle.voxels * cells, 1)
    files = _files(plan, step)
    return StepForecast(
        step.name,
        cells,
        int(first * cells * share),
        int(written * cells * share),
        _memory(step, middle, first, written),
        _memory(step, middle, most, written),
        factor,
        files,
        int(_asked(step, middle) * cells) + files,
        tuple(step.task.remarks(step.layout, step.grid)),
    )


def _files(plan: Plan, step: Step) -> int:
    return sum(_files_made(product) for product in step.outputs.values()) + _parts(plan, step)


def _files_made(product: Product) -> int:
    """Storage chunks or shards, or files of a table."""
    match product.info:
        case ImageInfo() | LabelsInfo() as layer:
            return file_count(layer.bounds, layer.storage, layer.sharded)
        case TableInfo() as table:
            return len(table.grid)
        case FolderInfo():
            return 0


def _parts(plan: Plan, step: Step) -> int:
    """The parts that cells leave."""
    stages = [stage for stage in plan.stages if stage.step == step.index]
    return sum(len(stage.grid) for stage in stages if stage.kind == "prepare" or step.leaves_parts)


def _asked(step: Step, box: Box) -> int:
    """Storage chunks and files of tables that one cell reads at first."""
    return sum(_files_read(product, boxes[0]) for product, boxes in _reads(step, box))


def _files_read(product: Product, box: Box) -> int:
    match product.info:
        case ImageInfo() | LabelsInfo() as layer:
            return Grid.chunks(layer.bounds, layer.storage).positions_meeting(box).voxels
        case TableInfo() as table:
            return table.grid.positions_meeting(box).voxels
        case FolderInfo():
            return 0


def _reads(step: Step, box: Box) -> Iterator[tuple[Product, list[Box]]]:
    """All that a cell reads, each with its boxes from the smallest to the largest."""
    for name, products in step.inputs.items():
        boxes = list(step.task.reads(name, box, step.layout))
        for product in products if boxes else ():
            yield product, boxes


def _memory(step: Step, cell: Box, read: int, written: int) -> int:
    """One cell is read while one is mapped, and one either waits for that, read already, or is written.
    Where no voxels are read, those that are made are worked on."""
    voxels = read // max(_main_voxel_bytes(step), 1) if read else cell.voxels if written else 0
    working = step.task.memory(step.layout, cell, voxels)
    return BASE_BYTES + 2 * read + working + max(read, 2 * written + _shard_bytes(step, cell))


def _shard_bytes(step: Step, cell: Box) -> int:
    """What one shard takes while it is put together: its chunks in a row, a copy of these,
    and the file. Labels that are compressed take next to nothing; other files are written as they are
    encoded."""
    found = [0]
    for _, product in step.layer_outputs:
        layer = product.voxels
        is_small = isinstance(layer, LabelsInfo) and layer.compressed
        if layer.sharded and layer.encoding == "raw" and not is_small:
            found.append(3 * min(prod(layer.write_block), cell.voxels) * layer.bytes_per_voxel)
    return max(found)


def _main_voxel_bytes(step: Step) -> int:
    """Bytes of a voxel of the first layer that is read."""
    read = (product.info for products in step.inputs.values() for product in products)
    return next((info.bytes_per_voxel for info in read if isinstance(info, VoxelsInfo)), 1)


def _read_bytes(step: Step, box: Box) -> tuple[int, int, float]:
    """Bytes of the first and of the largest read of a cell, and the latter in sizes of the cell."""
    first = most = 0
    factor = 1.0
    space = next((p.info for p in step.outputs.values()), step.layout.main)
    for product, boxes in _reads(step, box):
        if not isinstance(product.info, VoxelsInfo):
            continue
        low, high = (b.clip(product.info.bounds).voxels for b in (boxes[0], boxes[-1]))
        first += low * product.info.bytes_per_voxel
        most += high * product.info.bytes_per_voxel
        if product.info.voxel_size == space.voxel_size:
            factor = max(factor, high / max(box.voxels, 1))
    if not step.inputs:
        most = first = 0
    return first, most, factor
