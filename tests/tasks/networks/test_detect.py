"""The task `detect`: the same cells however a job is cut, thresholds, channels, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from chunkflow.chunk import Chunk
from chunkflow.data.describe import describe, layer_at
from chunkflow.data.info import ChannelContent, ImageInfo
from chunkflow.data.tables import table_file
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.people.evaluation.evaluate import evaluate
from chunkflow.task import Cell, Layout
from tasks.networks.detect import COLUMNS, Detect
from tests.support.files.networks import blobs, document_of, make_model
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, all_made, same_everywhere

START = (10, -7, 3)
SIZE = (83, 60, 37)
STORAGE = (25, 27, 15)
UM = np.array([1.0, 1.0, 2.0])


def the_cells() -> np.ndarray:
    """Middles of cells that lie apart and in the volume, in voxels from its first."""
    random = np.random.default_rng(4)
    kept: list[np.ndarray] = []
    for place in random.uniform((2, 2, 1), np.array(SIZE) - (2, 2, 1), (400, 3)):
        if all((((place - other) * UM) ** 2).sum() > 64 for other in kept):
            kept.append(place)
    return np.array(kept)


def the_heat(dtype: str = "uint8") -> np.ndarray:
    """Saturated within cells of 7 um, soft at their edges, and noise."""
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), -1) + 0.5
    heat = np.zeros(SIZE)
    for cell in the_cells():
        heat[(((places - cell) * UM) ** 2).sum(-1) < 12.25] = 1.5
    heat = np.clip(gaussian_filter(heat, (1, 1, 0.5)) - 0.05, 0, 1)
    heat = np.clip(heat + np.random.default_rng(1).normal(0, 0.02, SIZE), 0, 1)
    if dtype == "float32":
        return np.asarray(np.rint(heat * 65535) / 65535, np.float32)
    return np.asarray(np.rint(heat * np.iinfo(dtype).max), dtype)


@pytest.fixture(scope="module")
def heat(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_layer(tmp_path_factory.mktemp("in") / "heat", the_heat(), offset=START)


def the_job(heat: str, folder: Path, chunk: Vec = STORAGE, more: list[Any] | None = None) -> Job:
    """Peaks of heat that the job itself copies, so that a part of it is made of a part."""
    places = {name: str(folder / name) for name in ("points", "balls")}
    layers = {"heat": heat, "copied": str(folder / "copied"), **places}
    tasks: list[Any] = [
        {"copy": {"source": "heat", "target": "copied"}},
        {"detect": {"image": "copied", "objects": "cells", "threshold": 0.5}},
    ]
    return make_job(folder, layers, tasks + (more or []), chunk=list(chunk), storage=list(STORAGE))


def cells_of(folder: Path, name: str = "cells") -> pa.Table:
    return read_table(folder / "work" / "tables" / name)


def test_the_same_rows_however_it_is_cut(heat: str, tmp_path: Path) -> None:
    ways = [Way((25, 27, 15), 2, shuffled=True), Way((50, 27, 45)), Way((25, 81, 15))]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(heat, folder, chunk), (100, 81, 45), ways)
    rows = cells_of(tmp_path / "whole")
    assert len(rows) == len(the_cells())


def test_every_cell_is_found_once_and_lies_where_it_is(heat: str, tmp_path: Path) -> None:
    assert run_job(the_job(heat, tmp_path)) == "complete"
    rows = cells_of(tmp_path)
    assert rows.schema.equals(COLUMNS)
    found = np.stack([rows[axis].to_numpy() for axis in "xyz"], 1)
    away = np.linalg.norm((found[:, None] - START - the_cells()) * UM, axis=2)
    assert sorted(away.argmin(axis=1)) == list(range(len(the_cells())))
    assert np.median(away.min(axis=1)) < 0.3
    um = np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], 1)
    np.testing.assert_array_equal(um, found * UM)
    peaks = id_voxels(rows["id"].to_numpy(), SIZE)
    values = (the_heat()[tuple(peaks.T)] / 255).astype(np.float32)
    np.testing.assert_array_equal(rows["probability"].to_numpy(), values)
    assert set(rows["diameter_um"].to_pylist()) == {8.0}


def test_a_part_has_the_rows_of_the_whole(heat: str, tmp_path: Path) -> None:
    part, job = Box((35, 20, 3), (60, 47, 33)), the_job(heat, tmp_path)
    assert run_job(job) == run_job(job, part) == "complete"
    tried, whole = read_table(open_plan(job, part).products["cells", 0].info.url), cells_of(tmp_path)
    peaks = id_voxels(whole["id"].to_numpy(), SIZE) + START
    inside = ((peaks >= part.start) & (peaks < part.stop)).all(axis=1)
    assert 3 < inside.sum() < len(whole) / 2
    assert tried.equals(whole.filter(pa.array(inside)).combine_chunks())


def test_files_are_cells_of_space_in_the_order_of_ids(tmp_path: Path) -> None:
    spots = np.zeros((200, 170, 140), np.uint8)
    places = [
        (20, 40, 9),
        (100, 10, 9),
        (140, 40, 9),
        (20, 140, 9),
        (190, 20, 9),
        (180, 160, 9),
        (150, 20, 135),
    ]
    for place in places:
        spots[place] = 255
    layers = {"heat": make_layer(tmp_path / "heat", spots)}
    task = {"detect": {"image": "heat", "objects": "cells", "threshold": 0.5}}
    job = make_job(tmp_path, layers, [task], chunk=[32, 32, 20])
    for box, expected in (
        (None, [[20.5, 100.5], [190.5, 140.5], [20.5], [180.5], [], [150.5], [], []]),
        (Box((130, 0, 0), (200, 170, 140)), [[190.5, 140.5], [180.5], [150.5], []]),
    ):
        assert run_job(job, box) == "complete"
        url = open_plan(job, box).products["cells", 0].info.url
        info = describe(url, 0, "table")
        assert (info.kind, info.cell, info.connected) == ("table", (128, 128, 128), True)
        folder = Path(url.removeprefix("file://"))
        files = [pq.read_table(folder / table_file(i)) for i in range(len(expected))]
        assert len(list(folder.glob("*.parquet"))) == len(files)
        assert [rows["x"].to_pylist() for rows in files] == expected


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_threshold_is_taken_as_it_is_written(dtype: str, tmp_path: Path) -> None:
    """0.6 is 153 of 255; what is just below is no cell."""
    one = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    least = {"uint8": 153, "uint16": 39321, "float32": np.float32(39321 / 65535)}[dtype]
    below = {"uint8": 152, "uint16": 39320, "float32": np.float32(39320.4 / 65535)}[dtype]
    heat = np.zeros((60, 20, 20), dtype)
    heat[10, 10, 10], heat[30, 10, 10], heat[50, 10, 10] = least, below, one
    layers = {"heat": make_layer(tmp_path / "heat", heat)}
    job = make_job(tmp_path, layers, [{"detect": {"image": "heat", "objects": "cells", "threshold": 0.6}}])
    assert run_job(job) == "complete"
    rows = cells_of(tmp_path)
    assert rows["x"].to_pylist() == [10.5, 50.5]
    assert rows["probability"].to_pylist() == [float(np.float32(0.6)), 1]


def test_values_beyond_0_to_1_are_clipped(tmp_path: Path) -> None:
    heat = np.full((20, 20, 20), -3, np.float32)
    heat[10, 10, 10], heat[10, 10, 11] = 7, np.inf
    cell = cell_of(layout_of(ImageInfo(url="file:///x", volume=BOX, voxel_size=ISO, dtype="float32")), 0.5)
    rows = Detect(image="heat", threshold=0.5).map(cell, Chunk(np.asfortranarray(heat), BOX, ISO))
    assert rows is not None
    assert [rows[name].to_pylist() for name in ("x", "y", "z", "probability")] == [[10.5], [10.5], [11], [1]]


def test_voxels_that_are_no_numbers_fail_their_chunk_by_name() -> None:
    layout = layout_of(ImageInfo(url="file:///x", volume=BOX, voxel_size=ISO, dtype="float32"))
    heat = Chunk(np.full(BOX.size, np.nan, np.float32, order="F"), BOX, ISO)
    with pytest.raises(ValueError, match="voxels that are not numbers within 0-20_0-20_0-20"):
        Detect(image="heat", threshold=0.5).map(cell_of(layout, 0.5), heat)


def test_the_model_says_the_threshold_and_the_channels(tmp_path: Path) -> None:
    """From a model's document by way of the info of its layer, in the same job and in a later one."""
    outputs = [
        {"name": "glia", "kind": "probability", "threshold": 0.9},
        {"name": "neuron", "kind": "probability", "threshold": 0.6},
        {"name": "grey", "kind": "image"},
        {"name": "other", "kind": "class"},
    ]
    model = make_model(tmp_path / "m.safetensors", document_of(outputs=outputs))
    layers = {
        "em": make_layer(tmp_path / "em", blobs((40, 32, 24))),
        "heat": str(tmp_path / "heat"),
    }
    tasks = [
        {"infer": {"images": ["em"], "model": model, "made": "heat"}},
        {"detect": {"image": "heat", "objects": "neurons", "channel": "neuron"}},
        {"detect": {"image": "heat", "objects": "as_given", "channel": 1, "threshold": 0.6}},
        {"detect": {"image": "heat", "objects": "glia"}},
    ]
    assert run_job(make_job(tmp_path, layers, tasks, chunk=[16, 16, 24], storage=[8, 8, 8])) == "complete"
    neurons = cells_of(tmp_path, "neurons")
    assert len(neurons) > 3
    assert neurons.equals(cells_of(tmp_path, "as_given"))
    assert (
        0
        < min(neurons["probability"].to_pylist())
        < 0.9
        <= min(cells_of(tmp_path, "glia")["probability"].to_pylist())
    )

    made = layer_at(f"file://{tmp_path / 'heat'}")
    assert isinstance(made, ImageInfo)
    assert [content.threshold for content in made.contents] == [0.9, 0.6, None, None]
    later = [{"detect": {"image": "heat", "objects": "neurons", "channel": "neuron"}}]
    assert run_job(make_job(tmp_path / "later", layers, later, chunk=[40, 32, 24])) == "complete"
    assert cells_of(tmp_path / "later", "neurons").equals(neurons)


