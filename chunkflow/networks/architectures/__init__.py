"""Architectures that a model file may name (`plain`, `unet`, `patches`), and the base of a user's own.

A network takes arrays of patch, channel, x, y, z and gives the same with a channel for each output, as large
as it was given. What it gives are logits: sigmoid and softmax are not its own, unless the model's document
says `activated`.
"""

from __future__ import annotations

from chunkflow.networks.architectures.base import Architecture as Architecture
from chunkflow.networks.architectures.base import Norm as Norm
from chunkflow.networks.architectures.base import norm_layer as norm_layer
from chunkflow.networks.architectures.patches import PatchNet as PatchNet
from chunkflow.networks.architectures.plain import Plain as Plain
from chunkflow.networks.architectures.unet import UNet as UNet
from chunkflow.networks.judging import PATCHES

OURS: dict[str, type[Architecture]] = {"plain": Plain, "unet": UNet, PATCHES: PatchNet}
"""The architectures that a model file may name without more."""
