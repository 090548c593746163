"""Inference end to end beside the bare forward pass and the sliding windows of MONAI.

1. `ours` cuts the patches of a block, runs the network, rounds, adds up in whole numbers and divides.
2. The bare forward pass is the same network's on the same patches, cut before: same format, same precision.
3. MONAI cuts as many windows from the same block, which overlap by as much; all else is as it comes: float32,
   contiguous, constant weights, without the sigmoid.

All take turns. On a CPU the seconds of computing of one thread count, whatever else runs there; on a GPU
those of the clock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference

from benchmarks.figure import Figure
from benchmarks.networks import blobs
from chunkflow.geometry import Box, Vec
from chunkflow.networks.architectures import Norm, UNet
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.inference import MEMORY_FORMATS
from chunkflow.networks.loading import load_predictor
from chunkflow.networks.prediction import PatchSums, patches_of, predict
from chunkflow.networks.setting import InferenceSetting, Precision
from chunkflow.networks.weights import load_model

ROUNDS, ROUNDS_IN_HALF = 5, 9
"""More in half precision, where a round is so short that noise weighs more."""
UNIT = "Mvoxel/s"
OF_BARE = 0.9
NORMS: tuple[Norm, ...] = ("batch", "instance", "group")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
OF_MONAI = 0.95, 2.0
"""How many times as fast as MONAI: on a CPU in single precision, and in bf16."""
ON_GPU = 1.2

Once = Callable[[], object]


@dataclass(frozen=True)
class Block:
    """A network and a block of voxels, as large as a whole number of its patches."""

    model: Path
    document: ModelDocument
    box: Box
    channels: npt.NDArray[np.float32]

    @classmethod
    def made(cls, folder: str, patch: int, counts: Vec, widths: tuple[int, ...]) -> Block:
        """A block of `counts` patches along x, y and z."""
        path = Path(folder) / "net.safetensors"
        document = blobs.model(path, (patch, patch, patch), widths=widths)
        x, y, z = ((count + 1) * patch // 2 for count in counts)
        image, _ = blobs.volume((x, y, z), 3)
        return cls(path, document, Box.of_size((x, y, z), (0, 0, 0)), blobs.z_scores(image)[None])

    @property
    def patches(self) -> list[Box]:
        """Its patches, x fastest."""
        return list(patches_of(self.document, self.box).meeting(self.box))

    @property
    def voxels(self) -> int:
        """How many go through the network."""
        return len(self.patches) * int(np.prod(self.document.patch))


def run() -> list[Figure]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        block = Block.made(folder, 48, (2, 2, 2), blobs.WIDTHS)
        figures = on_cpu(block, "fp32")
        if has_bf16():
            figures += on_cpu(block, "bf16")
        else:
            print("infer: this CPU has no bf16; nothing measured in it.")
    figures += [by_format(norm) for norm in NORMS]
    if not torch.cuda.is_available():
        print("infer: there is no GPU here; nothing measured on one.")
        return figures
    with tempfile.TemporaryDirectory() as folder:
        block = Block.made(folder, 96, (4, 4, 4), (32, 64, 128))
        for precision in ("fp32", "tf32", "bf16", "fp16"):
            for batch in (1, 4, 16):
                figures += on_gpu(block, precision, batch)
    return figures


def has_bf16() -> bool:
    """Whether this CPU computes in bf16 by instructions of its own."""
    told = Path("/proc/cpuinfo")
    return told.exists() and bool({"avx512_bf16", "amx_bf16"} & set(told.read_text().split()))


def on_cpu(block: Block, precision: Precision) -> list[Figure]:
    target = OF_MONAI[precision == "bf16"]
    return compare(block, InferenceSetting("cpu", precision), 1, f"infer on a CPU, {precision}", target)


def on_gpu(block: Block, precision: Precision, batch: int) -> list[Figure]:
    name = f"infer on {torch.cuda.get_device_name()}, {precision}, batches of {batch}"
    return compare(block, InferenceSetting("cuda", precision), batch, name, ON_GPU)


def compare(block: Block, setting: InferenceSetting, batch: int, name: str, target: float) -> list[Figure]:
    """Voxels of patches a second, in turns."""
    seconds = by_turns(
        {
            "ours": by_chunkflow(block, setting, batch),
            "bare forward": bare_forward(block, setting, batch),
            "MONAI": by_monai(block, setting, batch),
        },
        setting,
    )
    ours, bare, monai = (round(block.voxels / spent / 1e6, 3) for spent in seconds.values())
    return [
        Figure(name, ours, UNIT, bare, "bare forward", target=OF_BARE),
        Figure(name, ours, UNIT, monai, "MONAI as it comes", target=target),
    ]


def by_format(norm: Norm) -> Figure:
    """The bare forward pass of one patch in single precision, channels last and contiguous."""
    torch.manual_seed(0)
    passes = {}
    for memory_format in (torch.channels_last_3d, torch.contiguous_format):
        network = UNet(UNet.Parameters.model_validate({"widths": blobs.WIDTHS, "norm": norm}), 1, 1).eval()
        network.to(memory_format=memory_format)
        patch = torch.randn(1, 1, 48, 48, 48).to(memory_format=memory_format)
        passes[str(memory_format)] = _forward(network, [patch], InferenceSetting())
    last, contiguous = (
        round(48**3 / spent / 1e6, 3) for spent in by_turns(passes, InferenceSetting()).values()
    )
    return Figure(f"channels last on a CPU, fp32, {norm} norm", last, UNIT, contiguous, "contiguous")


def by_chunkflow(block: Block, setting: InferenceSetting, batch: int) -> Once:
    predictor = load_predictor(block.model, setting)

    def once() -> object:
        sums = PatchSums.over(block.box, block.document)
        predict(predictor, block.channels, block.box, block.patches, sums, batch)
        return sums.stored(block.document, "uint8")

    return once


def bare_forward(block: Block, setting: InferenceSetting, batch: int) -> Once:
    memory_format = MEMORY_FORMATS.get((setting.device, setting.precision), torch.contiguous_format)
    network = load_model(block.model).network.to(setting.device, memory_format=memory_format)
    cut = np.stack([block.channels[(slice(None), *patch.slices(block.box.start))] for patch in block.patches])
    batches = torch.from_numpy(cut).to(setting.device).split(batch)
    return _forward(network, [one.contiguous(memory_format=memory_format) for one in batches], setting)


def _forward(network: torch.nn.Module, batches: list[torch.Tensor], setting: InferenceSetting) -> Once:
    half = HALVES.get(setting.precision)

    def once() -> object:
        with torch.inference_mode(), _flags(setting), torch.autocast(setting.device, half, half is not None):
            return [network(one) for one in batches][-1]

    return once


def by_monai(block: Block, setting: InferenceSetting, batch: int) -> Once:
    """On a GPU with TF32, which torch takes by default, but where `ours` computes in single precision."""
    network = load_model(block.model).network.to(setting.device)

    def once() -> object:
        with torch.inference_mode(), _flags(setting):
            given = torch.from_numpy(block.channels)[None].to(setting.device)
            return sliding_window_inference(given, block.document.patch, batch, network, overlap=0.5).cpu()

    return once


@contextmanager
def _flags(setting: InferenceSetting) -> Iterator[None]:
    """The choices of cuDNN that `ours` makes; none on a CPU."""
    tf32 = setting.precision != "fp32"
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
        yield


def by_turns(contenders: dict[str, Once], setting: InferenceSetting) -> dict[str, float]:
    """The median seconds of each, after a first time that does not count."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for counts in (False, *[True] * (ROUNDS_IN_HALF if setting.precision in HALVES else ROUNDS)):
        for name, once in contenders.items():
            begin = _now(setting.device)
            once()
            if counts:
                spent[name].append(_now(setting.device) - begin)
    return {name: median(times) for name, times in spent.items()}


def _now(device: str) -> float:
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    for figure in run():
        print(*figure.row(), sep=" | ")
