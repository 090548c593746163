"""Architectures that a model file may name: `unet` and `plain`, and the base of a user's own.

A network takes arrays of patch, channel, x, y, z and gives the same with a channel for each output, as large
as it was given. What it gives are logits: sigmoid and softmax are not its own, unless the model's document
says `activated`.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from torch import nn

from chunkflow.geometry import Vec, vec

Width = Annotated[int, Field(ge=1, le=4096)]
KernelSide = Annotated[int, Field(ge=1, le=31)]
Sides = tuple[KernelSide, KernelSide, KernelSide]


def _odd(kernel: Sides) -> Sides:
    if any(side % 2 == 0 for side in kernel):
        raise ValueError("the sides of a kernel are odd")
    return kernel


Kernel = Annotated[Sides, AfterValidator(_odd)]
Norm = Literal["batch", "instance", "group", "none"]


class Architecture(nn.Module):
    """Base of all networks: a class that is made from numbers alone.

    A subclass declares its `Parameters`, and is made by `__init__(parameters, inputs, outputs)`.
    """

    class Parameters(BaseModel):
        """The numbers that it is made from; unknown ones are refused."""

        model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, parameters: Any, inputs: int, outputs: int) -> None:
        super().__init__()

    @classmethod
    def multiple(cls, parameters: Any) -> Vec:
        """The sides of a patch must be whole multiples of this."""
        return (1, 1, 1)


def norm_layer(norm: Norm, width: int) -> nn.Module:
    """A normalisation of `width` channels."""
    match norm:
        case "batch":
            return nn.BatchNorm3d(width)
        case "instance":
            return nn.InstanceNorm3d(width, affine=True)
        case "group":
            return nn.GroupNorm(next(n for n in (8, 4, 2, 1) if width % n == 0), width)
        case "none":
            return nn.Identity()


def convolution_block(inputs: int, width: int, kernels: list[Sides], norm: Norm) -> nn.Sequential:
    """Convolutions that keep the size, each normalised and rectified."""
    layers: list[nn.Module] = []
    for kernel in kernels:
        same = tuple(side // 2 for side in kernel)
        layers += [
            nn.Conv3d(inputs, width, kernel, padding=same, bias=norm == "none"),
            norm_layer(norm, width),
            nn.ReLU(inplace=True),
        ]
        inputs = width
    return nn.Sequential(*layers)


class Plain(Architecture):
    """Convolutions one after the other, at full resolution."""

    class Parameters(Architecture.Parameters):
        """Numbers of a plain network."""

        widths: tuple[Width, ...] = Field(min_length=1, max_length=64, description="channels of each layer")
        kernel: Kernel = (3, 3, 3)
        norm: Norm = "batch"

    def __init__(self, parameters: Parameters, inputs: int, outputs: int) -> None:
        super().__init__(parameters, inputs, outputs)
        widths = (inputs, *parameters.widths)
        self.layers = nn.Sequential(
            *(convolution_block(a, b, [parameters.kernel], parameters.norm) for a, b in pairwise(widths))
        )
        self.head = nn.Conv3d(widths[-1], outputs, 1)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """The logits of patches."""
        return self.head(self.layers(patches))


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


OURS: dict[str, type[Architecture]] = {"plain": Plain, "unet": UNet}
"""The architectures that a model file may name without more."""
