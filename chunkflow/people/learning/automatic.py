"""The contrast that segment decides by itself: the task's own decision, from its own sample of the layer."""

from __future__ import annotations

from dataclasses import dataclass

from chunkflow.data.info import ImageInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.kernels.images.threshold import PEAK_RATIO
from chunkflow.modules import Modules
from chunkflow.registry import task_type
from chunkflow.task import Layout

ANY_CHUNK = (64, 64, 64)
"""A sample does not depend on the chunks of a job."""


@dataclass(frozen=True)
class Automatic:
    """Decision of segment for one diameter, in micrometres, with `threshold: auto`."""

    diameter: float
    contrast: float
    """Least response at the peak of a nucleus."""
    warning: str = ""
    """The task's own doubt of it, if any."""


def automatic_contrast(layer: ImageInfo, channel: int, diameter: float) -> Automatic:
    """Decide the contrast of one channel of an image just as segment does before its first chunk.

    The sample is read from the whole layer, whatever part of it was marked.
    """
    kind = task_type("segment", Modules())
    fields = {"image": "image", "labels": "labels", "diameter": diameter, "channel": channel}
    task = kind.model_validate(fields)
    layout = Layout({"image": (layer,)}, ANY_CHUNK, ANY_CHUNK)
    volume = Volume(layer)
    assert task.prepare is not None
    try:
        values = task.prepare(layout, (volume.read(box) for _, box in task.samples(layout)))
    except ValueError as error:
        raise BadInput(f"The automatic threshold cannot be decided: {error}.") from error
    assert values is not None
    return Automatic(diameter, PEAK_RATIO * float(values["threshold"]), str(values.get("warning", "")))
