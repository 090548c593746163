"""From a network in PyTorch to a model file: a small U-Net learns to tell neurons from glia.

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
from torch.nn.functional import cross_entropy

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
    "outputs": [{"name": name, "kind": "class"} for name in ("elsewhere", "neuron", "glia")],
}


def tissue(seed: int, folder: Path) -> tuple[cf.Volume, np.ndarray]:
    """A synthetic brain block, and the class of each of its voxels: 0 elsewhere, 1 neuron, 2 glia."""
    task = Synthesize(dapi="dapi", cells="cells", size=(128, 128, 64), seed=seed)
    layers = {"dapi": str(folder / "dapi")}
    work = cf.Job(name="tissue", work=str(folder / "work"), layers=layers, tasks=[task]).run(serial=True)
    dapi, cells = work.volume("dapi"), work.table("cells").to_pandas()
    classes = np.zeros(dapi.bounds.size, np.int64)
    places = np.stack(np.meshgrid(*map(np.arange, classes.shape), indexing="ij"), -1)
    for cell in cells.itertuples():
        middle = np.array([cell.x, cell.y, cell.z]) / UM
        near = [slice(max(int(m - 14), 0), int(m + 15)) for m in middle]
        off = np.sqrt((((places[*near] + 0.5 - middle) * UM) ** 2).sum(-1))
        classes[*near][off < cell.radius_um] = 1 if getattr(cell, "_class", None) == "neuron" else 2
    return dapi, classes


def train(image: np.ndarray, classes: np.ndarray, document: cf.ModelDocument, steps: int) -> UNet:
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
        patch, truth = (torch.from_numpy(np.flip(a[where], over).copy()) for a in (image, classes))
        with torch.autocast("cpu", torch.bfloat16):
            given = network(patch[None, None].contiguous(memory_format=torch.channels_last_3d))
        loss = cross_entropy(given.float(), truth[None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}")
    return network


def main(steps: int = 300, to: Path = HERE / "cells.safetensors") -> None:
    document = cf.ModelDocument.parse(DOCUMENT, to)
    normaliser = document.input.channels[0].normalise
    with tempfile.TemporaryDirectory() as folder:
        dapi, classes = tissue(seed=11, folder=Path(folder))
        volume = dapi.bounds
        whole = dapi[:]
        samples = [(whole, volume, box) for box in sample_boxes(volume)]
        numbers = normaliser.decide(samples, volume, dapi.voxel_size)
        image = normaliser.apply(whole, volume, volume, volume, dapi.voxel_size, numbers)
    network = train(image, classes, document, steps)
    cf.write_model(to, network, document)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
