"""The synthetic volume: the same however it is cut, and with cells that can be found."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter, maximum_filter
from sklearn.metrics import roc_auc_score

from chunkflow.chunk import Chunk
from chunkflow.geometry import Box, Grid
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.kernels.synthetic.cells import BRIGHT_CURVES, GRAIN_CURVES, RADIUS_CURVES, cells_near
from chunkflow.task import Cell, Layout
from tasks.synthetic.synthesize import Synthesize, truth_table
from tests.support.jobs import make_job, read_layer, read_table, run_job

SMALL = Synthesize(
    dapi="dapi",
    cfos="cfos",
    cells="cells",
    size=(90, 80, 50),
    start=(13, -40, 7),
    voxel_size=(1, 1.25, 2),
    seed=5,
)


def made_in(task: Synthesize, chunk: tuple[int, int, int]) -> dict[str, Any]:
    """What the task makes when cut into chunks of this size: whole arrays, and the rows sorted."""
    layout = Layout({}, chunk, (64, 64, 64))
    info = task.outputs(layout)["dapi"]
    arrays = {name: np.zeros(info.bounds.size, np.uint16) for name in ("dapi", "cfos")}
    rows = []
    grid = Grid.chunks(info.bounds, chunk)
    for index in reversed(range(len(grid))):
        box = grid.box(index)
        made = task.map(Cell(index, box, info.bounds, info.volume, info.voxel_size, layout, {}))
        for name, array in arrays.items():
            part = made[name]
            assert isinstance(part, Chunk)
            assert part.box == box
            array[box.slices(info.bounds.start)] = part.array
        rows.append(made["cells"])
    return arrays | {"cells": task.merge(pa.concat_tables(rows).sort_by("id"))}


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return made_in(SMALL, SMALL.size)


@pytest.mark.parametrize("chunk", [(17, 80, 50), (31, 29, 13), (64, 64, 32), (90, 1, 50)])
def test_the_same_however_it_is_cut(whole: dict[str, Any], chunk: tuple[int, int, int]) -> None:
    cut = made_in(SMALL, chunk)
    for name in ("dapi", "cfos"):
        np.testing.assert_array_equal(cut[name], whole[name])
    assert cut["cells"].equals(whole["cells"])


def test_the_same_on_every_machine(whole: dict[str, Any]) -> None:
    """If this changes on purpose, raise the task's version."""
    sums = [zlib.crc32(whole[name].tobytes()) for name in ("dapi", "cfos")]
    assert sums == [1717496279, 1102081018]


def test_another_seed_is_another_tissue(whole: dict[str, Any]) -> None:
    other = made_in(SMALL.model_copy(update={"seed": 999_999_999}), SMALL.size)
    assert set(other["cells"]["id"].to_pylist()).isdisjoint(whole["cells"]["id"].to_pylist())
    # The noise, too: where neither has a cell, the two differ as independent noise does.
    same = np.mean(other["dapi"] == whole["dapi"])
    assert same < 0.05


def test_only_what_is_named_is_made() -> None:
    task = Synthesize(dapi="dapi", size=(20, 20, 20))
    layout = Layout({}, (64, 64, 64), (64, 64, 64))
    assert list(task.outputs(layout)) == ["dapi"]
    info = task.outputs(layout)["dapi"]
    assert list(task.map(Cell(0, info.bounds, info.bounds, info.volume, info.voxel_size, layout, {}))) == [
        "dapi"
    ]


def test_rows_lie_in_the_volume_with_centres_as_neuroglancer_counts(whole: dict[str, Any]) -> None:
    rows = whole["cells"]
    box = Box.of_size(SMALL.size, SMALL.start)
    assert rows.num_rows == len(set(rows["id"].to_pylist())) > 20
    for axis, name in enumerate("xyz"):
        place = rows[name].to_numpy()
        assert (place >= box.start[axis]).all()
        assert (place < box.stop[axis]).all()
        np.testing.assert_allclose(rows[f"{name}_um"].to_numpy(), place * SMALL.voxel_size[axis])
    assert set(rows["class"].to_pylist()) == {"neuron", "glia"}


def test_a_chunk_without_cells_has_rows_of_the_same_schema(whole: dict[str, Any]) -> None:
    assert SMALL.no_rows(Layout({}, (64, 64, 64), (64, 64, 64))).schema == whole["cells"].schema


def test_stain_shows_what_the_truth_says(whole: dict[str, Any]) -> None:
    rows = whole["cells"].to_pydict()
    active, brightness = np.array(rows["active"]), np.array(rows["brightness"])
    places = np.stack([np.array(rows[name]) for name in "xyz"], axis=1) - np.array(SMALL.start)
    near = np.floor(places).astype(int)
    dapi = gaussian_filter(whole["dapi"].astype(float), 1.0)[tuple(near.T)]
    cfos = gaussian_filter(whole["cfos"].astype(float), 1.0)[tuple(near.T)]
    assert np.corrcoef(dapi, brightness)[0, 1] > 0.8
    assert cfos[active == 1].min() > cfos[active == 0].max()


