"""Another light: the same however it is read, decided anew, and told beside the scores as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkflow as cf
from chunkflow.data.describe import layer_at
from chunkflow.data.volume import Volume
from chunkflow.geometry import Box, Grid
from chunkflow.kernels.images.noise import response_spread
from chunkflow.networks.training.other_light import OtherLight, RelitVolume
from chunkflow.networks.training.regions import judged_regions
from chunkflow.networks.training.training import fit_network, predict_over
from chunkflow.networks.training.volumes import open_volumes
from chunkflow.people.learning.networks import other_light
from tests.support.jobs import make_layer
from tests.support.models.training import SIZE, make_tissue, recipe_of

SAME = OtherLight(gain=1, offset=0, slope=0, noise=0)


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_tissue(tmp_path_factory.mktemp("tissue"))


def read_both(path: str, light: OtherLight, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The voxels of a layer as they are, and in another light; as floats."""
    info = layer_at(f"file://{path}")
    return Volume(info).read(box).array.astype(float), RelitVolume(info, light, 0).read(box).array.astype(
        float
    )


def test_no_cut_changes_a_voxel(tissue: dict[str, str]) -> None:
    info = layer_at(f"file://{tissue['image']}")
    relit, whole = RelitVolume(info, OtherLight(), 0), Box.of_size(SIZE)
    at_once, by_part = relit.read(whole).array, np.zeros(SIZE, np.uint16)
    grid = Grid.chunks(whole, (31, 17, 5))
    for part in map(grid.box, range(len(grid))):
        by_part[part.slices((0, 0, 0))] = relit.read(part).array
    assert (at_once == by_part).all()
    assert at_once.dtype == np.uint16
    assert (RelitVolume(info, OtherLight(), 1).read(whole).array != at_once).mean() > 0.5  # noise of its own


def test_each_strength_does_what_it_says(tissue: dict[str, str]) -> None:
    whole = Box.of_size(SIZE)
    before, after = read_both(tissue["image"], OtherLight(0.5, 0.4, 0, 0), whole)
    assert after == pytest.approx(0.5 * before + 0.4 * np.median(before), abs=0.51)
    before, after = read_both(tissue["image"], OtherLight(1, 0, 0.25, 0), whole)
    share = after / before
    assert share[0, 0, 0] == pytest.approx(1.25**3, rel=0.07)
    assert share[-1, -1, -1] == pytest.approx(0.75**3, rel=0.07)
    before, after = read_both(tissue["image"], OtherLight(1, 0, 0, 2), whole)
    added = after - before
    assert added.mean() == pytest.approx(0, abs=1)
    assert added.std() == pytest.approx(2 * 20, rel=0.2)  # the tissue is made with noise of 20
    assert 1.4826 * response_spread(added) == pytest.approx(added.std(), rel=0.1)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_channels_types_and_ranges_are_kept(tmp_path: Path, dtype: str) -> None:
    image = np.random.default_rng(0).normal(100, 5, (40, 32, 16, 2))
    image[:8] = 0
    image[8:16, ..., 1] = 250
    layer = make_layer(tmp_path / "image", image.astype(dtype))
    info = layer_at(f"file://{layer}")
    made = RelitVolume(info, OtherLight(gain=2, offset=0, slope=0, noise=1), 0).read(info.volume).array
    assert made.dtype == dtype
    assert made.shape == image.shape
    assert (made[:8] == 0).all()  # was not imaged
    bright = made[8:16, ..., 1]
    assert (bright == 255).all() if dtype == "uint8" else bright.mean() == pytest.approx(500, abs=1)
    noise = made[16:].astype(float) - 2 * image[16:].astype(dtype)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.1


def test_numbers_of_normalisation_are_decided_anew(tissue: dict[str, str], tmp_path: Path) -> None:
    """By percentiles a gain and an offset change nothing but the rounding of grey values."""
    recipe, whole = recipe_of(tissue), Box.of_size(SIZE)
    plain, brighter, uneven = (
        open_volumes(recipe, light=light)[0].channels.over(whole)
        for light in (None, OtherLight(3, 0.5, 0, 0), OtherLight(1, 0, 0.3, 0))
    )
    assert brighter == pytest.approx(plain, abs=0.01)
    assert np.abs(uneven - plain).max() > 0.2
    model = fit_network(recipe, tmp_path / "m.safetensors").path
    steps = [
        predict_over(recipe, model, judged_regions(open_volumes(recipe, light=light)))[0].steps / 65_535
        for light in (None, SAME, OtherLight(3, 0.5, 0, 0))
    ]
    assert (steps[0] == steps[1]).all()
    assert steps[2] == pytest.approx(steps[0], abs=0.02)


@pytest.mark.parametrize("kind", ["points", "labels", "classes"])
def test_scores_in_another_light_stand_beside_those_as_it_is(
    tissue: dict[str, str], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tissue, kind, steps=40, every=20, batch=4, rate=0.03)
    made = cf.train_network(recipe, tmp_path / "m.safetensors")
    assert set(made.other_light.values) == set(made.scores.values)
    assert made.other_light.values != made.scores.values
    page = made.report.read_text()
    assert f"<td>in another light</td><td>{made.other_light.values['F1']:.3f}</td>" in page
    assert f"In another light, F1: {made.other_light.values['F1']:.3f}" in repr(made)

    def in_light(light: OtherLight) -> Any:
        monkeypatch.setattr("chunkflow.networks.training.other_light.OtherLight", lambda: light)
        return other_light.score_in_other_light(recipe, made.path, made.document)

    assert in_light(SAME).values == made.scores.values
    assert in_light(OtherLight(noise=40)).values["F1"] < made.scores.values["F1"]
