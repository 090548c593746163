"""Volumes that are learnt from: opened, checked, and read in the network's voxels.

1. Images are normalised exactly as the task `infer` does it.
2. Truth becomes a heatmap, or the number of a class for each voxel.
3. Each voxel is learnt from, judged by (validation), or neither. Around boxes of validation nothing is learnt
   from as far as a patch reaches, so that no network has seen what judges it; entries of the same images heed
   each other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chunkflow.chunk import Chunk
from chunkflow.data.describe import layer_at, read_info
from chunkflow.data.info import VoxelsInfo
from chunkflow.data.volume import Volume
from chunkflow.errors import BadInput
from chunkflow.formats.points.files import positions, read_points
from chunkflow.geometry import Box, Vec, around, scaled, vec
from chunkflow.networks.channels import box_read, boxes_sampled, channels_over, decide_numbers
from chunkflow.networks.space import Space, check_voxel_size
from chunkflow.networks.training.blocks import BlockCache, Blocks
from chunkflow.networks.training.other_light import OtherLight, RelitVolume
from chunkflow.networks.training.recipe import WHOLE, LearntVolume, NetworkRecipe
from chunkflow.networks.training.truths import (
    CellsTruth,
    ClassesTruth,
    Floats,
    class_numbers,
    heat_of_points,
)
from chunkflow.words import split_mip

Mask = npt.NDArray[np.bool_]
VALIDATION = 5
"""Where a recipe says nothing, one part in so many is for validation."""


@dataclass(frozen=True)
class OpenedVolume:
    """A volume in the network's voxels."""

    name: str
    space: Space
    channels: Blocks
    truth: Blocks
    """A heatmap, 0 and 1, or the numbers of classes; of one channel."""
    annotated: Blocks | None
    boxes: tuple[Box, ...]
    """Only what lies in one of these counts."""
    validation: tuple[Box, ...]
    held_out: tuple[Box, ...]
    margin: Vec
    points: Floats | None = None
    """Places that were marked, in continuous voxels."""
    learns: bool = True
    candidates: Floats | None = None
    """Places that the network is asked about, in continuous voxels."""
    again: tuple[Floats, Floats] | None = None
    """Places of cells, and others, that are to be seen more often."""
    elsewhere: tuple[Box, ...] = ()
    """Where another entry of the same images is judged."""

    @property
    def bounds(self) -> Box:
        """The box around all that counts."""
        return around(self.boxes)

    def counts(self, box: Box) -> Mask:
        """Where something is known of the truth."""
        known = _within(box, self.boxes)
        if self.annotated is not None:
            known &= self.annotated.over(box)[0] != 0
        return known

    def learnt(self, box: Box) -> Mask:
        """Where the network learns."""
        if not self.learns:
            return np.zeros(box.size, bool)
        apart = [part.grow(self.margin) for part in (*self.validation, *self.held_out, *self.elsewhere)]
        return self.counts(box) & ~_within(box, apart)

    def judged(self, box: Box) -> Mask:
        """Where the network is judged while it learns."""
        return self.counts(box) & _within(box, self.validation) & ~_within(box, self.held_out)

    def points_where(self, places: str) -> Floats:
        """The points where the network learns (`learnt`) or is judged (`judged`)."""
        assert self.points is not None
        return self.where(places, self.points)

    def where(self, kind: str, places: Floats) -> Floats:
        """The places where the network learns (`learnt`) or is judged (`judged`)."""
        asked = getattr(self, kind)
        voxels = np.floor(places).astype(int)
        kept = [bool(asked(Box.of_size((1, 1, 1), vec(voxel)))[0, 0, 0]) for voxel in voxels]
        chosen: Floats = places[np.array(kept, bool)]
        return chosen


def _within(box: Box, parts: Sequence[Box]) -> Mask:
    mask = np.zeros(box.size, bool)
    for part in parts:
        mask[part.clip(box).slices(box.start)] = True
    return mask


def open_volumes(
    recipe: NetworkRecipe, cache: BlockCache | None = None, light: OtherLight | None = None
) -> list[OpenedVolume]:
    """The volumes of a recipe, also in another light; BadInput says what is wrong with one before anything is
    learnt."""
    cache = cache or BlockCache()
    opened = [_opened(recipe, volume, cache, light) for volume in recipe.volumes]
    if not any(volume.validation for volume in opened):
        opened = [_with_validation(volume, recipe.patch) for volume in opened]
    return [_apart_from(opened, number) for number in range(len(opened))]


