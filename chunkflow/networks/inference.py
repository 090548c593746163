"""Inference: batches of patches through a network, to whole numbers from 0 to 65,535.

What decides a result is given once, by the setting and the size of a batch, and never changed by itself. The
last batch is filled up with zeros, so that each is computed in the same way. On CUDA only deterministic
algorithms are taken, none is chosen by trying, and TF32 is a precision like any other.

A batch is handed to the device by `submit`; while the device computes, the one before can be added up and the
next cut out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chunkflow.errors import BadInput
from chunkflow.networks.activation import activate
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.placement import FULL
from chunkflow.networks.prediction import NO_NUMBER, Steps, as_numbers, check_answer, mean_of_flips
from chunkflow.networks.setting import HALF, InferenceSetting
from chunkflow.networks.weights import LoadedModel

MEMORY_FORMATS = {("cpu", "bf16"): torch.channels_last_3d}
"""Other than contiguous where that was measured to be faster; on CUDA some networks are slower with it."""


class TorchPredictor:
    """A network on a device; a `Predictor`."""

    only_batch = None

    def __init__(self, model: LoadedModel, setting: InferenceSetting) -> None:
        if setting.device == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            if not torch.cuda.is_available():
                raise BadInput("The device is cuda, but this worker sees no GPU; ask for one in `resources`.")
        self.document = model.document
        self._setting = setting
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(setting.precision)
        self._format = MEMORY_FORMATS.get((setting.device, setting.precision), torch.contiguous_format)
        network: Any = model.network.to(setting.device, memory_format=self._format)
        self._network = torch.compile(network) if setting.compiled else network

    def submit(self, patches: npt.NDArray[np.float32], batch: int) -> Callable[[], Steps]:
        with torch.inference_mode(), _fixed(self._setting), _naming_batch(batch):
            steps = self._steps(self._on_device(patches, batch), len(patches))
            finite = steps.amin() >= 0
            if self._setting.device == "cpu":
                return lambda: as_numbers(steps.numpy(), bool(finite))
            host = torch.empty(steps.shape, dtype=steps.dtype, pin_memory=True)
            host.copy_(steps, non_blocking=True)
            done = torch.cuda.Event()
            done.record()

        def wait() -> Steps:
            done.synchronize()
            return as_numbers(host.numpy(), bool(finite))

        return wait

    def bare(self, patches: npt.NDArray[np.float32]) -> Callable[[], None]:
        """The forward pass alone, of patches that are on the device already: to measure against."""
        batch = self._on_device(patches, len(patches))

        def run() -> None:
            with torch.inference_mode(), _fixed(self._setting), _naming_batch(len(patches)):
                self._forward(batch)
                if self._setting.device == "cuda":
                    torch.cuda.synchronize()

        return run

    def _on_device(self, patches: npt.NDArray[np.float32], batch: int) -> torch.Tensor:
        filled = torch.zeros((batch, *patches.shape[1:]), pin_memory=self._setting.device == "cuda")
        filled[: len(patches)] = torch.from_numpy(patches)
        return filled.to(self._setting.device, memory_format=self._format, non_blocking=True)

    def _steps(self, batch: torch.Tensor, count: int) -> torch.Tensor:
        """The answers in whole steps, averaged over all flips; below 0 where they are no numbers."""

        def answers_to(axes: tuple[int, ...]) -> torch.Tensor:
            given = self._forward(batch.flip(axes).contiguous(memory_format=self._format) if axes else batch)
            check_answer(given.shape, batch.shape, self.document)
            steps = torch.stack([to_steps(activate(given[n], self.document)) for n in range(count)])
            return steps.flip(axes) if axes else steps

        steps: torch.Tensor = mean_of_flips(self._setting.flips, answers_to)
        return steps

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        if self._half is None:
            return self._network(batch)
        with torch.autocast(self._setting.device, self._half):
            return self._network(batch)


class TorchJudge(TorchPredictor):
    """A network that judges patches, on a device: it gives one answer for a patch, whatever its sides."""

    def __init__(self, model: LoadedModel, setting: InferenceSetting) -> None:
        super().__init__(model, setting)
        self._network = self._network.judged

    def _steps(self, batch: torch.Tensor, count: int) -> torch.Tensor:
        given = self._forward(batch)
        check_answer(given.shape, batch.shape[:2], self.document)
        return torch.stack([to_steps(activate(given[n], self.document)) for n in range(count)])


def to_steps(answers: torch.Tensor) -> torch.Tensor:
    """Numbers from 0 to 1 as whole ones from 0 to 65,535; NO_NUMBER for what is no number."""
    return (answers * FULL).add_(0.5).nan_to_num_(nan=NO_NUMBER).to(torch.int32)


@contextmanager
def _naming_batch(batch: int) -> Iterator[None]:
    """The batch is never changed by itself: where it does not fit, the error says so."""
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise MemoryError(
            f"a batch of {batch} patches does not fit into memory: restart the task with a smaller `batch`"
        ) from error


@contextmanager
def _fixed(setting: InferenceSetting) -> Iterator[None]:
    """The same arithmetic whatever else the process does with torch."""
    torch.set_num_threads(setting.threads)
    if setting.device == "cpu":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    tf32 = setting.precision == "tf32"
    before = torch.are_deterministic_algorithms_enabled(), matmul.allow_tf32
    torch.use_deterministic_algorithms(True)
    matmul.allow_tf32 = tf32
    try:
        with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        matmul.allow_tf32 = before[1]


def gpu_batch(document: ModelDocument, setting: InferenceSetting) -> int:
    """The batch that half of the GPU's whole memory holds, a power of 2, at most 32: the same on every GPU of
    a kind, whatever else it is at."""
    one = max(document.memory // (2 if setting.precision in HALF else 1), 1)
    room: int = torch.cuda.get_device_properties(0).total_memory // 2
    return 1 << min(int(max(room // one, 1)).bit_length() - 1, 5)
