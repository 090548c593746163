"""Base of all architectures, and the layers that several of them consist of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import nn

from chunkflow.geometry import Vec

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
