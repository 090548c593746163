"""Models by their files: read, and made ready to run; torch and its like are imported when a network is asked
for, those of ONNX when the file is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from chunkflow.errors import BadInput
from chunkflow.extras import optional_import
from chunkflow.networks.document import ONNX, ModelDocument
from chunkflow.networks.judging import PATCHES, field_of
from chunkflow.networks.model_file import ModelFile, is_onnx, open_safetensors
from chunkflow.networks.models.named import model_path
from chunkflow.networks.prediction import Predictor, prove
from chunkflow.networks.setting import DeviceKind, InferenceSetting
from chunkflow.resources import Resources

ARCHITECTURES = ("plain", "unet", PATCHES, ONNX)
"""Those that need no class of one's own."""
PURPOSE = "Running a network"


def read_model(path: str | Path) -> ModelDocument:
    """The document of a model file, or of a model that comes along, by its name; BadInput says what is wrong
    with it. Nothing of the file is run.

    >>> read_model(folder / "membranes.safetensors").outputs[0].name
    'membrane'
    """
    return open_model(path).document


def open_model(path: str | Path) -> ModelFile:
    """What a model file says of itself, checked."""
    if not is_onnx(path):
        return open_safetensors(path)
    from chunkflow.networks.onnx.graph import open_graph

    return open_graph(path)


def known_model(path: str | Path) -> ModelFile:
    """What a model file says of itself; read once as long as the file stays what it is."""
    path = model_path(path)
    try:
        stat = path.stat()
    except OSError:
        return open_model(path)  # says what is wrong
    return _known(str(path), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _known(path: str, modified: int, size: int) -> ModelFile:
    return open_model(path)


def load_predictor(
    path: str | Path,
    setting: InferenceSetting,
    architectures: Mapping[str, str] | None = None,
    load: Callable[[str], ModuleType] | None = None,
) -> Predictor:
    """The network of a model file, ready to run, once it has proved itself on this worker.

    `architectures` are classes of one's own, by name, as nets.py:Net; `load` imports their modules.
    """
    document = read_model(path)
    if document.architecture == ONNX:
        optional_import("onnxruntime", PURPOSE)
        from chunkflow.networks.onnx.predictor import load_onnx

        return load_onnx(path, setting)
    optional_import("torch", PURPOSE)
    optional_import("safetensors", PURPOSE)
    from chunkflow.networks.inference import TorchPredictor
    from chunkflow.networks.weights import load_model

    model = load_model(path, classes_of(architectures or {}, load))
    unflipped = TorchPredictor(model, replace(setting, flips="none"))
    prove(unflipped, model.test_input.numpy(), model.test_output.numpy(), setting.precision)
    predictor: Predictor = TorchPredictor(model, setting)
    return predictor


def load_judge(path: str | Path, setting: InferenceSetting) -> Predictor:
    """The same of a network that judges patches: for each it gives one answer, of patch and output alone."""
    field_of(read_model(path), path)
    optional_import("torch", PURPOSE)
    optional_import("safetensors", PURPOSE)
    from chunkflow.networks.inference import TorchJudge, TorchPredictor
    from chunkflow.networks.weights import load_model

    model = load_model(path)
    everywhere = TorchPredictor(model, setting)
    prove(everywhere, model.test_input.numpy(), model.test_output.numpy(), setting.precision)
    judge: Predictor = TorchJudge(model, setting)
    return judge


def measure_predictor(
    path: str | Path,
    setting: InferenceSetting,
    architectures: Mapping[str, str] | None = None,
    load: Callable[[str], ModuleType] | None = None,
) -> list[str]:
    """Sentences on the speed of a network on this machine, by precision and batch; none of an ONNX graph."""
    if read_model(path).architecture == ONNX:
        return []
    optional_import("torch", PURPOSE)
    optional_import("safetensors", PURPOSE)
    from chunkflow.networks.measuring import measure_speeds
    from chunkflow.networks.weights import load_model

    classes = classes_of(architectures or {}, load)
    return [str(speed) for speed in measure_speeds(lambda: load_model(path, classes), setting)]


def classes_of(architectures: Mapping[str, str], load: Callable[[str], ModuleType] | None) -> dict[str, type]:
    """The classes that nets.py:Net and its like name."""
    found = {}
    for name, place in architectures.items():
        module, kind = module_of(place)
        try:
            found[name] = getattr((load or import_module)(module), kind)
        except (ImportError, AttributeError) as error:
            raise BadInput(f"The architecture {name} ({place}) cannot be loaded: {error}.") from error
    return found


def module_of(place: str) -> tuple[str, str]:
    """The module and the class that nets.py:Net names; ValueError for anything else."""
    file, colon, kind = place.partition(":")
    module = file.removesuffix(".py")
    if not (colon and kind.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError(f"name a class in a file beside the job, as in nets.py:Net, not {place!r}")
    return module, kind


def device_for(resources: Resources) -> DeviceKind:
    """CUDA where a worker is given a GPU."""
    return "cuda" if resources.gpus else "cpu"


def batch_for(document: ModelDocument, setting: InferenceSetting) -> int:
    """The size of a batch where it is left to chunkflow: 1 on a CPU, where more gain nothing, and in ONNX."""
    if setting.device == "cpu" or document.architecture == ONNX:
        return 1
    from chunkflow.networks.inference import gpu_batch

    return gpu_batch(document, setting)
