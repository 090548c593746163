"""Networks for tests: seeded weights whose outputs span the range, and images that they answer to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from chunkflow.networks.architectures import Architecture
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.weights import blank_network, write_model

VOXEL_SIZE = (1000.0, 1000.0, 2000.0)


def document_of(
    count: int = 1,
    patch: Sequence[int] = (16, 16, 8),
    overlap: Sequence[int] = (8, 8, 4),
    images: int = 1,
    **changes: Any,
) -> ModelDocument:
    """A document of a small U-Net with pooling that differs by axis."""
    kinds = ["zscore", "percentiles", "local"]
    normalise = [{"kind": kind} | ({"background": 3} if kind == "local" else {}) for kind in kinds]
    document: dict[str, Any] = {
        "architecture": "unet",
        "parameters": {"widths": [4, 8], "pooling": [2, 2, 1], "kernel": [3, 3, 3], "norm": "group"},
        "input": {
            "channels": [{"image": n, "normalise": normalise[n]} for n in range(images)],
            "voxel_size": VOXEL_SIZE,
        },
        "patch": patch,
        "overlap": overlap,
        "outputs": [{"name": f"made{n}", "kind": "probability"} for n in range(count)],
    }
    return ModelDocument.parse(document | changes, "test")


def network_of(document: ModelDocument, seed: int = 0, gain: float = 1.5) -> Architecture:
    """A network with seeded weights, so scaled that what it gives for noise spans the range."""
    network = blank_network(document, "test", {}).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in network.state_dict().items():
            if weights.ndim > 1:
                weights.normal_(0, (2 / weights[0].numel()) ** 0.5, generator=generator)
            else:
                weights.fill_(1.0 if name.endswith("weight") or "running_var" in name else 0.0)
        noise = torch.randn((1, len(document.input.channels), *document.patch), generator=generator)
        head = network.get_submodule("head")
        given = network.eval()(noise)
        head.weight *= gain / given.std()
        head.bias -= network(noise).mean()
    network.requires_grad_(False)
    return network


def make_model(path: Path, document: ModelDocument | None = None, seed: int = 0, gain: float = 1.5) -> str:
    """A model file of a small network."""
    document = document or document_of()
    write_model(path, network_of(document, seed, gain), document)
    return str(path)


def blobs(size: Sequence[int], seed: int = 0) -> np.ndarray:
    """Uneven noise, such as networks are shown."""
    noise = np.random.default_rng(seed).standard_normal(size)
    smooth = gaussian_filter(noise, 1.5)
    return (1000 + 400 * smooth / max(smooth.std(), 1e-9)).clip(1, 65535).astype(np.uint16)
