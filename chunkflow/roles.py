"""What the fields of a task may name: layers, tables and folders by their roles, and paths."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from chunkflow.data.info import FolderInfo, ImageInfo, LabelsInfo, RoleKind, SpaceInfo, TableInfo


@dataclass(frozen=True)
class LayerRole:
    """What a field that names a layer stands for."""

    kind: RoleKind


Image = Annotated[str, LayerRole("image")]
Labels = Annotated[str, LayerRole("labels")]
Layer = Annotated[str, LayerRole("layer")]
"""An image or labels, whichever it is."""
Objects = Annotated[str, LayerRole("table")]
Meshes = Annotated[str, LayerRole("meshes")]
Annotations = Annotated[str, LayerRole("annotations")]
Tags = Annotated[str, LayerRole("tags")]
"""A folder of segment properties."""
Report = Annotated[str, LayerRole("report")]
"""A folder of pictures and lists for people, in the work folder unless a layer of its name says where."""


@dataclass(frozen=True)
class Located:
    """Marks a field that is a path on a disk: in a job file a relative one counts from that file, else from
    where the command is given. It is made whole, as workers have working folders of their own."""

    words: tuple[str, ...] = ("",)
    """What stands for something else than a path."""

    def is_path(self, value: str) -> bool:
        """Whether a value is a path, and not what stands for something else."""
        return value not in self.words

    def whole(self, value: str, base: Path) -> str:
        if not self.is_path(value):
            return value
        if "://" in value and not value.startswith("file://"):
            raise ValueError("must be a path on this machine or on a disk that it shares with the workers")
        return os.path.abspath(base / Path(value.removeprefix("file://")).expanduser())

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(lambda value: self.whole(value, Path.cwd()), handler(kind))


File = Annotated[str, Located()]

INFO_OF_ROLE: dict[RoleKind, tuple[type[SpaceInfo], ...]] = {
    "image": (ImageInfo,),
    "labels": (LabelsInfo,),
    "layer": (ImageInfo, LabelsInfo),
    "table": (TableInfo,),
    "meshes": (FolderInfo,),
    "annotations": (FolderInfo,),
    "tags": (FolderInfo,),
    "report": (FolderInfo,),
}


def Out(description: str = "", in_work: bool = False) -> Any:  # noqa: N802 - reads as a type in a declaration
    """Marks a field that names an output of the task.

    With `in_work` an image or labels lie in the work folder, as tables do, unless a layer of the job has
    their name; where none is given they are called TASK.FIELD.
    """
    return Field("", description=description, json_schema_extra={"output": True, "in_work": in_work})


@dataclass(frozen=True)
class FieldRole:
    """One field of a task that names layers."""

    name: str
    kind: RoleKind
    output: bool
    many: bool
    in_work: bool = False
    """An output that needs no layer of the job to say where it lies."""
