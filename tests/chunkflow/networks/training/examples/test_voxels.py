"""Examples: a function of seed, step and index alone; image and truth together; nothing of the validation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkflow.geometry import Box, vec
from chunkflow.networks.training.blocks import BlockCache, Blocks
from chunkflow.networks.training.examples.voxels import Example, TrainingExamples
from chunkflow.networks.training.volumes import open_volumes
from tests.support.models.training import SIZE, make_tissue, recipe_of

VARIED = {
    "elastic": 1.5,
    "spacing": 8,
    "slope": 0.2,
    "blur": 1.0,
    "missing": 0.3,
    "shifted": 0.3,
}


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def examples_of(
    tissue: dict[str, str], kind: str = "points", cache: int = 2**30, **changes: Any
) -> TrainingExamples:
    recipe = recipe_of(tissue, kind, **changes)
    return TrainingExamples(recipe, open_volumes(recipe, BlockCache(cache)))


def same(one: Example, other: Example) -> bool:
    names = ("channels", "truth", "known")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in names)


@pytest.mark.parametrize("kind", ["points", "labels", "classes"])
def test_an_example_depends_on_seed_step_and_index_alone(tissue: dict[str, str], kind: str) -> None:
    first = examples_of(tissue, kind, augment=VARIED)
    wanted = [(step, index) for step in (0, 7, 10**6) for index in (0, 1)]
    made = {at: first.one(*at) for at in wanted}
    tiny = examples_of(tissue, kind, cache=1, augment=VARIED)  # forgets all blocks, and makes them again
    with ThreadPoolExecutor(4) as pool:
        again = dict(zip(reversed(wanted), pool.map(lambda at: tiny.one(*at), reversed(wanted)), strict=True))
    assert all(same(made[at], again[at]) for at in wanted)
    assert not same(made[0, 0], made[0, 1])
    assert not same(made[0, 0], examples_of(tissue, kind, augment=VARIED, seed=1).one(0, 0))


def test_image_and_truth_are_turned_and_stretched_together(tissue: dict[str, str]) -> None:
    """Where labels say that there is a cell, the image is brighter, however it was varied."""
    examples = examples_of(tissue, "labels", augment={"elastic": 1.5, "spacing": 8, "gain": 1, "offset": 0})
    for step in range(20):
        one = examples.one(step, 0)
        if 20 < one.truth.sum() < one.truth.size - 20:
            inside, outside = one.channels[0][one.truth == 1], one.channels[0][one.truth == 0]
            assert inside.mean() > outside.mean() + 0.3


def test_half_of_the_patches_are_around_what_is_rare(tissue: dict[str, str]) -> None:
    for rare, least, most in ((1.0, 0.9, 1.0), (0.0, 0.0, 0.8)):
        examples = examples_of(tissue, "points", rare=rare, patch=[8, 8, 4])
        middles = [examples.one(step, 0).truth.max() > 0.5 for step in range(60)]
        assert least <= np.mean(middles) <= most


def test_nothing_of_the_validation_is_learnt(tissue: dict[str, str]) -> None:
    recipe = recipe_of(tissue, "classes")
    (volume,) = open_volumes(recipe)
    whole = Box.of_size(SIZE)
    learnt, judged = volume.learnt(whole), volume.judged(whole)
    assert judged[54:].all()
    assert not judged[:54].any()
    assert not learnt[54 - 16 :].any()  # a patch's margin
    assert learnt[: 54 - 16].all()
    examples = TrainingExamples(recipe, [volume])
    for step in range(40):
        one = examples.one(step, 0)
        assert not (one.truth[one.known] > 1).any()  # what nobody painted is not known


def test_annotated_and_boxes_bound_what_counts(tissue: dict[str, str], tmp_path: Path) -> None:
    document = {"images": tissue["image"], "truth": tissue["points"], "annotated": tissue["labels"]}
    document |= {"boxes": ["0-30,0-40,0-24", "20-72,0-20,0-24"], "validation": "60-72,0-20,0-24"}
    recipe = recipe_of(tissue, volumes=[document | {"held_out": "0-8,0-8,0-8"}], patch=[8, 8, 4])
    (volume,) = open_volumes(recipe)
    whole = Box.of_size(SIZE)
    counts, learnt = volume.counts(whole), volume.learnt(whole)
    assert counts.any()
    assert not counts[40:, 30:].any()
    assert not learnt[:16, :16, :12].any()  # held out, with a margin
    assert (counts <= (volume.annotated.over(whole)[0] > 0)).all()  # type: ignore[union-attr]
    assert (learnt <= counts).all()


@settings(max_examples=60)
@given(st.data())
def test_blocks_give_any_box_and_its_mirror_beyond_the_volume(data: st.DataObject) -> None:
    size, start = (70, 20, 40), (3, -7, 5)
    volume = Box.of_size(size, start)
    whole = np.arange(np.prod(size), dtype=np.int64).reshape(1, *size)
    blocks = Blocks(volume, lambda box: whole[(slice(None), *box.slices(start))].copy(), BlockCache(10**6))
    first = [data.draw(st.integers(a - 9, b - 1)) for a, b in zip(volume.start, volume.stop, strict=True)]
    least = [max(a, f) + 1 for a, f in zip(volume.start, first, strict=True)]
    last = [data.draw(st.integers(a, b + 9)) for a, b in zip(least, volume.stop, strict=True)]
    box = Box(vec(first), vec(last))
    padded = np.pad(whole, [(0, 0), (9, 9), (9, 9), (9, 9)], mode="symmetric")
    wanted = padded[(slice(None), *box.slices(vec(a - 9 for a in start)))]
    np.testing.assert_array_equal(blocks.over(box), wanted)
