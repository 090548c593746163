"""Inference by onnxruntime: batches of patches through a graph, in single precision.

The runtime is given the bytes that were checked, never a path, so that it opens no other file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.networks.document import ModelDocument
from chunkflow.networks.onnx.graph import CheckedGraph, read_onnx
from chunkflow.networks.placement import FULL
from chunkflow.networks.prediction import (
    NO_NUMBER,
    Predictor,
    Steps,
    as_numbers,
    check_answer,
    mean_of_flips,
    prove,
)
from chunkflow.networks.setting import InferenceSetting
from chunkflow.words import shortened

Floats = npt.NDArray[np.float32]

CUDA = "CUDAExecutionProvider"
PROVIDERS: dict[str, list[Any]] = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": [(CUDA, {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}), "CPUExecutionProvider"],
}
"""On CUDA no algorithm is chosen by trying."""
CONFIG = {"session.load_model_format": "ONNX", "session.intra_op.allow_spinning": "0"}


def load_onnx(path: str | Path, setting: InferenceSetting) -> Predictor:
    """The graph of a model file, ready to run, once it has proved itself on this worker."""
    model = read_onnx(path)
    unflipped = OnnxPredictor(model.graph, model.file.document, replace(setting, flips="none"))
    prove(unflipped, model.test_input, model.test_output, setting.precision)
    return OnnxPredictor(model.graph, model.file.document, setting, unflipped)


class OnnxPredictor:
    """A graph on a device; a `Predictor`."""

    def __init__(
        self,
        graph: CheckedGraph,
        document: ModelDocument,
        setting: InferenceSetting,
        running: OnnxPredictor | None = None,
    ) -> None:
        """`running`: another of the same graph, which shares what runs it."""
        self.document = document
        self.only_batch = graph.only_batch
        self._path, self._setting = graph.path, setting
        self._session: Any = running._session if running else open_session(graph, setting)
        self._input, self._output = self._session.get_inputs()[0].name, self._session.get_outputs()[0].name

    def submit(self, patches: Floats, batch: int) -> Callable[[], Steps]:
        if batch != (self.only_batch or batch):
            raise BadInput(f"{self._path} takes {self.only_batch} patches at a time: set `batch` to that.")
        filled = np.zeros((batch, *patches.shape[1:]), np.float32)
        filled[: len(patches)] = patches

        def answers_to(axes: tuple[int, ...]) -> npt.NDArray[np.int32]:
            given = self.forward(np.ascontiguousarray(np.flip(filled, axes)) if axes else filled)
            answers = np.stack([activate_array(one, self.document) for one in given[: len(patches)]])
            return array_steps(np.flip(answers, axes) if axes else answers)

        steps: npt.NDArray[np.int32] = mean_of_flips(self._setting.flips, answers_to)
        finite = bool((steps >= 0).all())
        return lambda: as_numbers(steps, finite)

    def forward(self, batch: Floats) -> Floats:
        """What the graph gives for a batch; ValueError where it cannot be run."""
        try:
            given: Floats = self._session.run([self._output], {self._input: batch})[0]
        except Exception as error:  # those of the runtime have no base class of their own
            raise ValueError(f"onnxruntime cannot run the network ({_first_line(error)})") from error
        check_answer(given.shape, batch.shape, self.document)
        return given


def open_session(graph: CheckedGraph, setting: InferenceSetting) -> Any:
    """The session of onnxruntime that runs a graph on a device."""
    runtime = optional_import("onnxruntime", f"Running {graph.path}")
    if setting.precision != "fp32":
        raise BadInput(
            f"{graph.path} is an ONNX graph, which runs in fp32 alone, not in {setting.precision}."
        )
    if setting.compiled:
        raise BadInput(f"{graph.path} is an ONNX graph, which torch does not compile: leave `compile` out.")
    if setting.device == "cuda" and CUDA not in runtime.get_available_providers():
        raise BadInput(
            "The device is cuda, but the onnxruntime of this worker is one for CPUs: pip install "
            "onnxruntime-gpu in its place, or take device cpu."
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = setting.threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what goes wrong is raised
    for key, value in CONFIG.items():
        options.add_session_config_entry(key, value)
    data, providers = graph.model.SerializeToString(), PROVIDERS[setting.device]
    try:
        session = runtime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # those of the runtime have no base class of their own
        raise BadInput(f"onnxruntime refuses {graph.path}: {_first_line(error)}.") from error
    if setting.device == "cuda" and CUDA not in session.get_providers():
        raise BadInput("The device is cuda, but this worker sees no GPU; ask for one in `resources`.")
    return session


def activate_array(given: Floats, document: ModelDocument) -> Floats:
    """The outputs of one patch (output, x, y, z) from 0 to 1, in single precision."""
    made = given.astype(np.float32)
    classes = [] if document.activated else document.indexes_of_classes
    for index, output in enumerate(document.outputs):
        if output.kind == "image":
            low, high = np.float32(output.range[0]), np.float32(output.range[1])
            made[index] = (given[index] - low) / (high - low)
        elif not document.activated and index not in classes:
            with np.errstate(over="ignore"):
                made[index] = 1 / (1 + np.exp(-given[index]))
    if classes:
        powers = np.exp(given[classes] - given[classes].max(0))
        made[classes] = powers / powers.sum(0)
    return made.clip(0, 1)


def array_steps(answers: Floats) -> npt.NDArray[np.int32]:
    """Numbers from 0 to 1 as whole ones from 0 to 65,535; NO_NUMBER for what is no number."""
    steps: Floats = answers * np.float32(FULL) + np.float32(0.5)
    return np.nan_to_num(steps, nan=NO_NUMBER).astype(np.int32)


def _first_line(error: Exception) -> str:
    return shortened(str(error).partition("\n")[0].rstrip("."))
