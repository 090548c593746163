"""A trained network over images of any size: the same bytes however the volume is cut.

1. `prepare` decides once for all: device, size of a batch, the numbers by which channels are normalised.
2. `setup` loads the network on each worker, which proves itself on the patch that its model file holds.
3. The channels of a cell and of what its patches reach beyond it are read, resampled and normalised.
4. Patches lie where the volume alone says; their outputs are added up in whole numbers and divided once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, field_validator

from chunkflow.chunk import Array, Chunk
from chunkflow.data.info import ChannelContent, ImageInfo, LayerInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid
from chunkflow.networks.channels import box_read, channels_over
from chunkflow.networks.loading import (
    ARCHITECTURES,
    batch_for,
    known_model,
    load_predictor,
    measure_predictor,
    module_of,
)
from chunkflow.networks.prediction import (
    PatchSums,
    Predictor,
    Stored,
    patches_of,
    patches_wanted,
    predict,
)
from chunkflow.networks.setting import Flips, InferenceSetting
from chunkflow.task import Cell, Image, Labels, Layout, Out
from tasks.networks.running import RunsNetwork, loaded_bytes

MANY_REPEATS = 1.5


class Infer(RunsNetwork):
    """Run a trained network over images; its outputs become the channels of one image.

    The model is a file of chunkflow's own (.safetensors, or .onnx), which says which images the network
    takes, how they are normalised, the size of voxels that it has learnt at, and what its outputs are. Images
    of voxels that are off by more than 15 % are refused; with `resample` a finer mip is interpolated to them.

    Patches lie where the volume says, whatever the chunks, and overlap; a network's outputs are weighted in
    whole numbers, so no cut changes a byte. Give the task a GPU by `resources` in the job, as in
    `resources: {infer: {gpus: 1}}`. Other precisions, batches and numbers of threads give other last digits;
    none is ever changed by itself.
    """

    sizes_cells: ClassVar[bool] = True

    images: list[Image] = Field(min_length=1, description="what the network takes, in the order of its model")
    made: Image = Out("the network's outputs, a channel each")
    mask: Labels = Field("", description="where it is 0 nothing is computed, and all outputs are 0")
    dtype: Stored = Field("uint8", description="how outputs are stored; uint8 has 255 for 1")
    flips: Flips = Field("none", description="average over the network's answers to flipped patches")
    compile: bool = Field(False, description="compile the network before it runs (torch.compile)")
    architectures: dict[str, str] = Field(
        default_factory=dict,
        description="architectures of your own in files beside the job, by name, as residual: nets.py:Net",
    )

    @field_validator("architectures")
    @classmethod
    def _in_files(cls, value: dict[str, str]) -> dict[str, str]:
        for name, place in value.items():
            if name in ARCHITECTURES:
                raise ValueError(f"{name} is an architecture of chunkflow's own: choose another name")
            module_of(place)
        return value

    @classmethod
    def modules_named(cls, parameters: Mapping[str, Any]) -> list[str]:
        given = parameters.get("architectures")
        places = given.values() if isinstance(given, Mapping) else ()
        return [module_of(place)[0] for place in places if isinstance(place, str) and ":" in place]

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        document = known_model(self.model).document
        self._check_model()
        self._check_images(layout, self.images)
        space = self._space(layout)
        contents = tuple(
            ChannelContent(
                name=output.name, kind=output.kind, offset=output.offset, threshold=output.threshold
            )
            for output in document.outputs
        )
        made = ImageInfo(
            volume=space.volume,
            voxel_size=space.voxel_size,
            dtype=self.dtype,
            channels=len(contents),
            contents=contents,
        )
        return {"made": made}

    def _check_model(self) -> None:
        document = known_model(self.model).document
        if document.architecture not in {*ARCHITECTURES, *self.architectures}:
            raise BadInput(
                f"{self.model} is of the architecture {document.architecture}, which is none of "
                f"{', '.join(ARCHITECTURES)}: say by architectures which class it is, as in "
                f"{document.architecture}: nets.py:Net."
            )
        if self.flips != "none" and any(output.kind == "affinity" for output in document.outputs):
            raise BadInput("Affinities of a flipped patch are with other voxels: take flips: none.")

    def reads(self, field: str, box: Box, layout: Layout) -> Sequence[Box]:
        space, document = self._space(layout), known_model(self.model).document
        if field == "mask":
            return [space.read(box)]
        return [box_read(document.input, space, patches_of(document, space.volume).window(box))]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        """A model that cannot be run is refused before the first voxel is written."""
        predictor, setting = self.setup(layout), self._setting(layout)
        return self._decided(layout, samples, self._batch_size(predictor, setting))

    def _batch_size(self, predictor: Predictor, setting: InferenceSetting) -> int:
        only = predictor.only_batch
        if self.batch == "auto":
            return only or batch_for(predictor.document, setting)
        if only not in (None, self.batch):
            raise BadInput(f"{self.model} takes {only} patches at a time: set `batch` to that.")
        return self.batch

    def _setting(self, layout: Layout) -> InferenceSetting:
        return replace(super()._setting(layout), flips=self.flips, compiled=self.compile)

    def setup(self, layout: Layout) -> Predictor:
        return load_predictor(self.model, self._setting(layout), self.architectures, layout.load)

    def map(self, cell: Cell, images: list[Chunk], mask: Chunk | None = None) -> Chunk:
        predictor: Predictor = cell.loaded
        document, space = predictor.document, self._space(cell.layout)
        kept = None if mask is None else space.labels(mask.array, mask.box, cell.box) != 0
        sums = PatchSums.over(cell.box, document)
        patches = patches_of(document, space.volume)
        wanted = patches_wanted(patches, cell.box, kept)
        if wanted:
            window = patches.window(cell.box)
            channels = channels_over(document.input, space, cell.values["channels"], images, window)
            predict(predictor, channels, window, wanted, sums, cell.values["batch"])
        made: Array = sums.stored(document, self.dtype)
        if kept is not None:
            made[~kept] = 0
        return Chunk(made if made.shape[3] > 1 else made[..., 0], cell.box, cell.voxel_size)

    def memory(self, layout: Layout, box: Box, voxels: int) -> int:
        """The network and its packages, the channels over the window of all patches, and the sums."""
        file, space = known_model(self.model), self._space(layout)
        window = patches_of(file.document, space.volume).window(box).voxels
        return loaded_bytes(file, self.precision, 1 if self.batch == "auto" else self.batch) + (
            4 * window * (len(file.document.input.channels) + 1)
            + 4 * box.voxels * (len(file.document.outputs) + 1)
        )

    def speeds(self, layout: Layout) -> list[str]:
        return measure_predictor(self.model, self._setting(layout), self.architectures, layout.load)

    def remarks(self, layout: Layout, grid: Grid) -> list[str]:
        document, space = known_model(self.model).document, self._space(layout)
        patches = patches_of(document, space.volume)
        repeats, count = patches.repeats(grid), patches.count(grid.bounds)
        said = (
            f"{count:,} patches of {list(document.patch)}, each computed {repeats:.2f} times in chunks of "
            f"{list(grid.cell)}, as neighbours share those on their borders"
        )
        if repeats > MANY_REPEATS:
            said += "; larger chunks (leave `chunk` out, or give more `memory`) compute fewer"
        return [f"{said}."]
