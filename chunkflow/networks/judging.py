"""Judging: the patch around each place through a network of the architecture `patches`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.prediction import Predictor, Steps, answers_for

PATCHES = "patches"
"""The name of the architecture."""
FIELD: Vec = (12, 12, 12)
"""The sides of a patch that are taken where a model names none."""
BATCH = 32
"""Patches at a time where that is left to chunkflow: they are small, so more gain nothing."""
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


def judge_patches(
    judge: Predictor,
    channels: npt.NDArray[np.float32],
    window: Box,
    patches: Sequence[Box],
    batch: int,
) -> Steps:
    """The answers (patch, output), from 0 to 65,535, to patches of `channels` (channel, x, y, z) over
    `window`; none depends on which others are judged with it."""
    answers = [steps for _, steps in answers_for(judge, channels, window, patches, batch)]
    return np.concatenate(answers)
