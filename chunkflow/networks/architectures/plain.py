"""Plain networks: convolutions one after the other."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import Field
from torch import nn

from chunkflow.networks.architectures.base import Architecture, Kernel, Norm, Width, convolution_block


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
