"""Judging: the patch around each place through a network of the architecture `patches`."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec
from chunkflow.networks.document import ModelDocument

PATCHES = "patches"
"""The name of the architecture."""
FIELD: Vec = (12, 12, 12)
"""The sides of a patch that are taken where a model names none."""
FieldSide = Annotated[int, Field(ge=1, le=256)]
FieldSides = tuple[FieldSide, FieldSide, FieldSide]
_SIDES: TypeAdapter[FieldSides] = TypeAdapter(FieldSides)


def field_of(document: ModelDocument, path: object) -> Vec:
    """The sides of the patches that the network of the file `path` judges; BadInput where it judges none."""
    if document.architecture != PATCHES:
        raise BadInput(
            f"{path} is of the architecture {document.architecture}, which judges no patches: run it with "
            f"infer, or take a model of the architecture {PATCHES}."
        )
    try:
        return _SIDES.validate_python(document.parameters.get("field", FIELD))
    except ValidationError as error:
        raise BadInput(
            f"{path}: field takes three whole numbers from 1 to 256, not {document.parameters['field']!r}."
        ) from error


def patches_around(voxels: npt.NDArray[np.int64], field: Vec) -> list[Box]:
    """The patches with these voxels (rows of x, y, z) at their middles."""
    starts = voxels - np.array(field) // 2
    return [Box.of_size(field, vec(start)) for start in starts.tolist()]
