"""Speed of a network on this machine, by precision and batch, beside that of its bare forward pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.networks.inference import TorchPredictor
from chunkflow.networks.prediction import PatchSums, predict
from chunkflow.networks.setting import HALF, DeviceKind, InferenceSetting, Precision
from chunkflow.networks.weights import LoadedModel

PRECISIONS: Mapping[DeviceKind, tuple[Precision, ...]] = {
    "cpu": ("fp32", "bf16"),
    "cuda": ("fp32", "tf32", "bf16", "fp16"),
}
BATCHES: Mapping[DeviceKind, tuple[int, ...]] = {"cpu": (1, 2), "cuda": (1, 2, 4, 8, 16)}
BYTES_OF_A_GIB = 2**30


@dataclass(frozen=True)
class NetworkSpeed:
    """What one precision and batch reach."""

    precision: Precision
    batch: int
    voxels: float
    """Voxels of the volume a second, each patch counted for those that it does not share."""
    forward: float
    """The same of the bare forward pass."""
    memory: int
    """Bytes within the network: on a GPU as they were taken, else as they are reckoned."""

    def __str__(self) -> str:
        return (
            f"{self.precision}, batch {self.batch}: {self.voxels / 1000:,.2f} kvoxel/s, "
            f"{self.voxels / self.forward:.2f} of the bare forward pass, "
            f"{self.memory / BYTES_OF_A_GIB:.2f} GiB within the network"
        )


def measure_speeds(load: Callable[[], LoadedModel], setting: InferenceSetting) -> list[NetworkSpeed]:
    """The speed of a network by precision and batch, the rest as in `setting`; batches that do not fit are
    left out. `load` gives the network, which is taken to the device and its precision."""
    found = []
    for precision in PRECISIONS[setting.device]:
        chosen = InferenceSetting(setting.device, precision, setting.threads, setting.flips, setting.compiled)
        model = load()
        predictor = TorchPredictor(model, chosen)
        for batch in BATCHES[setting.device]:
            try:
                found.append(_measured(predictor, model, chosen, batch))
            except (MemoryError, torch.OutOfMemoryError):
                break
            except (RuntimeError, BadInput):  # a precision that the device does not have
                break
    return found


def _measured(
    predictor: TorchPredictor, model: LoadedModel, setting: InferenceSetting, batch: int
) -> NetworkSpeed:
    document = model.document
    random = np.random.default_rng(0)
    box = Box.of_size(document.patch)
    channels = random.standard_normal((len(document.input.channels), *document.patch), np.float32)
    sums = PatchSums.over(box, document)
    patches = [box] * batch
    if setting.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    whole = _seconds(lambda: predict(predictor, channels, box, patches, sums, batch))
    forward = _seconds(predictor.bare(np.stack([channels] * batch)))
    own = batch * prod(p - o for p, o in zip(document.patch, document.overlap, strict=True))
    reckoned = batch * document.memory // (2 if setting.precision in HALF else 1)
    memory = torch.cuda.max_memory_allocated() if setting.device == "cuda" else reckoned
    return NetworkSpeed(setting.precision, batch, own / whole, own / forward, memory)


def _seconds(run: Callable[[], None]) -> float:
    """Seconds of the faster of two runs, after one that sets everything up."""
    run()
    took = []
    for _ in range(2):
        begin = time.perf_counter()
        run()
        took.append(time.perf_counter() - begin)
    return min(took)
