"""A task: what the author of an operation writes; the engine does everything else.

A task is strict data (the job file's parameters) and pure functions of chunks. What the engine asks of it,
in this order:

1. `expand`   the steps that the task consists of (mips, sorting then writing); most tasks are one step
2. `outputs`  what layers and tables it makes: bounds, voxel size, dtype
3. `grid`     the cuboids that its `map` fills, one call each; the job's chunks unless it says otherwise
4. `reads`    which box of each input one cuboid needs; from `halo` unless it says otherwise
5. `prepare`  values that must be the same everywhere, decided once from `samples`
6. `setup`    what a worker loads once (a model); it decides nothing
7. `map`      the operation on one chunk
8. `merge`, `gathers` or `reduce`, whichever its `shape` needs: how the rows of all cells come together
9. `finish`   rows that are complete become the table, or files
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, get_args, get_origin

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from chunkflow.chunk import Chunk
from chunkflow.data.info import (
    LabelsInfo,
    LayerInfo,
    RoleKind,
    table_of,
)
from chunkflow.geometry import Box, Grid, Vec, VoxelSize
from chunkflow.layout import PLAIN
from chunkflow.layout import Cell as Cell
from chunkflow.layout import Layout as Layout
from chunkflow.resources import Resources
from chunkflow.roles import Annotations as Annotations
from chunkflow.roles import FieldRole, LayerRole, Located
from chunkflow.roles import File as File
from chunkflow.roles import Image as Image
from chunkflow.roles import Labels as Labels
from chunkflow.roles import Layer as Layer
from chunkflow.roles import Meshes as Meshes
from chunkflow.roles import Objects as Objects
from chunkflow.roles import Out as Out
from chunkflow.roles import Report as Report
from chunkflow.roles import Tags as Tags
from chunkflow.shapes import MergedRows as MergedRows
from chunkflow.shapes import ReducedRows as ReducedRows
from chunkflow.shapes import RowByRow as RowByRow
from chunkflow.shapes import SentRows as SentRows
from chunkflow.shapes import Shape, check_shape
from chunkflow.shapes import Voxels as Voxels

Files = dict[str, bytes]


@dataclass(frozen=True)
class Counts:
    """What `map` counted beside what it made, as voxels left out; added up over all cells and reported."""

    of: Mapping[str, int]


Made: TypeAlias = Chunk | pa.Table | Files | Counts
Result: TypeAlias = Made | tuple[Made, ...] | dict[str, Made] | None
"""What `map` may return: a chunk, rows, files, counts, several of these (by the names of the output fields
where two are alike), or None where there is nothing."""


class WindowTooSmall(Exception):
    """Raised by `map`: give me the next larger box of `reads`."""


Finished: TypeAlias = pa.Table | Files | tuple[pa.Table, Files]
"""What `finish` may return."""


def _as_they_are(task: Task, cell: Cell, rows: pa.Table) -> Finished:
    """The `finish` of a task whose complete rows are its table."""
    return rows


class Task(BaseModel):
    """The base of every task; a subclass declares its shape and fields, and defines what differs.

    Hooks that are class variables are written as methods; their inputs come by the names of the fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: ClassVar[Shape] = Voxels()
    """What becomes of the rows that `map` makes."""
    version: ClassVar[int] = 1
    """Raise it when the same parameters would give another result."""
    connected: ClassVar[bool] = False
    """The labels written are in one piece each, named by the Morton code of one of their voxels."""
    working_bytes: ClassVar[float] = 8.0
    """Memory that `map` takes beyond its inputs, in bytes for each voxel of its first input; of what it
    makes where it reads no voxels."""
    same_voxels: ClassVar[bool] = True
    """All images and labels read must be of the same voxels; False where `reads` goes from one to another."""
    empty_from_empty: ClassVar[bool] = False
    """Where the labels that it reads are all 0 it makes nothing: such cells are skipped, `map` not called."""
    resources: ClassVar[Resources] = PLAIN
    """What a worker that maps its chunks takes, unless the job says otherwise."""
    sizes_cells: ClassVar[bool] = False
    """Where a job leaves the size of its chunks open, this task's cells have a size of their own, as large
    as a worker's memory allows for it alone; `layout.chunk` is their size then."""
    after: ClassVar[Sequence[Vec]] = ()
    """Cells of this task's own grid that must be done before a cell, as offsets: (0, 0, -1) is the
    section before."""

    prepare: ClassVar[Callable[..., dict[str, Any] | None] | None] = None
    """`prepare(layout, samples)`: values that every `map` must share, decided once and recorded; None where
    nothing is to be decided. A value named `warning` is shown to the user."""
    map: ClassVar[Callable[..., Result]]
    """`map(cell, **inputs)`: the operation on one cell."""
    merge: ClassVar[Callable[[Any, pa.Table], pa.Table]]
    """`merge(rows)`, of MergedRows: rows sorted by id, the same id several times where several cells saw it,
    become one row an id."""
    gathers: ClassVar[Callable[[Any, Layout, Box], Grid]]
    """`gathers(layout, region)`, of SentRows: the cells that rows are sent to."""
    reduce: ClassVar[Callable[[Any, Cell, pa.Table], tuple[pa.Table, pa.Table]]]
    """`reduce(cell, rows)`, of ReducedRows: the rows of a block, sorted by the key, become those that go up
    and those that are final. Both have their columns even without rows; nothing goes up from the last
    block, which covers `cell.bounds`."""
    finish: ClassVar[Callable[..., Finished]] = _as_they_are
    """`finish(cell, rows)`: complete rows, sorted by the key, as they go into the output. Rows that were sent
    to `cell` come in no order that means anything, as a table without columns where there are none; and a
    task that goes row by row is given its other inputs with them."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        check_shape(cls, cls.shape, cls.finish is not Task.finish)

    def result_version(self) -> int:
        """The version of the result that these parameters give, where only some give another than before."""
        return self.version

    @classmethod
    def roles(cls) -> list[FieldRole]:
        """The fields that name layers, in the order of their declaration."""
        found = []
        for name, field in cls.model_fields.items():
            many = get_origin(field.annotation) is list
            candidates = field.metadata
            if many:
                inner = get_args(field.annotation)[0]
                candidates = list(getattr(inner, "__metadata__", ()))
            role = next((item for item in candidates if isinstance(item, LayerRole)), None)
            if role is not None:
                extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
                output, in_work = bool(extra.get("output")), bool(extra.get("in_work"))
                found.append(FieldRole(name, role.kind, output, many, in_work))
        return found

    @classmethod
    def located(cls, parameters: Mapping[str, Any], base: Path) -> dict[str, Any]:
        """The parameters of a job file that lies in `base`, their paths made whole."""
        found = dict(parameters)
        for name, field in cls.model_fields.items():
            marks = [mark for mark in field.metadata if isinstance(mark, Located)]
            value = found.get(name)
            if marks and isinstance(value, str) and "://" not in value:
                found[name] = marks[0].whole(value, base)
        return found

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        """The files and folders that it reads, by the parameters that name them: once it has begun, they may
        not change. By default all that its fields name by a path."""
        marks = {
            name: mark
            for name, field in type(self).model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Located)
        }
        values = {name: getattr(self, name) for name, mark in marks.items()}
        return {name: [v] for name, v in values.items() if isinstance(v, str) and marks[name].is_path(v)}

    def expand(self, layout: Layout) -> list[tuple[str, Task]]:
        """The steps this task consists of, each with a name within it; by default itself, nameless."""
        return [("", self)]

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        """The description of each output, by default over the space of the first input.

        Others are described by `layout.main.as_image("float32")`, `as_labels()`, `as_table()`, `as_folder()`.
        The engine fills in the URL, how voxels are stored and what part is covered.
        """
        main = layout.main
        return {role.name: self._over(main, role.kind) for role in self.roles() if role.output}

    def _over(self, main: LayerInfo, kind: RoleKind) -> LayerInfo:
        match kind:
            case "image":
                return main.as_image()
            case "labels":
                return main.as_labels(connected=self.connected)
            case "layer" if isinstance(main, LabelsInfo):
                return main.model_copy(update={"connected": self.connected})
            case "layer":
                return main
            case "table":
                return main.as_table()
        return main.as_folder()

    def grid(self, layout: Layout, region: Box) -> Grid:
        """How `region` (what is to be made) is cut; by default into the job's chunks, row by row as the
        table that is read is filed."""
        if self.shape.row_by_row:
            return table_of(layout.main).model_copy(update={"bounds": region}).grid
        return Grid.chunks(region, layout.chunk)

    def halo(self, voxel_size: VoxelSize) -> Sequence[Vec]:
        """How far beyond its cell `map` reads: one margin, or several, smallest first, where `map` may
        ask for the next by raising WindowTooSmall."""
        return [(0, 0, 0)]

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        """The boxes of an input (in its own voxels) that a cell needs: smallest first, never more than the
        last; none where `map` does not read it. Each axis must depend on the same axis of `box` alone."""
        return [box.grow(margin) for margin in self.halo(layout.main.voxel_size)]

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        """What `prepare` reads: fields and boxes, chosen from the whole volume, whatever part is run."""
        return []

    def setup(self, layout: Layout) -> Any:
        """What a worker loads once before its first chunk."""
        return None

    def memory(self, layout: Layout, box: Box, voxels: int) -> int:
        """Bytes that `map` takes beyond what it reads and makes, for a cell that fills `box` and reads so
        many voxels of its first input."""
        return int(self.working_bytes * voxels)

    def remarks(self, layout: Layout, grid: Grid) -> list[str]:
        """Sentences that `plan` tells of a step whose cells are those of `grid`."""
        return []

    def speeds(self, layout: Layout) -> list[str]:
        """What the task measures of itself on a machine, where `plan` measures: a line each."""
        return []

    @classmethod
    def modules_named(cls, parameters: Mapping[str, Any]) -> list[str]:
        """The modules beside the job file that these parameters name, from which `setup` loads classes."""
        return []

    def no_rows(self, layout: Layout) -> pa.Table:
        """The rows of a cell without any object: the schema that all rows have."""
        return pa.table({"id": pa.array([], pa.uint64())})

    def folder_info(self, field: str, layout: Layout) -> dict[str, Any]:
        """What the file `info` of a folder it makes says; nothing where `finish` writes it, or none is."""
        kind = next(role.kind for role in self.roles() if role.name == field)
        return {"@type": "neuroglancer_legacy_mesh"} if kind == "meshes" else {}
