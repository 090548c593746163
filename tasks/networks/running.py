"""What the tasks share that run a trained network: how it runs, what it is given, and in which voxels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from chunkflow.data.describe import read_info
from chunkflow.data.info import ImageInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, VoxelSize
from chunkflow.networks.channels import boxes_sampled, decide_numbers
from chunkflow.networks.loading import device_for, known_model
from chunkflow.networks.model_file import ModelFile
from chunkflow.networks.models.named import NetworkModel, model_path
from chunkflow.networks.setting import HALF, DeviceKind, InferenceSetting, Precision
from chunkflow.networks.space import Space, check_voxel_size
from chunkflow.task import Layout, Task

PACKAGES = 300 * 2**20
"""What torch takes once it has run."""


class RunsNetwork(Task):
    """What these tasks have in common; their images are a field `images` of their own."""

    model: NetworkModel = Field(
        description="the model file, .safetensors or .onnx, or the name of one that comes along"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network runs; auto is cuda where the worker is given a GPU"
    )
    precision: Precision = Field("fp32", description="the arithmetic within the network")
    batch: int | Literal["auto"] = Field(
        "auto", description="patches at a time; auto is 1 on a CPU, what half of its memory holds on a GPU"
    )
    threads: int = Field(1, ge=1, le=256, description="threads of a worker on a CPU")
    resample: bool = Field(False, description="interpolate the images to the network's size of voxels")

    @field_validator("batch")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("takes at least 1 patch")
        return value

    def files_read(self) -> dict[str, Sequence[str | Path]]:
        return {**super().files_read(), "model": [model_path(self.model)]}

    def _check_images(self, layout: Layout, names: Sequence[str]) -> None:
        """Refuse images that the network does not take, or not at the size of their voxels."""
        given, images = known_model(self.model).document.input, layout.images("images")
        if len(images) != given.images:
            raise BadInput(f"{self.model} takes {given.images} images, and images names {len(images)}.")
        for channel in given.channels:
            name, image = names[channel.image], images[channel.image]
            if channel.channel >= image.channels:
                raise BadInput(
                    f"{self.model} takes channel {channel.channel} of {name}, which has {image.channels}, "
                    "counted from 0."
                )
        sizes = _sizes_of_mips(images[0], "images" in layout.made)
        check_voxel_size(names[0], images[0].voxel_size, given.voxel_size, sizes, self.resample)

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        given = known_model(self.model).document.input
        return [("images", box) for box in boxes_sampled(given, self._space(layout))]

    def _decided(self, layout: Layout, samples: Iterable[Any], batch: int) -> dict[str, Any]:
        """What every cell must share: device, size of a batch, the numbers of the channels."""
        given, space = known_model(self.model).document.input, self._space(layout)
        numbers = decide_numbers(given, space, samples)
        return {"device": self._setting(layout).device, "batch": batch, "channels": numbers}

    def _space(self, layout: Layout) -> Space:
        return space_of(layout, self.model, self.resample)

    def _setting(self, layout: Layout) -> InferenceSetting:
        device: DeviceKind = device_for(layout.resources) if self.device == "auto" else self.device
        return InferenceSetting(device, self.precision, self.threads)


def space_of(layout: Layout, model: str, resample: bool) -> Space:
    """The voxels that a network works on, where `images` are given."""
    first = layout.images("images")[0]
    wanted = known_model(model).document.input.voxel_size
    return Space.of(first.volume, first.voxel_size, wanted, resample)


def _sizes_of_mips(image: ImageInfo, is_made: bool) -> list[VoxelSize]:
    """The sizes of the voxels of all mips of a layer, as far as they are known."""
    if is_made:
        return [image.voxel_size]
    sizes = [tuple(map(float, scale["resolution"])) for scale in read_info(image.url)["scales"]]
    return [(x, y, z) for x, y, z in sizes]


def loaded_bytes(file: ModelFile, precision: Precision, batch: int) -> int:
    """Bytes that packages, weights and a batch within the network take."""
    return PACKAGES + 2 * file.bytes + batch * file.document.memory // (2 if precision in HALF else 1)