def test_other_tasks_take_its_table(heat: str, tmp_path: Path) -> None:
    more: list[Any] = [
        {"annotate": {"objects": "cells", "annotations": "points"}},
        {"annotate": {"objects": "cells", "annotations": "balls", "kind": "ellipsoid"}},
        {"count": {"objects": "cells", "counts": "counts"}},
    ]
    job = the_job(heat, tmp_path, more=more)
    assert run_job(job) == "complete"
    number = len(the_cells())
    assert read_table(tmp_path / "work" / "tables" / "counts")["count"].to_pylist() == [number]
    places = (the_cells() + START) * UM
    truth = tmp_path / "truth.csv"
    truth.write_text("x,y,z\n" + "\n".join(",".join(map(str, place)) for place in places.tolist()))
    scored = evaluate(f"{tmp_path / 'work'}:cells", truth, tolerance_um=2, columns=("x", "y", "z"), unit="um")
    assert (scored.precision, scored.recall) == (1, 1)
    assert scored.values["average precision"] == 1
    made = all_made(job)
    assert len(made["points/index/by_id@0"]) == len(made["balls/index/by_id@0"]) > 0


BOX = Box.of_size((20, 20, 20))
ISO = (1000.0, 1000.0, 1000.0)
CONTENTS = (
    ChannelContent(name="cell", kind="probability"),
    ChannelContent(name="left", kind="affinity", offset=(-1, 0, 0)),
    ChannelContent(name="grey", kind="image", threshold=0.5),
)