def _apart_from(opened: Sequence[OpenedVolume], number: int) -> OpenedVolume:
    """A volume that heeds what other entries of the same images hold out, and where they are judged."""
    own = opened[number]
    others = [one for n, one in enumerate(opened) if n != number and place_of(one.name) == place_of(own.name)]
    held_out = tuple(box for other in others for box in other.held_out)
    judged = tuple(box for other in others for box in other.validation)
    return replace(own, held_out=(*own.held_out, *held_out), elsewhere=judged)


def _opened(
    recipe: NetworkRecipe, given: LearntVolume, cache: BlockCache, light: OtherLight | None
) -> OpenedVolume:
    images = [layer_at(*place_of(place)) for place in given.images]
    for place, image in zip(given.images, images, strict=True):
        _refuse_unlike(place, image, given.images[0], images[0])
    _check_images(recipe, given, images)
    wanted = recipe.input.voxel_size
    space = Space.of(images[0].volume, images[0].voxel_size, wanted, recipe.resample)
    read = [RelitVolume(image, light, n) if light else Volume(image) for n, image in enumerate(images)]

    def inside(text: str) -> Box:
        box = scaled(Box.parse(text), images[0].voxel_size, space.voxel_size).clip(space.volume)
        if box.empty:
            raise BadInput(f"{given.images[0]}: the box {text} lies outside of it ({space.images}).")
        return box

    all_of_it = given.validation == WHOLE
    boxes = tuple(map(inside, given.boxes)) or (space.volume,)
    points = _points(recipe, given, images[0], space) if isinstance(recipe.truth, CellsTruth) else None
    annotated = _layer(given.annotated, given, images[0]) if given.annotated else None
    return OpenedVolume(
        given.images[0],
        space,
        Blocks(space.volume, _channels(recipe, space, read), cache),
        Blocks(space.volume, _truth(recipe, given, images[0], space, points), cache),
        _blocks_of(annotated, space, cache),
        boxes,
        boxes if all_of_it else tuple(map(inside, given.validation)),
        tuple(map(inside, given.held_out)),
        recipe.learnt_patch,
        points,
        not all_of_it,
        _places(given.candidates, images[0], space) if given.candidates else None,
        _again(given.again, recipe, images[0], space) if given.again else None,
    )