@pytest.fixture(scope="module")
def many() -> dict[str, Any]:
    """The truth of a larger block."""
    task = Synthesize(cells="cells", size=(600, 600, 200))
    layout = Layout({}, task.size, (64, 64, 64))
    info = task.outputs(layout)["cells"]
    near = cells_near(task.tissue, info.bounds.start, info.bounds.stop)
    table = truth_table(task.tissue, near, info.bounds)
    return {name: table[name].to_numpy() for name in table.column_names}


def test_kinds_differ_and_overlap(many: dict[str, Any]) -> None:
    """An oracle, given the features and the curves they were drawn from, still takes some for the other."""
    glia = many["class"] == "glia"
    features = [many["radius_um"] * 1000, many["brightness"], many["grain"] * 1000]
    assert all(abs(np.corrcoef(glia, feature)[0, 1]) > 0.3 for feature in features)

    def likely(kind: int) -> Any:
        curves = [curve[kind] for curve in (RADIUS_CURVES, BRIGHT_CURVES, GRAIN_CURVES)]
        return sum(
            -0.5 * ((feature - middle) / width) ** 2 - np.log(width)
            for feature, (middle, width) in zip(features, curves, strict=True)
        )

    assert 0.98 < roc_auc_score(glia, likely(1) - likely(0)) < 0.99
    for feature in features:
        alone = roc_auc_score(glia, feature)
        assert 0.8 < max(alone, 1 - alone) < 0.96


def test_most_active_cells_are_neurons(many: dict[str, Any]) -> None:
    glia, active = many["class"] == "glia", many["active"] == 1
    assert active[~glia].mean() == pytest.approx(0.3, abs=0.03)
    assert active[glia].mean() == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("density", [15_000, 40_000])
def test_the_density_is_about_what_was_asked(density: float) -> None:
    task = Synthesize(cells="cells", size=(200, 200, 200), density=density, touching=0.3)
    layout = Layout({}, (200, 200, 200), (64, 64, 64))
    info = task.outputs(layout)["cells"]
    made = task.map(Cell(0, info.bounds, info.bounds, info.volume, info.voxel_size, layout, {}))["cells"]
    assert isinstance(made, pa.Table)
    expected = density * 200 * 200 * 400e-9
    assert 0.85 * expected < made.num_rows < 1.15 * expected


def test_a_plain_detector_finds_the_cells(whole: dict[str, Any]) -> None:
    spacing = np.array(SMALL.voxel_size)
    sigma = 8 / 2 / np.sqrt(3) / spacing
    image = whole["dapi"].astype(np.float32)
    response = gaussian_filter(image, sigma, mode="mirror") - gaussian_filter(
        image, 1.6 * sigma, mode="mirror"
    )
    peaks = (response == maximum_filter(response, 3)) & (response > 40)
    found = (np.argwhere(peaks) + 0.5 + np.array(SMALL.start)) * spacing
    truth = np.stack([whole["cells"][f"{name}_um"].to_numpy() for name in "xyz"], axis=1)
    assert match_points(found, truth, 4.0).f1 > 0.97


def test_a_job_makes_the_whole_or_a_part_of_it(whole: dict[str, Any], tmp_path: Path) -> None:
    layers = {name: str(tmp_path / name) for name in ("dapi", "cfos")}
    parameters = SMALL.model_dump(mode="json")
    job = make_job(tmp_path, layers, [{"synthesize": parameters}], chunk=[50, 54, 30], storage=[25, 27, 15])
    part = Box((40, -20, 10), (80, 30, 50))
    assert run_job(job) == run_job(job, part) == "complete"
    tried = tmp_path / "work" / "try" / str(part)
    inside = part.slices(SMALL.start)
    for name in layers:
        np.testing.assert_array_equal(read_layer(tmp_path / name), whole[name])
        np.testing.assert_array_equal(read_layer(tried / "layers" / name), whole[name][inside])
    rows = whole["cells"]
    assert read_table(tmp_path / "work" / "tables" / "cells").equals(rows)
    mask = np.ones(rows.num_rows, bool)
    for axis, name in enumerate("xyz"):
        place = rows[name].to_numpy()
        mask &= (place >= part.start[axis]) & (place < part.stop[axis])
    assert 0 < mask.sum() < rows.num_rows
    assert read_table(tried / "tables" / "cells").equals(rows.filter(pa.array(mask)))


@pytest.mark.parametrize(
    "wrong",
    [{"voxel_size": (1, 1, 4)}, {"voxel_size": (0.0005, 1, 1)}, {"size": (10, 0, 10)}, {"density": 1e6}],
)
def test_what_cannot_be_made_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Synthesize(dapi="dapi", **wrong)
