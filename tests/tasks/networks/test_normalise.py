"""The task `normalise`: the same bytes however a job is cut, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from chunkflow.chunk import Chunk
from chunkflow.data.folder import Folder
from chunkflow.data.info import ImageInfo
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from chunkflow.networks import normalisation
from chunkflow.task import Cell, Layout
from tasks.networks.normalise import KINDS, Normalise
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.same import Way, same_everywhere

OWN = "tests.support.own_tasks:"
START = (10, -7, 3)
STORAGE = (25, 27, 15)
WHOLE = (100, 81, 60)
PARAMETERS: list[dict[str, Any]] = [
    {"kind": "local", "background": 5},
    {"kind": "percentiles", "low": 5},
    {"kind": "zscore"},
    {"kind": "clahe", "tile": 12},
]


def an_image() -> np.ndarray:
    image = np.random.default_rng(1).gamma(2, 200, (83, 60, 47)).astype(np.uint16)
    image[20:40, 5:30, 10:30] += 700
    image[:, 40:50, :] = 0
    return image


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_layer(tmp_path_factory.mktemp("in") / "image", an_image(), offset=START)


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normalisation, "SAMPLE_VOXELS", 2**13)


def the_job(source: str, folder: Path, chunk: Vec) -> Job:
    """All kinds, of an image that the job itself makes."""
    names = [f"{one['kind']}_of" for one in PARAMETERS]
    layers = {"image": source, "smooth": str(folder / "smooth")} | {
        name: str(folder / name) for name in names
    }
    tasks: list[Any] = [{OWN + "Smooth": {"image": "image", "smooth": "smooth", "radius": 1}}]
    tasks += [
        {"normalise": {"image": "smooth", "normalised": name, **one}}
        for name, one in zip(names, PARAMETERS, strict=True)
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk), storage=list(STORAGE))


def test_the_same_bytes_however_it_is_cut(source: str, tmp_path: Path, small_sample: None) -> None:
    ways = [Way((25, 27, 15), 2, shuffled=True), Way((50, 27, 45))]
    same_everywhere(tmp_path, lambda folder, chunk: the_job(source, folder, chunk), WHOLE, ways)


def test_a_part_has_the_bytes_of_the_whole(source: str, tmp_path: Path, small_sample: None) -> None:
    part, job = Box((35, 20, 3), (60, 47, 33)), the_job(source, tmp_path, (25, 27, 15))
    assert run_job(job) == "complete"
    assert run_job(job, part) == "complete"
    for one in PARAMETERS:
        name = f"{one['kind']}_of"
        tried = read_layer(tmp_path / "work" / "try" / str(part) / "layers" / name)
        whole = read_layer(tmp_path / name)
        assert whole.dtype == np.float32
        assert len(np.unique(whole)) > 1000
        assert tried.tobytes() == whole[part.slices(START)].tobytes()


def test_one_channel_of_several_is_that_channel_alone(tmp_path: Path) -> None:
    image = an_image()[:40, :30, :20]
    both = make_layer(tmp_path / "both", np.stack([image * 2, image], axis=3))
    alone = make_layer(tmp_path / "alone", image)
    layers = {"both": both, "alone": alone} | {name: str(tmp_path / name) for name in ("a", "b")}
    tasks = [
        {"normalise": {"image": "both", "normalised": "a", "channel": 1, "kind": "zscore"}},
        {"normalise": {"image": "alone", "normalised": "b", "kind": "zscore"}},
    ]
    assert run_job(make_job(tmp_path, layers, tasks, storage=[32, 32, 32], chunk=[32, 32, 32])) == "complete"
    assert (read_layer(tmp_path / "a") == read_layer(tmp_path / "b")).all()


def layout_of(channels: int = 1) -> Layout:
    volume = Box.of_size((60, 50, 40), START)
    voxel_size = (1000.0, 1000.0, 2000.0)
    info = ImageInfo(url="file:///x", volume=volume, voxel_size=voxel_size, channels=channels)
    return Layout({"image": (info,)}, (32, 32, 32), (32, 32, 32))


@pytest.mark.parametrize(("channels", "said"), [(1, "one channel"), (3, "3 channels")])
def test_a_channel_that_the_image_does_not_have_is_refused(channels: int, said: str) -> None:
    made = Normalise(image="a", normalised="b", channel=channels - 1).outputs(layout_of(channels))
    assert isinstance(made["normalised"], ImageInfo)
    assert (made["normalised"].dtype, made["normalised"].channels) == ("float32", 1)
    with pytest.raises(BadInput, match=rf"normalise: a has {said}, .* there is no channel {channels}"):
        Normalise(image="a", normalised="b", channel=channels).outputs(layout_of(channels))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": "zscore", "low": 3}, "`low` is a parameter of percentiles, not of zscore: leave it out"),
        ({"tile": 50}, "`tile` is a parameter of clahe, not of local: leave it out"),
        (
            {"kind": "percentiles", "low": 99.5},
            "`low` must be less than `high`, but 99.5 is not less than 99",
        ),
        ({"kind": "even"}, "Input should be 'local', 'percentiles', 'zscore' or 'clahe'"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Normalise(image="a", normalised="b", **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_the_parameters_of_a_kind_are_those_of_its_normaliser(kind: str) -> None:
    """With the same bounds, and the default that their description names."""
    assert Normalise(image="a", normalised="b", kind=kind).normaliser == KINDS[kind]()
    for name, field in KINDS[kind].model_fields.items():
        if name != "kind":
            mine = Normalise.model_fields[name]
            assert mine.metadata == field.metadata
            assert mine.description == f"of `{kind}`: {field.description}; {field.default:g} if left out"
            given = Normalise(image="a", normalised="b", kind=kind, **{name: field.default}).normaliser
            assert given == KINDS[kind]()


def test_an_image_without_contrast_is_reported(tmp_path: Path) -> None:
    make_layer(tmp_path / "image", np.full((40, 40, 40), 7, np.uint8))
    layers = {"image": str(tmp_path / "image"), "even": str(tmp_path / "even")}
    job = make_job(tmp_path, layers, [{"normalise": {"image": "image", "normalised": "even"}}])
    assert run_job(job) == "complete"
    assert not read_layer(tmp_path / "even").any()
    stages = Ledger.load(Folder(job.work)).state.stages.values()
    (values,) = [stage.prepared for stage in stages if stage.prepared]
    assert values["warning"].startswith("the sample of image has no contrast, so that all of even is 0")


def test_voxels_that_are_no_numbers_fail_their_chunk_by_name() -> None:
    layout, task = layout_of(), Normalise(image="a", normalised="b", kind="percentiles")
    volume, voxel_size = layout.main.volume, layout.main.voxel_size
    array = np.full(volume.size, np.nan, np.float32, order="F")
    cell = Cell(0, volume, volume, volume, voxel_size, layout, {"low": 0.0, "high": 1.0})
    with pytest.raises(ValueError, match="voxels that are not numbers within 10-70_-7-43_3-43"):
        task.map(cell, Chunk(array, volume, voxel_size))