def _with_validation(volume: OpenedVolume, patch: Vec) -> OpenedVolume:
    """The last part along the axis that the most patches fill is for validation; the first one where the last
    is held out."""
    bounds = volume.bounds
    axis = fullest_axis(bounds, patch)
    part = max(bounds.size[axis] // VALIDATION, 1)
    first = bounds.stop[axis] - part
    if any(box.stop[axis] > first for box in volume.held_out):
        first = bounds.start[axis]
    if bounds.size[axis] - part < 2 * patch[axis]:
        raise BadInput(
            f"{volume.name} is too small to keep a part of it for validation: {bounds}, with patches of "
            f"{list(patch)}. Give `validation` (boxes, or all) in one of the volumes."
        )
    start = vec(first if n == axis else bounds.start[n] for n in range(3))
    stop = vec(first + part if n == axis else bounds.stop[n] for n in range(3))
    return replace(volume, validation=(Box(start, stop),))


def fullest_axis(bounds: Box, patch: Vec) -> int:
    """The axis that the most patches fill."""
    return max(range(3), key=lambda n: bounds.size[n] / patch[n])


def place_of(place: str) -> tuple[str, int]:
    """The URL and the mip of a layer."""
    url, mip = split_mip(place)
    return (url if "://" in url else f"file://{Path(url).absolute()}"), mip or 0


def _refuse_unlike(place: str, layer: VoxelsInfo, other: str, first: VoxelsInfo) -> None:
    if not np.allclose(layer.voxel_size, first.voxel_size, rtol=1e-6):
        sizes = [" x ".join(f"{n:g}" for n in one.voxel_size) for one in (layer, first)]
        raise BadInput(
            f"{place} has voxels of {sizes[0]} nm, and {other} of {sizes[1]} nm: give layers, or mips "
            "(PATH@MIP), of the same voxels."
        )
    if layer.volume != first.volume:
        raise BadInput(f"{place} covers {layer.volume}, and {other} {first.volume}: both must be the same.")


def _check_images(recipe: NetworkRecipe, given: LearntVolume, images: Sequence[VoxelsInfo]) -> None:
    for channel in recipe.input.channels:
        name, image = given.images[channel.image], images[channel.image]
        if channel.channel >= image.channels:
            raise BadInput(f"{name} has no channel {channel.channel}: it has {image.channels}, from 0.")
    first = images[0]
    scales = read_info(first.url)["scales"]
    sizes = [(float(x), float(y), float(z)) for x, y, z in (scale["resolution"] for scale in scales)]
    name = split_mip(given.images[0])[0]
    check_voxel_size(name, first.voxel_size, recipe.input.voxel_size, sizes, recipe.resample)


def _layer(place: str, given: LearntVolume, image: VoxelsInfo) -> VoxelsInfo:
    layer = layer_at(*place_of(place))
    _refuse_unlike(place, layer, given.images[0], image)
    if layer.channels != 1 or np.dtype(layer.dtype).kind not in "ui":
        raise BadInput(f"{place} holds {layer.channels} channels of {layer.dtype}: labels are whole numbers.")
    return layer


def _points(recipe: NetworkRecipe, given: LearntVolume, image: VoxelsInfo, space: Space) -> Floats:
    truth = recipe.truth
    assert isinstance(truth, CellsTruth)
    places = _places(given.truth, image, space, truth.unit, truth.of_class)
    if not len(places):
        of = f" of the class {truth.of_class}" if truth.of_class else ""
        raise BadInput(f"{given.truth} has no point{of}.")
    return places


def _again(file: str, recipe: NetworkRecipe, image: VoxelsInfo, space: Space) -> tuple[Floats, Floats] | None:
    """The cells of a file that are to be seen again, and what is none; None where the file has no place."""
    name = recipe.truth.outputs[0].name
    rows = read_points(Path(file), image)
    if "class" not in rows.column_names:
        raise BadInput(f"{file} has no column `class`, which says of each place whether it is a {name}.")
    places, is_cell = positions(rows) / np.array(space.ratios), np.array(rows["class"].to_pylist()) == name
    return (places[is_cell], places[~is_cell]) if len(places) else None


def _places(file: str, image: VoxelsInfo, space: Space, unit: str = "", of_class: str = "") -> Floats:
    """The points of a file, in the network's continuous voxels."""
    rows = read_points(Path(file), image, unit="" if unit == "voxels" else unit)
    if of_class:
        if "class" not in rows.column_names:
            raise BadInput(f"{file} has no column `class` to take {of_class} from.")
        rows = rows.filter(np.array(rows["class"].to_pylist()) == of_class)
    return np.asarray(positions(rows) / np.array(space.ratios))


def _channels(recipe: NetworkRecipe, space: Space, images: Sequence[Volume]) -> Any:
    sampled = ([image.read(box) for image in images] for box in boxes_sampled(recipe.input, space))
    numbers = decide_numbers(recipe.input, space, sampled)

    def make(box: Box) -> npt.NDArray[np.float32]:
        read = box_read(recipe.input, space, box)
        return channels_over(recipe.input, space, numbers, [image.read(read) for image in images], box)

    return make


def _blocks_of(labels: VoxelsInfo | None, space: Space, cache: BlockCache) -> Blocks | None:
    return None if labels is None else Blocks(space.volume, partial(_labels, Volume(labels), space), cache)


def _labels(layer: Volume, space: Space, box: Box) -> npt.NDArray[Any]:
    chunk: Chunk = layer.read(space.read(box))
    return np.ascontiguousarray(space.labels(chunk.array, chunk.box, box))[None]


def _truth(
    recipe: NetworkRecipe, given: LearntVolume, image: VoxelsInfo, space: Space, points: Floats | None
) -> Any:
    truth = recipe.truth
    if isinstance(truth, CellsTruth):
        assert points is not None
        return lambda box: heat_of_points(points, box, space.voxel_size, truth.diameter)[None]
    layer = Volume(_layer(given.truth, given, image))
    if isinstance(truth, ClassesTruth):
        return lambda box: class_numbers(truth, _labels(layer, space, box))
    return lambda box: (_labels(layer, space, box) != 0).astype(np.uint8)
