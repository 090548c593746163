"""Folds: recipes that each leave a part out, and what that part is, by volume or by blocks of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chunkflow.data.describe import layer_at
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, around, vec
from chunkflow.networks.training.recipe import WHOLE, LearntVolume, NetworkRecipe
from chunkflow.networks.training.volumes import OpenedVolume, fullest_axis, open_volumes, place_of


@dataclass(frozen=True)
class Fold:
    """One training, and what it is tested on: nothing of that is learnt from, nor decided by."""

    number: int
    recipe: NetworkRecipe
    tests: tuple[LearntVolume, ...]
    """Volumes whose `validation` is what is tested."""

    def opened_tests(self) -> list[OpenedVolume]:
        """The volumes of the test."""
        volumes = open_volumes(self.recipe.model_copy(update={"volumes": self.tests}))
        return [replace(volume, learns=False) for volume in volumes]


def folds_of(recipe: NetworkRecipe, count: int) -> list[Fold]:
    """The folds of a recipe: by volume where there are enough to learn from, else each volume in slabs."""
    learnt = [volume for volume in recipe.volumes if volume.validation != WHOLE]
    images = list(dict.fromkeys(place_of(volume.images[0]) for volume in learnt))
    if len(images) >= count:
        return [_by_volume(recipe, images[number::count], number) for number in range(count)]
    return [_by_space(recipe, number, count) for number in range(count)]


def _by_volume(recipe: NetworkRecipe, images: Sequence[tuple[str, int]], number: int) -> Fold:
    """All entries of some images, which nothing is learnt from."""
    apart = [volume for volume in recipe.volumes if place_of(volume.images[0]) in images]
    tests = [volume for volume in apart if volume.validation != WHOLE]
    kept = tuple(volume for volume in recipe.volumes if volume not in apart)
    if not any(volume.validation != WHOLE for volume in kept):
        raise BadInput("Folds by volume need at least 2 volumes that are learnt from: give fewer `folds`.")
    tested = tuple(volume.model_copy(update={"validation": WHOLE, "held_out": ()}) for volume in tests)
    return Fold(number, recipe.model_copy(update={"volumes": kept}), tested)


def _by_space(recipe: NetworkRecipe, number: int, count: int) -> Fold:
    """One slab of each volume that is learnt from, across the axis that the most patches fill."""
    kept, tests = [], []
    for volume in recipe.volumes:
        if volume.validation == WHOLE:
            kept.append(volume)
            continue
        slab = _slab(volume, recipe, number, count)
        own = tuple(text for text in volume.validation if not Box.parse(text).meets(slab))
        apart = {"held_out": (*volume.held_out, str(slab)), "validation": own}
        kept.append(volume.model_copy(update=apart))
        tests.append(volume.model_copy(update={"validation": (str(slab),), "held_out": ()}))
    return Fold(number, recipe.model_copy(update={"volumes": tuple(kept)}), tuple(tests))


def _slab(volume: LearntVolume, recipe: NetworkRecipe, number: int, count: int) -> Box:
    boxes = [Box.parse(text) for text in volume.boxes] or [layer_at(*place_of(volume.images[0])).volume]
    bounds = around(boxes)
    axis = fullest_axis(bounds, recipe.patch)
    if bounds.size[axis] // count < recipe.patch[axis]:
        raise BadInput(
            f"{volume.images[0]} is too small for {count} folds: {bounds}, with patches of "
            f"{list(recipe.patch)}. Give fewer `folds`, or more volumes."
        )
    ends = [bounds.start[axis] + bounds.size[axis] * n // count for n in (number, number + 1)]
    return Box(
        vec(ends[0] if n == axis else bounds.start[n] for n in range(3)),
        vec(ends[1] if n == axis else bounds.stop[n] for n in range(3)),
    )