def layout_of(image: ImageInfo) -> Layout:
    return Layout({"image": (image,)}, (32, 32, 32), (32, 32, 32))


def cell_of(layout: Layout, threshold: float) -> Cell:
    return Cell(0, BOX, BOX, BOX, ISO, layout, {"threshold": threshold})


@pytest.mark.parametrize(
    ("parameters", "info", "said"),
    [
        ({}, {}, "heat does not say from which probability on there is a cell: give `threshold`"),
        ({}, {"contents": CONTENTS}, "heat does not say from which probability on there is a cell"),
        ({"channel": 3}, {"channels": 3}, "heat has 3 channels, .* there is no channel 3"),
        ({"channel": "soma"}, {"contents": CONTENTS}, "no channel 'soma': heat has cell, left, grey"),
        ({"channel": "soma"}, {}, "no channel 'soma': heat does not say what its channels are"),
        ({"channel": "left"}, {"contents": CONTENTS}, "'left' of heat holds no probabilities .*affinity"),
        ({"channel": 2}, {"contents": CONTENTS}, "'grey' of heat holds no probabilities .*kind is image"),
        ({"threshold": 0.5}, {"dtype": "int8"}, "heat is an image of int8; one of uint8, uint16, float32"),
        (
            {"threshold": 0.5, "diameter": 500},
            {},
            "cell of 500 um has too many voxels in heat: .* coarser mip",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    parameters: dict[str, Any], info: dict[str, Any], said: str
) -> None:
    image = ImageInfo(url="file:///x", volume=BOX, voxel_size=ISO, **({"channels": 3} | info))
    with pytest.raises(BadInput, match=f"detect: .*{said}"):
        Detect(image="heat", **parameters).outputs(layout_of(image))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"channel": -1}, "counts from 0"),
        ({"threshold": 1.5}, "is a probability, from 0 to 1, not 1.5"),
        ({"threshold": "auto"}, "Input should be 'model'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Detect(image="heat", **wrong)


def test_voxels_as_large_as_a_cell_are_held_against_their_neighbours(tmp_path: Path) -> None:
    """A cell of 8 um that two planes of 6 um show is one."""
    heat = np.zeros((20, 20, 9), np.uint8)
    heat[8:12, 8:12, 4], heat[8:12, 8:12, 5] = 255, 230
    layers = {"heat": make_layer(tmp_path / "heat", heat, voxel_size=(2000, 2000, 6000))}
    job = make_job(tmp_path, layers, [{"detect": {"image": "heat", "objects": "cells", "threshold": 0.5}}])
    assert run_job(job) == "complete"
    assert len(cells_of(tmp_path)) == 1
