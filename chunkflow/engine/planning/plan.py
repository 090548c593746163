"""A plan: the steps of a job bound to their layers, and the stages that they consist of.

1. Tasks are bound to layers (binding.py): each becomes one step, or several.
2. Each step becomes stages: prepare, map, and those that its task's shape asks for, as merge up a tree of
   2x2x2 blocks and finish; each stage knows which cells of which others it waits for, from the boxes that
   they read and write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isclose

from chunkflow.data.info import LabelsInfo, VoxelsInfo
from chunkflow.engine.planning.binding import Binder
from chunkflow.engine.planning.job import Job, split_reference
from chunkflow.engine.planning.planned_shapes import planned
from chunkflow.engine.planning.regions import regions_for
from chunkflow.engine.planning.spec import ExternalLayer, PlanSpec
from chunkflow.engine.planning.stages import Stage, Wait, wait_for, wait_for_all, wait_for_offset
from chunkflow.engine.planning.steps import CellSizes, Key
from chunkflow.engine.planning.steps import Describe as Describe
from chunkflow.engine.planning.steps import Product as Product
from chunkflow.engine.planning.steps import Step as Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, VoxelSize, ratios
from chunkflow.modules import Modules
from chunkflow.resources import Resources


@dataclass(frozen=True)
class Plan:
    """All steps and stages of a job."""

    job: Job
    box: Box | None
    work: str
    sizes: CellSizes
    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    products: dict[Key, Product]
    mask: VoxelsInfo | None = None
    worker_kinds: tuple[Resources, ...] = (Resources(),)
    """What the workers take; the first does what is no task's own: merging, finishing."""

    @property
    def chunk(self) -> Vec:
        """The size of the job's chunks."""
        return self.sizes.chunk

    def stage_index(self, name: str) -> int:
        for index, stage in enumerate(self.stages):
            if stage.name == name:
                return index
        known = ", ".join(stage.name for stage in self.stages)
        raise BadInput(f"This job has no task {name!r}; it has {known}.")

    def stages_of(self, step: int, kind: str) -> list[int]:
        return [i for i, stage in enumerate(self.stages) if stage.step == step and stage.kind == kind]

    def made_layers(self) -> dict[str, list[Product]]:
        """The image and label layers that this job makes, with their mips in order."""
        layers: dict[str, list[Product]] = {}
        for product in self.products.values():
            if product.maker is not None and isinstance(product.info, VoxelsInfo):
                layers.setdefault(product.name, []).append(product)
        return {name: sorted(mips, key=lambda p: p.mip) for name, mips in layers.items()}

    def made_others(self) -> list[Product]:
        """The tables and folders of files that this job makes."""
        return [
            product
            for product in self.products.values()
            if product.maker is not None and not isinstance(product.info, VoxelsInfo)
        ]

    def after(self, entry: str) -> set[int]:
        """The steps of a task, and all steps that read what they make, near or far."""
        cleared = {step.index for step in self.steps if step.entry == entry}
        for step in self.steps:
            makers = {p.maker for products in step.inputs.values() for p in products}
            if makers & cleared:
                cleared.add(step.index)
        return cleared

    @classmethod
    def of(
        cls,
        job: Job,
        describe: Describe,
        box: Box | None,
        chunk: Vec,
        own: Mapping[str, Vec] | None = None,
    ) -> Plan:
        """Bind a job to what exists, refusing what cannot work.

        `own` are the sizes of cells of steps that do not go by the job's chunks.
        """
        sizes = CellSizes(chunk, own or {})
        work = job.work_for(box)
        whole = Binder(job, describe, work, sizes, None).bind()
        steps, products = whole.steps, whole.products
        if box is not None:
            regions = regions_for(steps, whole.reference(), box)
            part = Binder(job, describe, work, sizes, regions).bind()
            part.reference()  # also a worker that builds this plan must know it
            steps, products = part.steps, part.products
        mask = None
        if job.mask is not None:
            name, mip = split_reference(job.mask)
            mask = whole.external(name, mip, "layer").voxels
            _check_mask(mask, steps)
        kinds = _worker_kinds(job, steps)
        stages = [_with_kind(stage, steps, kinds) for stage in _stages(steps)]
        return cls(job, box, work, sizes, tuple(steps), tuple(stages), products, mask, kinds)


def _worker_kinds(job: Job, steps: list[Step]) -> tuple[Resources, ...]:
    """The plain worker, and each other set of resources that a task asks for."""
    names = [entry.name for entry in job.tasks]
    for name in job.resources:
        if name not in names:
            raise BadInput(f"resources names {name}, but this job's tasks are {', '.join(names)}.")
    return tuple(dict.fromkeys([Resources(), *(step.layout.resources for step in steps)]))


