"""Patch networks: what lies at the middle of a patch, told from all of it."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from chunkflow.geometry import Vec, vec
from chunkflow.kernels.images.mirroring import mirrored
from chunkflow.networks.architectures.base import Architecture, Sides, Width, norm_layer
from chunkflow.networks.judging import FIELD, FieldSides

ONCE: Vec = (1, 1, 1)
KERNEL: Vec = (3, 3, 3)
TAKEN = 4
"""Voxels that the two convolutions before the pooling take off each side of a patch."""
FEWEST = 3
"""Voxels that the convolution after it needs along each axis."""


class PatchNet(Architecture):
    """Three convolutions and two fully connected layers over a patch; they tell what its middle is.

    Each convolution is of 3 x 3 x 3 voxels and reads no voxel beyond the patch; the second is followed by max
    pooling. Fully connected layers are convolutions over all that is left. So the same weights judge each
    voxel of a larger array by the patch around it: pooling then goes voxel by voxel, and what follows takes
    values as far apart as the pooling is wide.
    """

    class Parameters(Architecture.Parameters):
        """Numbers of a patch network."""

        field: FieldSides = Field(FIELD, description="sides of a patch")
        widths: tuple[Width, Width, Width] = Field((16, 32, 32), description="channels of each convolution")
        hidden: Width = Field(64, description="channels of the first fully connected layer")
        pooling: Sides = (2, 2, 2)
        norm: Literal["batch", "none"] = "batch"
        dropout: float = Field(
            0.5, ge=0, lt=1, description="share left out of the first fully connected layer"
        )

        @model_validator(mode="after")
        def _fits(self) -> Self:
            for side, pooling in zip(self.field, self.pooling, strict=True):
                fewest = TAKEN + FEWEST * pooling
                if side < fewest or (side - fewest) % pooling:
                    sides = ", ".join(str(fewest + n * pooling) for n in range(3))
                    raise ValueError(
                        f"with a pooling of {pooling} a side of field is {sides} and so on, not {side}"
                    )
            return self

        @property
        def left(self) -> Vec:
            """What convolutions and pooling leave of a patch."""
            sides = zip(self.field, self.pooling, KERNEL, strict=True)
            return vec((side - TAKEN) // pooling - kernel + 1 for side, pooling, kernel in sides)

    def __init__(self, parameters: Parameters, inputs: int, outputs: int) -> None:
        super().__init__(parameters, inputs, outputs)
        self.field: Vec = parameters.field
        self.pooling: Vec = parameters.pooling
        first, second, third = parameters.widths
        self.first = _layer(inputs, first, KERNEL, parameters.norm)
        self.second = _layer(first, second, KERNEL, parameters.norm)
        self.third = _layer(second, third, KERNEL, parameters.norm)
        self.hidden = _layer(third, parameters.hidden, parameters.left, parameters.norm)
        self.dropout = nn.Dropout(parameters.dropout)
        self.head = nn.Conv3d(parameters.hidden, outputs, 1)

    def judged(self, patches: torch.Tensor) -> torch.Tensor:
        """The logits (patch, output) of patches with the sides `field`."""
        if tuple(patches.shape[2:]) != self.field:
            raise ValueError(f"patches have the sides {list(self.field)}, not {list(patches.shape[2:])}")
        return self._logits(patches, stride=self.pooling, apart=ONCE).flatten(1)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The logits of the patch around each voxel; beyond the faces lies the mirror image."""
        for axis, side in enumerate(self.field):
            patches = _mirrored(patches, 2 + axis, side // 2, side - 1 - side // 2)
        return self._logits(patches, stride=ONCE, apart=self.pooling)

    def _logits(self, given: torch.Tensor, stride: Vec, apart: Vec) -> torch.Tensor:
        """The logits at every place that a whole patch lies around, the pooling at every `stride`."""
        given = _through(self.second, _through(self.first, given, ONCE), ONCE)
        given = functional.max_pool3d(given, self.pooling, stride)
        given = _through(self.hidden, _through(self.third, given, apart), apart)
        return self.head(self.dropout(given))


def _layer(inputs: int, width: int, kernel: Vec, norm: Literal["batch", "none"]) -> nn.Sequential:
    """A convolution that reads nothing beyond what it is given, normalised and rectified."""
    convolution = nn.Conv3d(inputs, width, kernel, bias=norm == "none")
    return nn.Sequential(convolution, norm_layer(norm, width), nn.ReLU(inplace=True))


def _through(layer: nn.Sequential, given: torch.Tensor, apart: Vec) -> torch.Tensor:
    """What a layer makes of values that lie so many voxels apart."""
    convolution, norm, rectified = layer
    made = functional.conv3d(given, convolution.weight, convolution.bias, dilation=apart)
    return rectified(norm(made))


def _mirrored(given: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """An array with so many voxels more along an axis: its mirror image, where the edge is seen twice."""
    size = given.shape[axis]
    return given.index_select(axis, torch.from_numpy(mirrored(-before, size + after, size)).to(given.device))
