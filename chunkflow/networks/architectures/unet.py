"""U-Nets: levels of convolutions that are coarser and coarser, and back."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from chunkflow.geometry import Vec, vec
from chunkflow.networks.architectures.base import (
    Architecture,
    Kernel,
    Norm,
    Sides,
    Width,
    convolution_block,
)


class UNet(Architecture):
    """U-Net: levels that are coarser and coarser, and back, each joined to its counterpart."""

    class Parameters(Architecture.Parameters):
        """Numbers of a U-Net; kernels and pooling are given once for all levels, or for each."""

        widths: tuple[Width, ...] = Field(min_length=1, max_length=8, description="channels of each level")
        kernel: Kernel | tuple[Kernel, ...] = (3, 3, 3)
        pooling: Sides | tuple[Sides, ...] = (2, 2, 2)
        convolutions: int = Field(2, ge=1, le=8, description="of each level, down and up")
        norm: Norm = "batch"

        @model_validator(mode="after")
        def _by_level(self) -> Self:
            by_level(self.kernel, len(self.widths))
            by_level(self.pooling, len(self.widths) - 1)
            return self

        @property
        def kernels(self) -> list[Sides]:
            """The kernel of each level."""
            return by_level(self.kernel, len(self.widths))

        @property
        def poolings(self) -> list[Sides]:
            """How much coarser each level is than the one above."""
            return by_level(self.pooling, len(self.widths) - 1)

    def __init__(self, parameters: Parameters, inputs: int, outputs: int) -> None:
        super().__init__(parameters, inputs, outputs)
        widths, poolings = parameters.widths, parameters.poolings
        blocks = [[kernel] * parameters.convolutions for kernel in parameters.kernels]
        self.down = nn.ModuleList(
            convolution_block(a, b, kernels, parameters.norm)
            for (a, b), kernels in zip(pairwise((inputs, *widths)), blocks, strict=True)
        )
        self.pool = nn.ModuleList(nn.MaxPool3d(pooling) for pooling in poolings)
        self.grow = nn.ModuleList(
            nn.ConvTranspose3d(b, a, pooling, stride=pooling)
            for (a, b), pooling in zip(pairwise(widths), poolings, strict=True)
        )
        self.up = nn.ModuleList(
            convolution_block(2 * width, width, kernels, parameters.norm)
            for width, kernels in zip(widths[:-1], blocks[:-1], strict=True)
        )
        self.head = nn.Conv3d(widths[0], outputs, 1)

    @classmethod
    def multiple(cls, parameters: Parameters) -> Vec:
        return vec(prod(pooling[axis] for pooling in parameters.poolings) for axis in range(3))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The logits of patches."""
        kept = []
        for level, down in enumerate(self.down):
            patches = down(patches if level == 0 else self.pool[level - 1](patches))
            kept.append(patches)
        patches = kept.pop()
        for grow, up in zip(reversed(self.grow), reversed(self.up), strict=True):
            patches = up(torch.cat([kept.pop(), grow(patches)], 1))
        return self.head(patches)


def by_level(given: Any, levels: int) -> list[Sides]:
    """What is given once for all levels, or for each."""
    found = list(given) if given and isinstance(given[0], tuple) else [given] * levels
    if len(found) != levels:
        raise ValueError(f"kernels and pooling are given once, or here {levels} times, not {len(found)}")
    return found