def _with_kind(stage: Stage, steps: list[Step], kinds: tuple[Resources, ...]) -> Stage:
    """Only what calls the task on voxels takes what the task asks for."""
    if stage.kind not in ("prepare", "map"):
        return stage
    return replace(stage, worker_kind=kinds.index(steps[stage.step].layout.resources))


def _check_mask(mask: VoxelsInfo, steps: list[Step]) -> None:
    """A voxel of the mask must be a whole number of those that it masks, or the other way round."""
    if mask.channels != 1:
        raise BadInput(f"The mask {mask.url} has {mask.channels} channels; it must have one.")
    for step in filter(lambda step: step.is_masked, steps):
        used = [p.info for products in step.inputs.values() for p in products if p.maker is None]
        for info in used + [p.info for p in step.outputs.values()]:
            larger, smaller = ratios(mask.voxel_size, info.voxel_size)
            for m, v, up, down in zip(mask.voxel_size, info.voxel_size, larger, smaller, strict=True):
                if not isclose(m * down, v * up, rel_tol=1e-6):
                    raise BadInput(
                        f"Task {step.name} works on voxels of {_nm(info.voxel_size)}, and the mask's are of "
                        f"{_nm(mask.voxel_size)}: on each axis one must be a whole number of the other."
                    )


def _nm(voxel_size: VoxelSize) -> str:
    return " x ".join(f"{size:g}" for size in voxel_size) + " nm"


def _stages(steps: list[Step]) -> list[Stage]:
    """The stages of all steps, those that are waited for before those that wait."""
    stages: list[Stage] = []
    last: dict[int, int] = {}  # the stage of each step that makes its layers (map) or its table (finish)
    maps: dict[int, int] = {}
    for step in steps:
        waits: list[Wait] = []
        if step.task.prepare is not None:
            stages.append(_prepare_stage(step, maps, last, stages))
            waits.append(wait_for_all(step.grid, len(stages) - 1, stages[-1].grid))
        waits += _input_waits(step, maps, last, stages)
        own = len(stages)
        waits += [wait_for_offset(step.grid, own, offset) for offset in step.task.after]
        stages.append(Stage(step.index, step.name, "map", 0, step.grid, tuple(waits)))
        maps[step.index] = own
        stages += planned(step.shape).after_map(step, own)
        last[step.index] = len(stages) - 1
    return stages


def _maker_stage(product: Product, maps: dict[int, int], last: dict[int, int]) -> int:
    """The stage whose cells write a product: map for layers, finish for tables."""
    assert product.maker is not None
    return (maps if isinstance(product.info, VoxelsInfo) else last)[product.maker]


def _input_waits(step: Step, maps: dict[int, int], last: dict[int, int], stages: list[Stage]) -> list[Wait]:
    waits = []
    first = True
    for field, products in step.inputs.items():
        for product in products:
            if product.maker is None:
                first = False
                continue
            if not step.task.reads(field, step.grid.box(0), step.layout):
                continue

            def need(box: Box, field: str = field) -> Box:
                return list(step.task.reads(field, box, step.layout))[-1]

            stage = _maker_stage(product, maps, last)
            spared = step.task.empty_from_empty and first and isinstance(product.info, LabelsInfo)
            waits.append(wait_for(step.grid, stage, stages[stage].grid, need, spared))
            first = False
    return waits


def _prepare_stage(step: Step, maps: dict[int, int], last: dict[int, int], stages: list[Stage]) -> Stage:
    """One cell that waits for all that the samples meet."""
    grid = Grid.whole(step.region)
    waits = []
    for field, box in step.task.samples(step.layout):
        for product in step.inputs.get(field, ()):
            if product.maker is not None:
                stage = _maker_stage(product, maps, last)

                def need(_: Box, box: Box = box) -> Box:
                    return box

                waits.append(wait_for(grid, stage, stages[stage].grid, need))
    return Stage(step.index, step.name, "prepare", 0, grid, tuple(waits))


def spec_of(plan: Plan) -> PlanSpec:
    """All that a worker needs to build the same plan."""
    external = [
        ExternalLayer(name=p.name, mip=p.mip, info=p.info) for p in plan.products.values() if p.maker is None
    ]
    if plan.mask is not None and plan.job.mask is not None:
        name, mip = split_reference(plan.job.mask)
        external.append(ExternalLayer(name=name, mip=mip, info=plan.mask))
    return PlanSpec(job=plan.job, box=plan.box, chunk=plan.chunk, cells=dict(plan.sizes.own), layers=external)


def plan_of_spec(spec: PlanSpec, modules: Modules) -> Plan:
    """The inverse of `spec_of`, where the user's own tasks are in `modules`."""
    infos = {(layer.info.url, layer.mip): layer.info for layer in spec.layers}
    return Plan.of(
        spec.job.beside(modules), lambda url, mip, kind: infos[url, mip], spec.box, spec.chunk, spec.cells
    )
