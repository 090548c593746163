"""From a network in PyTorch to a model file: a small U-Net learns where cells are.

    python examples/infer/train.py          # about a minute on two cores; writes cells.safetensors beside it
    chunkflow run examples/infer/infer.yaml

Everything that decides what the network sees is taken from the model's document, so that training and use
cannot differ.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import chunkflow as cf
from chunkflow.networks.architectures import UNet
from chunkflow.networks.normalisation import sample_boxes
from tasks import Synthesize

HERE = Path(__file__).parent
UM = (1.0, 1.0, 2.0)
DOCUMENT = {
    "architecture": "unet",
    "parameters": {"widths": [8, 16], "pooling": [2, 2, 1], "norm": "batch"},
    "input": {
        "channels": [{"normalise": {"kind": "local", "background": 20}}],
        "voxel_size": [1000 * um for um in UM],
    },
    "patch": [32, 32, 16],
    "overlap": [12, 12, 6],
    "outputs": [{"name": "cell", "kind": "probability"}],
}


def tissue(seed: int, folder: Path) -> tuple[cf.Volume, np.ndarray]:
    """A synthetic brain block, and its cells as balls: 1 in them, 0 elsewhere."""
    task = Synthesize(dapi="dapi", cells="cells", size=(128, 128, 64), seed=seed, density=60_000)
    layers = {"dapi": str(folder / "dapi")}
    work = cf.Job(name="tissue", work=str(folder / "work"), layers=layers, tasks=[task]).run(serial=True)
    dapi, cells = work.volume("dapi"), work.table("cells").to_pandas()
    truth = np.zeros(dapi.bounds.size, np.float32)
    places = np.stack(np.meshgrid(*map(np.arange, truth.shape), indexing="ij"), -1)
    for middle, radius in zip(cells[["x", "y", "z"]].to_numpy(), cells["radius_um"], strict=True):
        near = tuple(slice(max(int(m - 10), 0), int(m + 11)) for m in middle)
        off = ((places[near] + 0.5 - middle) * UM) ** 2
        truth[near][off.sum(-1) < radius**2] = 1
    return dapi, truth


def train(image: np.ndarray, truth: np.ndarray, document: cf.ModelDocument, steps: int) -> UNet:
    """Learn from patches at random places, turned over at random."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    parameters = UNet.Parameters.model_validate(document.parameters)
    network = UNet(parameters, len(document.input.channels), len(document.outputs))
    network = network.to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, steps)
    for step in range(steps):
        start = [random.integers(0, n - p + 1) for n, p in zip(image.shape, document.patch, strict=True)]
        where = tuple(slice(a, a + p) for a, p in zip(start, document.patch, strict=True))
        over = [axis for axis in range(3) if random.random() < 0.5]
        patch, wanted = (torch.from_numpy(np.flip(a[where], over).copy()) for a in (image, truth))
        with torch.autocast("cpu", torch.bfloat16):
            given = network(patch[None, None].contiguous(memory_format=torch.channels_last_3d))
        loss = binary_cross_entropy_with_logits(given.float(), wanted[None, None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}")
    return network


def main(steps: int = 500, to: Path = HERE / "cells.safetensors") -> None:
    document = cf.ModelDocument.parse(DOCUMENT, to)
    normaliser = document.input.channels[0].normalise
    with tempfile.TemporaryDirectory() as folder:
        dapi, truth = tissue(seed=11, folder=Path(folder))
        volume = dapi.bounds
        whole = dapi[:]
        samples = [(whole, volume, box) for box in sample_boxes(volume)]
        numbers = normaliser.decide(samples, volume, dapi.voxel_size)
        image = normaliser.apply(whole, volume, volume, volume, dapi.voxel_size, numbers)
    network = train(image, truth, document, steps)
    cf.write_model(to, network, document)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
