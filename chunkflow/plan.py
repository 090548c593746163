"""A plan: the steps of a job bound to their layers, and the stages that they consist of.

1. Every task is expanded into steps, and every field that names a layer is bound to a product: a layer at
   a mip, a table, or a folder of files, that exists already or that an earlier step makes.
2. For a run on a part (`box`), going backwards: what each step must make so that all later ones can read
   what they ask for. So the part's voxels are those of the whole run.
3. Each step becomes stages: prepare, map, merge up a tree of 2x2x2 blocks, finish; each stage knows which
   cells of which others it waits for, from the boxes that they read and write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.job import Job, split_reference
from chunkflow.stages import Stage, Wait, wait_for, wait_for_all, wait_for_offset
from chunkflow.task import ROLE_OF_KIND, FieldRole, Layout, RoleKind, Task
from chunkflow.volume import LayerInfo

Describe = Callable[[str, int, RoleKind], LayerInfo]
"""What exists at a URL and mip: asked for every input that the job does not make."""
Key = tuple[str, int]


@dataclass(frozen=True)
class Product:
    """A layer at one mip, a table or a folder of files."""

    name: str
    mip: int
    info: LayerInfo
    maker: int | None
    """The step that makes it; None for what was there before."""


@dataclass(frozen=True)
class Step:
    """One task (or one part of a composite task) bound to its layers."""

    index: int
    name: str
    entry: str
    """The task of the job file that this step belongs to."""
    task: Task
    layout: Layout
    inputs: dict[str, tuple[Product, ...]]
    outputs: dict[str, Product]
    region: Box
    grid: Grid
    volume: Box

    @property
    def layer_outputs(self) -> list[tuple[str, Product]]:
        return [(field, p) for field, p in self.outputs.items() if p.info.kind in ("image", "segmentation")]

    @property
    def leaves_parts(self) -> bool:
        """Whether its cells leave parts: rows, or the names of files."""
        return self.task.has_rows or any(p.info.kind == "folder" for p in self.outputs.values())

    @property
    def rows_are_final_early(self) -> bool:
        """Whether an object that crosses no face of a block is known to have no piece elsewhere.

        That is so of rows found in connected labels; rows made from a table are whatever their task says.
        """
        first = [products[0].info for products in self.inputs.values() if products]
        return any(info.connected for info in first if info.kind == "segmentation")

    @property
    def finish_grid(self) -> Grid:
        """The cells of space by whose naming voxels complete rows are filed."""
        table = next((p.info for p in self.outputs.values() if p.info.kind == "table"), None)
        if not self.rows_are_final_early:
            return Grid.whole(self.region)
        cell = table.cell if table and table.cell else finish_cell(self.grid.cell)
        return Grid(self.region, cell, self.volume.start)


def finish_cell(cell: Vec) -> Vec:
    """A cube with a power of two as its side, of a few chunks: a range of ids, as ids are Morton codes."""
    side = 1 << (4 * max(cell) - 1).bit_length()
    return side, side, side


@dataclass(frozen=True)
class Plan:
    """All steps and stages of a job."""

    job: Job
    box: Box | None
    work: str
    chunk: Vec
    steps: tuple[Step, ...]
    stages: tuple[Stage, ...]
    products: dict[Key, Product]
    mask: LayerInfo | None = None

    def stage_index(self, name: str) -> int:
        for index, stage in enumerate(self.stages):
            if stage.name == name:
                return index
        known = ", ".join(stage.name for stage in self.stages)
        raise BadInput(f"This job has no task {name!r}; it has {known}.")

    def step_of(self, stage: int) -> Step:
        return self.steps[self.stages[stage].step]

    def stages_of(self, step: int, kind: str) -> list[int]:
        return [i for i, stage in enumerate(self.stages) if stage.step == step and stage.kind == kind]

    def made_layers(self) -> dict[str, list[Product]]:
        """The image and label layers that this job makes, with their mips in order."""
        layers: dict[str, list[Product]] = {}
        for product in self.products.values():
            if product.maker is not None and product.info.kind in ("image", "segmentation"):
                layers.setdefault(product.name, []).append(product)
        return {name: sorted(mips, key=lambda p: p.mip) for name, mips in layers.items()}

    def made_others(self) -> list[Product]:
        """The tables and folders of files that this job makes."""
        return [
            product
            for product in self.products.values()
            if product.maker is not None and product.info.kind in ("table", "folder")
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
    def of(cls, job: Job, describe: Describe, box: Box | None, chunk: Vec) -> Plan:
        """Bind a job to what exists, refusing what cannot work."""
        work = job.work if box is None else f"{job.work}/try/{box}"
        whole = _Binder(job, describe, work, chunk, None).bind()
        steps, products = whole.steps, whole.products
        if box is not None:
            regions = _regions(steps, products, box)
            part = _Binder(job, describe, work, chunk, regions).bind()
            steps, products = part.steps, part.products
        mask = None
        if job.mask is not None:
            name, mip = split_reference(job.mask)
            mask = whole.external(name, mip, "layer").info
        return cls(job, box, work, chunk, tuple(steps), tuple(_stages(steps)), products, mask)


class _Binder:
    """Binds the fields of all steps, in the order of the job."""

    def __init__(
        self, job: Job, describe: Describe, work: str, chunk: Vec, regions: list[Box] | None
    ) -> None:
        self.job, self.describe, self.work, self.chunk, self.regions = job, describe, work, chunk, regions
        self.steps: list[Step] = []
        self.products: dict[Key, Product] = {}

    def bind(self) -> _Binder:
        for entry in self.job.tasks:
            task = entry.load()
            inputs = {
                role.name: self._inputs(entry.name, role, task) for role in task.roles() if not role.output
            }
            layers = {f: tuple(p.info for p in ps) for f, ps in inputs.items() if ps}
            for part, step_task in task.expand(Layout(layers, self.chunk, self.job.storage)):
                self._bind_step(f"{entry.name}/{part}" if part else entry.name, entry.name, step_task)
        return self

    def _bind_step(self, name: str, entry: str, task: Task) -> None:
        inputs = {role.name: self._inputs(name, role, task) for role in task.roles() if not role.output}
        inputs = {field: products for field, products in inputs.items() if products}
        layers = {field: tuple(p.info for p in products) for field, products in inputs.items()}
        _check_alike(name, task, inputs)
        layout = Layout(layers, self.chunk, self.job.storage)
        described = task.outputs(layout)
        index = len(self.steps)
        space = next(iter(described.values()), None) or layout.main
        region = space.volume if self.regions is None else self.regions[index].clip(space.volume)
        outputs = {
            role.name: self._output(name, index, role, task, described[role.name], inputs, region)
            for role in task.roles()
            if role.output and role.name in described
        }
        layout = Layout(
            {**layers, **{field: (product.info,) for field, product in outputs.items()}},
            self.chunk,
            self.job.storage,
        )
        grid = task.grid(layout, region)
        step = Step(index, name, entry, task, layout, inputs, outputs, region, grid, space.volume)
        self._check_aligned(step)
        self.steps.append(step)
        for product in outputs.values():
            self.products[product.name, product.mip] = product

    def _inputs(self, step: str, role: FieldRole, task: Task) -> tuple[Product, ...]:
        value = getattr(task, role.name)
        references = value if role.many else [value] if value else []
        return tuple(self._input(step, role, reference) for reference in references)

    def _input(self, step: str, role: FieldRole, reference: str) -> Product:
        name, mip = split_reference(reference)
        product = self.products.get((name, mip)) or self.external(name, mip, role.kind)
        if product.info.kind not in ROLE_OF_KIND[role.kind]:
            raise BadInput(
                f"Task {step}: {role.name} must be {_a(role.kind)}, but {reference} is {_a(product.info.kind)}."
            )
        return product

    def external(self, name: str, mip: int, kind: RoleKind) -> Product:
        """What the job only reads."""
        made = sorted(m for n, m in self.products if n == name and self.products[n, m].maker is not None)
        if made:
            raise BadInput(f"The job makes {name} at mip {made}, not at mip {mip}.")
        entry = self.job.layers.get(name)
        if entry is None:
            known = ", ".join(self.job.layers) or "none"
            raise BadInput(f"No layer is named {name!r} in the job, nor made by an earlier task; layers: {known}.")
        product = Product(name, mip, self.describe(entry.url, mip, kind), None)
        self.products[name, mip] = product
        return product

    def _output(
        self,
        step: str,
        index: int,
        role: FieldRole,
        task: Task,
        described: LayerInfo,
        inputs: dict[str, tuple[Product, ...]],
        region: Box,
    ) -> Product:
        name, mip = split_reference(getattr(task, role.name) or self._default_name(step, role, inputs))
        for (other, level), product in self.products.items():
            if (other, level) == (name, mip) and product.maker is not None:
                raise BadInput(f"Task {step}: {name} is written already by {self.steps[product.maker].name}.")
            if other == name and product.maker is None:
                raise BadInput(
                    f"Task {step} would write {name}, which this job reads; name a layer of its own for it."
                )
        entry = self.job.layers.get(name)
        info = described.model_copy(
            update={
                "url": self._url(step, role, name),
                "mip": mip,
                "bounds": region,
                "storage": self.job.storage,
                "encoding": (entry and entry.encoding) or described.encoding,
                "connected": described.connected and self.job.mask is None,
            }
        )
        if info.kind == "table" and info.connected and info.cell is None:
            info = info.model_copy(update={"cell": finish_cell(self.chunk)})
        return Product(name, mip, info, index)

    def _default_name(self, step: str, role: FieldRole, inputs: dict[str, tuple[Product, ...]]) -> str:
        if role.kind == "table":
            return role.name
        if role.kind == "meshes":
            labels = next(iter(inputs.values()))[0]
            if labels.maker is not None:
                return f"{labels.name}/mesh"
            raise BadInput(
                f"Task {step}: name a folder for {role.name}; {labels.name} is an input, into which nothing is written."
            )
        raise BadInput(f"Task {step}: {role.name} must name a layer of the job.")

    def _url(self, step: str, role: FieldRole, name: str) -> str:
        if role.kind == "table" and name not in self.job.layers:
            return f"{self.work}/tables/{name}"
        base, _, below = name.partition("/")
        entry = self.job.layers.get(base)
        if entry is None:
            raise BadInput(f"Task {step}: {role.name} names {name!r}, which is not among the job's layers.")
        if self.work == self.job.work:
            return entry.url + (f"/{below}" if below else "")
        return f"{self.work}/layers/{name}"

    def _check_aligned(self, step: Step) -> None:
        """A cell may only be written as whole storage chunks."""
        if not step.layer_outputs:
            return
        cell, storage = step.grid.cell, self.job.storage
        if step.grid.anchor != step.region.start or any(c % s for c, s in zip(cell, storage, strict=True)):
            down = [max(c // s, 1) * s for c, s in zip(cell, storage, strict=True)]
            up = [-(-c // s) * s for c, s in zip(cell, storage, strict=True)]
            raise BadInput(
                f"Task {step.name}: chunks of {list(cell)} are not whole storage chunks of {list(storage)}; "
                f"the nearest sizes that work are {down} and {up}."
            )


def _a(kind: str) -> str:
    return {"image": "an image", "labels": "labels", "segmentation": "labels"}.get(kind, f"a {kind}")


def _check_alike(step: str, task: Task, inputs: dict[str, tuple[Product, ...]]) -> None:
    """Layers that are read by the same box must be of the same voxels."""
    if type(task).reads is not Task.reads:
        return
    layers = [p for products in inputs.values() for p in products if p.info.kind in ("image", "segmentation")]
    for product in layers[1:]:
        first = layers[0]
        if product.info.voxel_size != first.info.voxel_size or product.info.volume != first.info.volume:
            raise BadInput(
                f"Task {step}: {product.name} ({product.info.volume}, voxels of {product.info.voxel_size} nm) and "
                f"{first.name} ({first.info.volume}, {first.info.voxel_size} nm) do not cover the same voxels; "
                "choose mips that match, as in name@1."
            )


def _regions(steps: list[Step], products: dict[Key, Product], box: Box) -> list[Box]:
    """What each step must make for a run on `box` (voxels of mip 0 of the first layer read)."""
    reference = next((p.info for p in products.values() if p.maker is None), steps[0].layout.main)
    if not box.meets(reference.volume):
        raise BadInput(f"The box {box} lies outside the volume {reference.volume}.")
    regions = []
    for step in steps:
        size = next((p.info for p in step.outputs.values()), step.layout.main).voxel_size
        factor = vec(max(round(a / b), 1) for a, b in zip(size, reference.voxel_size, strict=True))
        regions.append(box.coarsen(factor).clip(step.volume))
    for step in reversed(steps):
        sampled = step.task.samples(step.layout) if step.task.has_prepare else []
        for field, used in step.inputs.items():
            boxes = list(step.task.reads(field, regions[step.index], step.layout))[-1:]
            boxes += [sample for name, sample in sampled if name == field]
            for product in used:
                if product.maker is not None:
                    for need in boxes:
                        clipped = need.clip(product.info.volume)
                        regions[product.maker] = _around(regions[product.maker], clipped)
    return regions


def _around(a: Box, b: Box) -> Box:
    start = vec(min(p, q) for p, q in zip(a.start, b.start, strict=True))
    return Box(start, vec(max(p, q) for p, q in zip(a.stop, b.stop, strict=True)))


def _stages(steps: list[Step]) -> list[Stage]:
    """The stages of all steps, those that are waited for before those that wait."""
    stages: list[Stage] = []
    last: dict[int, int] = {}  # the stage of each step that makes its layers (map) or its table (finish)
    maps: dict[int, int] = {}
    for step in steps:
        waits: list[Wait] = []
        if step.task.has_prepare:
            stages.append(_prepare_stage(step, maps, last, stages))
            waits.append(wait_for_all(step.grid, len(stages) - 1, stages[-1].grid))
        waits += _input_waits(step, maps, last, stages)
        own = len(stages)
        waits += [wait_for_offset(step.grid, own, offset) for offset in step.task.after]
        stages.append(Stage(step.index, step.name, "map", 0, step.grid, tuple(waits)))
        maps[step.index] = last[step.index] = own
        if step.task.has_rows:
            stages += _tree(step, own)
            last[step.index] = len(stages) - 1
    return stages


def _tree(step: Step, map_stage: int) -> list[Stage]:
    """The levels of merging above a map, and the finish."""
    stages: list[Stage] = []
    grid, below, level = step.grid, map_stage, 0
    while len(grid) > 1:
        coarse = grid.coarser()
        level += 1
        wait = wait_for(coarse, below, grid, lambda box: box)
        stages.append(Stage(step.index, step.name, "merge", level, coarse, (wait,)))
        grid, below = coarse, map_stage + level
    finish = step.finish_grid
    stages.append(Stage(step.index, step.name, "finish", 0, finish, (wait_for_all(finish, below, grid),)))
    return stages


def _maker_stage(product: Product, maps: dict[int, int], last: dict[int, int]) -> int:
    """The stage whose cells write a product: map for layers, finish for tables."""
    assert product.maker is not None
    return maps[product.maker] if product.info.kind in ("image", "segmentation") else last[product.maker]


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
            sparing = first and product.info.kind == "segmentation"
            waits.append(wait_for(step.grid, stage, stages[stage].grid, need, sparing))
            first = False
    return waits


def _prepare_stage(step: Step, maps: dict[int, int], last: dict[int, int], stages: list[Stage]) -> Stage:
    """One cell that waits for all that the samples meet."""
    grid = Grid.whole(step.region)
    waits = []
    for field, box in step.task.samples(step.layout):
        for product in step.inputs.get(field, ())[:1]:
            if product.maker is not None:
                stage = _maker_stage(product, maps, last)

                def need(_: Box, box: Box = box) -> Box:
                    return box

                waits.append(wait_for(grid, stage, stages[stage].grid, need))
    return Stage(step.index, step.name, "prepare", 0, grid, tuple(waits))


def spec_of(plan: Plan) -> dict[str, Any]:
    """All that a worker needs to build the same plan: plain JSON, no code."""
    external = [
        {"name": p.name, "mip": p.mip, "info": p.info.model_dump(mode="json")}
        for p in plan.products.values()
        if p.maker is None
    ]
    if plan.mask is not None and plan.job.mask is not None:
        name, mip = split_reference(plan.job.mask)
        external.append({"name": name, "mip": mip, "info": plan.mask.model_dump(mode="json")})
    return {
        "job": plan.job.model_dump(mode="json"),
        "box": str(plan.box) if plan.box else None,
        "chunk": list(plan.chunk),
        "layers": external,
    }


def plan_of_spec(spec: dict[str, Any]) -> Plan:
    """The inverse of `spec_of`."""
    infos = {(e["info"]["url"], e["mip"]): LayerInfo.model_validate(e["info"]) for e in spec["layers"]}
    box = Box.parse(spec["box"]) if spec["box"] else None
    return Plan.of(
        Job.model_validate(spec["job"]),
        lambda url, mip, kind: infos[url, mip],
        box,
        vec(spec["chunk"]),
    )
