"""Binding: every field of a task that names a layer is held against what exists or what the job makes.

1. Every task is expanded into steps, in the order of the job.
2. A field that names an input is bound to what an earlier step makes, else to what exists already.
3. A field that names an output becomes a product of the step; nothing that is read is ever written.
4. For a run on a part, the steps are bound again, to products that cover just what regions.py finds for it.
"""

from __future__ import annotations

from chunkflow.data.encodings import refuse_encoding
from chunkflow.data.info import LabelsInfo, LayerInfo, LayerKind, RoleKind, TableInfo, VoxelsInfo
from chunkflow.data.sharded import MOST_FILES, file_count
from chunkflow.engine.planning.job import NAME, Job, split_reference
from chunkflow.engine.planning.planned_shapes import planned
from chunkflow.engine.planning.steps import CellSizes, Describe, Key, Product, Step
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.roles import INFO_OF_ROLE, FieldRole
from chunkflow.shapes import RowByRow, Voxels
from chunkflow.task import Layout, Task


class NotAligned(BadInput):
    """The job's chunks do not consist of whole write blocks."""

    def __init__(self, text: str, write_block: Vec) -> None:
        super().__init__(text)
        self.write_block = write_block


class Binder:
    """Binds the fields of all steps, in the order of the job."""

    def __init__(
        self,
        job: Job,
        describe: Describe,
        work: str,
        sizes: CellSizes,
        regions: list[Box] | None,
    ) -> None:
        self.job, self.describe, self.work, self.sizes, self.regions = job, describe, work, sizes, regions
        self.steps: list[Step] = []
        self.products: dict[Key, Product] = {}

    def bind(self) -> Binder:
        for entry in self.job.tasks:
            task = entry.load(self.job.modules)
            inputs = {
                role.name: self._inputs(entry.name, role, task) for role in task.roles() if not role.output
            }
            layers = {f: tuple(p.info for p in ps) for f, ps in inputs.items() if ps}
            for part, step_task in task.expand(Layout(layers, self.sizes.chunk, self.job.storage)):
                self._bind_step(f"{entry.name}/{part}" if part else entry.name, entry.name, step_task)
        return self

    def _bind_step(self, name: str, entry: str, task: Task) -> None:
        inputs = {role.name: self._inputs(name, role, task) for role in task.roles() if not role.output}
        inputs = {field: products for field, products in inputs.items() if products}
        layers = {field: tuple(p.info for p in products) for field, products in inputs.items()}
        _check_alike(name, task, inputs)
        made = frozenset(f for f, products in inputs.items() if any(p.maker is not None for p in products))
        resources = self.job.resources.get(entry, task.resources)
        layout = Layout(layers, self.sizes.of(name), self.job.storage, made, resources, self.job.modules.load)
        described = task.outputs(layout)
        _check_task(name, task, {info.kind for info in described.values()})
        index = len(self.steps)
        space = next(iter(described.values()), None) or layout.main
        # A table may have been made by a run on a part: there are no rows, and no files, beyond it.
        whole = layout.main.bounds if task.shape.row_by_row else space.volume
        region = whole if self.regions is None else self.regions[index].clip(whole)
        if region.empty:
            raise BadInput(f"Task {name} has nothing to do here: the table that it reads covers {whole}.")
        outputs = {
            role.name: self._output(name, index, role, task, described[role.name], inputs, region)
            for role in task.roles()
            if role.output and role.name in described
        }
        written = (p.info for p in outputs.values() if isinstance(p.info, VoxelsInfo))
        layout = Layout(
            {**layers, **{field: (product.info,) for field, product in outputs.items()}},
            layout.chunk,
            next((voxels.write_block for voxels in written if voxels.sharded), self.job.storage),
            made,
            resources,
            layout.load,
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
        if not isinstance(product.info, INFO_OF_ROLE[role.kind]):
            raise BadInput(
                f"Task {step}: {role.name} must be {_a(role.kind)}, "
                f"but {reference} is {_a(product.info.kind)}."
            )
        return product

    def reference(self) -> LayerInfo:
        """The layer in whose voxels a part to run on is told: mip 0 of the first that is read, or else the
        first that is made."""
        first = next((product for product in self.products.values() if product.maker is None), None)
        if first is None:
            infos = (product.info for product in self.products.values())
            made = next((info for info in infos if isinstance(info, VoxelsInfo)), None)
            return made or self.steps[0].layout.main
        if first.mip == 0 or isinstance(first.info, TableInfo):
            return first.info
        return self.external(first.name, 0, "layer").info

    def external(self, name: str, mip: int, kind: RoleKind) -> Product:
        """What the job only reads."""
        made = sorted(m for n, m in self.products if n == name and self.products[n, m].maker is not None)
        if made:
            raise BadInput(f"The job makes {name} at mip {made}, not at mip {mip}.")
        entry = self.job.layers.get(name)
        if entry is None:
            known = ", ".join(self.job.layers) or "none"
            raise BadInput(
                f"No layer is named {name!r} in the job, nor made by an earlier task; layers: {known}."
            )
        for other in self.products.values():
            if other.maker is not None:
                _check_apart(self.steps[other.maker].name, other.name, other.info.url, name, entry.url)
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
        fitting = INFO_OF_ROLE[role.kind]
        if not isinstance(described, fitting):
            names = " or ".join(made.__name__ for made in fitting)
            raise BadInput(
                f"Task {step}: its outputs must describe {role.name} by {names}, "
                f"not by {type(described).__name__}."
            )
        name, mip = split_reference(getattr(task, role.name) or self._default_name(step, role, inputs))
        for (other, level), product in self.products.items():
            if (other, level) == (name, mip) and product.maker is not None:
                raise BadInput(f"Task {step}: {name} is written already by {self.steps[product.maker].name}.")
            if other == name and product.maker is None:
                raise BadInput(
                    f"Task {step} would write {name}, which this job reads; name a layer of its own for it."
                )
        info = described.model_copy(update={"url": self._url(step, role, name), "bounds": region})
        self._check_place(step, name, info)
        if isinstance(info, VoxelsInfo):
            info = self._stored(name, mip, info)
        elif isinstance(info, TableInfo):
            info = info.model_copy(update=planned(task.shape).filing(inputs, self.sizes.chunk))
        return Product(name, mip, info, index)

    def _stored(self, name: str, mip: int, info: VoxelsInfo) -> VoxelsInfo:
        """A layer as the job stores it."""
        entry = self.job.layers.get(name)
        encoding = (entry and entry.encoding) or info.encoding
        stored = {"storage": self.job.storage, "encoding": encoding, "sharded": self._is_sharded(name, info)}
        info = info.model_copy(update={"mip": mip, **stored})
        refuse_encoding(name, info)
        if isinstance(info, LabelsInfo) and self.job.mask is not None:  # which may cut objects in two
            return info.model_copy(update={"connected": False})
        return info

    def _is_sharded(self, name: str, info: VoxelsInfo) -> bool:
        entry = self.job.layers.get(name)
        if entry is not None and entry.sharded is not None:
            return entry.sharded
        return file_count(info.volume, self.job.storage, sharded=False) > MOST_FILES

    def _check_place(self, step: str, name: str, info: LayerInfo) -> None:
        """Two names of one place would let a task write what another reads or writes."""
        for product in self.products.values():
            if product.name != name and product.info.url == info.url:
                raise BadInput(
                    f"Task {step} would write {name}, but {product.name} lies in the same place ({info.url})."
                )
            if product.maker is None:
                _check_apart(step, name, info.url, product.name, product.info.url)

    def _default_name(self, step: str, role: FieldRole, inputs: dict[str, tuple[Product, ...]]) -> str:
        if role.kind == "table":
            return role.name
        if role.kind == "report":
            return f"{step.partition('/')[0]}.report"
        if role.in_work:
            return f"{step.partition('/')[0]}.{role.name}"
        if role.kind == "meshes":
            labels = next(iter(inputs.values()))[0]
            if labels.maker is not None:
                return f"{labels.name}/mesh"
            raise BadInput(
                f"Task {step}: name a folder for {role.name}; {labels.name} is an input, "
                "into which nothing is written."
            )
        raise BadInput(f"Task {step}: {role.name} must name a layer of the job.")

    def _url(self, step: str, role: FieldRole, name: str) -> str:
        if role.kind == "table" and name not in self.job.layers:
            return f"{self.work}/tables/{name}"
        if role.kind == "report" and name not in self.job.layers:
            return f"{self.work}/reports/{name.removesuffix('.report')}"
        if role.in_work and NAME.fullmatch(name) and name not in self.job.layers:
            return f"{self.work}/layers/{name}"
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
        cell, write_block = step.grid.cell, step.layout.storage
        if step.grid.anchor != step.region.start or any(
            c % n for c, n in zip(cell, write_block, strict=True)
        ):
            down = [max(c // n, 1) * n for c, n in zip(cell, write_block, strict=True)]
            up = [-(-c // n) * n for c, n in zip(cell, write_block, strict=True)]
            what = "storage chunks" if write_block == self.job.storage else "shards"
            small = (
                ""
                if write_block == self.job.storage
                else " (`sharded: false` makes a file of each storage chunk)"
            )
            raise NotAligned(
                f"Task {step.name}: chunks of {list(cell)} are not whole {what} of {list(write_block)}; "
                f"the nearest {'size that works is' if up == down else f'sizes that work are {down} and'} "
                f"{up}{small}.",
                write_block,
            )


def _a(kind: str) -> str:
    return {"image": "an image", "labels": "labels", "segmentation": "labels"}.get(kind, f"a {kind}")


def _check_apart(step: str, name: str, url: str, read: str, read_url: str) -> None:
    """Nothing is written into the folder of what is only read, nor around it."""
    if f"{url}/".startswith(f"{read_url}/") or f"{read_url}/".startswith(f"{url}/"):
        raise BadInput(
            f"Task {step} would write {name} ({url}), but {read}, which this job only reads, lies at "
            f"{read_url}: name a folder apart from it."
        )


def _check_task(step: str, task: Task, made: set[LayerKind]) -> None:
    """Refuse a task without `map`, or whose shape does not fit what it makes."""
    if not hasattr(task, "map"):
        raise BadInput(f"Task {step}: the class {type(task).__name__} must define map.")
    match task.shape:
        case Voxels() if "table" in made:
            raise BadInput(
                f"Task {step} has a table as its output, so its class must declare what becomes of its rows, "
                "as in `shape = MergedRows()`."
            )
        case RowByRow() if made != {"table"}:
            raise BadInput(
                f"Task {step} goes row by row and makes more than a table, so its class must declare how its "
                "rows come together, as in `shape = MergedRows(row_by_row=True)`."
            )


def _check_alike(step: str, task: Task, inputs: dict[str, tuple[Product, ...]]) -> None:
    """Layers that are read by the same box must be of the same voxels."""
    if not task.same_voxels:
        return
    layers = [p for products in inputs.values() for p in products if isinstance(p.info, VoxelsInfo)]
    for product in layers[1:]:
        first = layers[0]
        if product.info.voxel_size != first.info.voxel_size or product.info.volume != first.info.volume:
            raise BadInput(
                f"Task {step}: {product.name} ({product.info.volume}, {product.info.voxel_size} nm) and "
                f"{first.name} ({first.info.volume}, {first.info.voxel_size} nm) do not cover the same "
                "voxels; choose mips that match, as in name@1."
            )
