"""Noisy volumes of blobs, and a small U-Net that has learnt to tell the blobs in them.

It learns for a fixed number of steps from a fixed seed, so that what it gives goes from 0 to 1, as a network
in use: where an output is flat, no cut can change it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import nn

from chunkflow.geometry import Vec
from chunkflow.networks.architectures import UNet
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.normalisation import ZScore
from chunkflow.networks.weights import write_model

Image = npt.NDArray[np.uint16]
VOXEL_NM = (1000, 1000, 1000)
WIDTHS = (16, 32, 64)
STEPS, SIDE, BATCH, RATE = 120, 32, 2, 3e-3
SPREAD, DENSITY = 2.0, 1 / 1500
"""A blob's standard deviation in voxels, and blobs a voxel."""
GROUND, HEIGHT, NOISE = 1000.0, 600.0, 300.0


def volume(shape: Vec, seed: int) -> tuple[Image, npt.NDArray[np.bool_]]:
    """Grey values, and where they belong to a blob."""
    random = np.random.default_rng(seed)
    points = np.zeros(shape)
    places = (random.random((int(np.prod(shape) * DENSITY), 3)) * shape).astype(int)
    np.add.at(points, tuple(places.T), random.uniform(0.5, 1.5, len(places)))
    blobs = ndimage.gaussian_filter(points, SPREAD) * (2 * np.pi * SPREAD**2) ** 1.5
    grey = GROUND + HEIGHT * blobs + random.normal(0, NOISE, shape)
    return grey.clip(0, 65535).astype(np.uint16), blobs > 0.4


def z_scores(image: Image) -> npt.NDArray[np.float32]:
    """Grey values less their mean, over their standard deviation."""
    scores: npt.NDArray[np.float32] = ((image - image.mean()) / image.std()).astype(np.float32)
    return scores


def model(path: Path, patch: Vec, norm: str = "batch", widths: tuple[int, ...] = WIDTHS) -> ModelDocument:
    """Write a network that has learnt, whose patches share half of each side; returns its document."""
    document = ModelDocument.parse(
        {
            "architecture": "unet",
            "parameters": {"widths": widths, "norm": norm},
            "input": {"channels": [{"normalise": ZScore()}], "voxel_size": VOXEL_NM},
            "patch": patch,
            "overlap": [side // 2 for side in patch],
            "outputs": [{"name": "blob", "kind": "probability"}],
        },
        path,
    )
    torch.manual_seed(0)
    network = UNet(UNet.Parameters.model_validate(document.parameters), 1, 1)
    learn(network)
    return write_model(path, network, document)


def learn(network: nn.Module) -> None:
    """Learn from patches at random places of one volume, in bf16 for the sake of time."""
    image, truth = volume((96, 96, 96), 1)
    given, wanted = torch.from_numpy(z_scores(image)), torch.from_numpy(truth).float()
    random = np.random.default_rng(2)
    network.train().to(memory_format=torch.channels_last_3d)
    adam = torch.optim.Adam(network.parameters(), RATE)
    for _ in range(STEPS):
        corners = random.integers(0, 96 - SIDE + 1, (BATCH, 3))
        places = [tuple(slice(start, start + SIDE) for start in corner) for corner in corners]
        patches, answers = (
            torch.stack([array[place] for place in places])[:, None] for array in (given, wanted)
        )
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(patches)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), answers)
        adam.zero_grad()
        loss.backward()
        adam.step()
    network.eval()
