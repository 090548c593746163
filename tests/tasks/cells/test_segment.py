"""Segmenting nuclei: what it reads, what it decides, and the same labels however the volume is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from chunkflow.chunk import Chunk
from chunkflow.data.folder import Folder
from chunkflow.data.info import ImageInfo
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec, vec
from chunkflow.kernels.images.gaussian import difference_of_gaussians, filter_radius
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.task import Cell, Layout, WindowTooSmall
from tasks.cells.segment import Segment, determined
from tests.support.jobs import make_job, make_layer, read_layer, run_job

VOXEL = (1000.0, 1000.0, 2000.0)
START = (7, -5, 3)


def nuclei(shape: Vec = (70, 62, 40), count: int = 60, seed: int = 0) -> tuple[NDArray[np.uint16], Any]:
    """Blobs of about 6 µm on a noisy slope, some touching, some at the border; and where they are."""
    random = np.random.default_rng(seed)
    places = (random.random((count, 3)) * shape).astype(int)
    points = np.zeros(shape)
    np.add.at(points, tuple(places.T), random.uniform(3e4, 6e4, count))
    image = ndimage.gaussian_filter(points, (1.8, 1.8, 0.9), mode="constant")
    image += 200 + np.arange(shape[0])[:, None, None] + random.normal(0, 8, shape)
    return np.asfortranarray(image.clip(0, 65535).astype(np.uint16)), places


def layout_of(shape: Vec, start: Vec = START, dtype: str = "uint16", channels: int = 1) -> Layout:
    box = Box.of_size(shape, start)
    info = ImageInfo(url="file:///nowhere", volume=box, voxel_size=VOXEL, dtype=dtype, channels=channels)
    return Layout({"image": (info,)}, (32, 32, 32), (32, 32, 32))


def cell_of(box: Box, layout: Layout, values: dict[str, Any] | None = None) -> Cell:
    return Cell(0, box, layout.main.volume, layout.main.volume, VOXEL, layout, values or {})


def labels_of(task: Segment, image: NDArray[Any], box: Box, layout: Layout, values: dict[str, Any]) -> Chunk:
    """What the engine does: larger windows until one is large enough."""
    for wanted in task.reads("image", box, layout):
        window = wanted.clip(layout.main.volume)
        chunk = Chunk(image[window.slices(START)], window, VOXEL)
        try:
            return task.map(cell_of(box, layout, values), chunk)[0]
        except WindowTooSmall:
            continue
    raise AssertionError("the largest window was too small")


def decided(task: Segment, image: NDArray[Any], layout: Layout) -> dict[str, Any]:
    samples = (Chunk(image[box.slices(START)], box, VOXEL) for _, box in task.samples(layout))
    return task.prepare(layout, samples) or {}


def test_labels_are_declared_as_connected_uint64() -> None:
    made = Segment(image="a", labels="b").outputs(layout_of((9, 9, 9)))["labels"]
    assert (made.kind, made.dtype, made.connected) == ("segmentation", "uint64", True)


@pytest.mark.parametrize(("channels", "said"), [(1, "one channel"), (3, "3 channels")])
def test_a_channel_that_the_image_does_not_have_is_refused(channels: int, said: str) -> None:
    layout = layout_of((9, 9, 9), channels=channels)
    Segment(image="a", labels="b", channel=channels - 1).outputs(layout)
    with pytest.raises(BadInput, match=rf"{said}, counted from 0: there is no channel {channels}"):
        Segment(image="a", labels="b", channel=channels).outputs(layout)


def test_margins_follow_the_voxel_size() -> None:
    near, far = Segment(image="a", labels="b", diameter=8, reach=2).halo(VOXEL)
    radius = (11, 11, 6)
    assert far == vec(r + 2 * reach + 1 for r, reach in zip(radius, (16, 16, 8), strict=True))
    assert near == vec(r + n + 1 for r, n in zip(radius, (8, 8, 4), strict=True))


@pytest.mark.parametrize("cut", [(70, 62, 40), (25, 27, 15), (50, 54, 30), (13, 62, 11)])
@pytest.mark.parametrize("minimum", [0.0, 60.0])
def test_the_same_labels_however_it_is_cut(cut: Vec, minimum: float) -> None:
    image, _ = nuclei()
    layout = layout_of(vec(image.shape))
    task = Segment(image="a", labels="b", diameter=6, minimum_volume=minimum, reach=1)
    values = decided(task, image, layout)
    whole = labels_of(task, image, layout.main.volume, layout, values).array
    assert len(np.unique(whole)) > 30
    for x in range(0, image.shape[0], cut[0]):
        for y in range(0, image.shape[1], cut[1]):
            for z in range(0, image.shape[2], cut[2]):
                box = Box.of_size(cut, (x, y, z)).shift(START).clip(layout.main.volume)
                part = labels_of(task, image, box, layout, values)
                assert part.box == box
                assert (part.array == whole[box.slices(START)]).all()


def test_the_response_is_used_only_where_the_window_determines_it() -> None:
    image, _ = nuclei()
    volume, sigma = Box.of_size(vec(image.shape), START), (1.7, 1.7, 0.9)
    whole = difference_of_gaussians(image, sigma)
    for window in (volume, Box((20, 8, 9), (60, 50, 33)), Box((7, 8, 9), (60, 57, 43))):
        seen = determined(window, volume, filter_radius(sigma))
        part = image[window.slices(START)]
        spans = [(a.start, a.stop) for a in seen.slices(window.start)]
        assert (difference_of_gaussians(part, sigma, spans) == whole[seen.slices(START)]).all()


def test_objects_are_named_by_a_voxel_of_theirs_and_in_one_piece() -> None:
    image, _ = nuclei()
    layout = layout_of(vec(image.shape))
    task = Segment(image="a", labels="b", diameter=6)
    labels = labels_of(task, image, layout.main.volume, layout, decided(task, image, layout)).array
    ids = np.unique(labels[labels > 0])
    assert (labels[tuple(id_voxels(ids, image.shape).T)] == ids).all()
    for name in ids:
        assert ndimage.label(labels == name, np.ones((3, 3, 3)))[1] == 1


def test_the_automatic_threshold_finds_the_nuclei() -> None:
    image, places = nuclei(count=40)
    layout = layout_of(vec(image.shape))
    task = Segment(image="a", labels="b", diameter=6)
    values = decided(task, image, layout)
    labels = labels_of(task, image, layout.main.volume, layout, values).array
    found = id_voxels(np.unique(labels[labels > 0]), image.shape)
    far = np.abs(found[:, None] - places[None]).max(axis=2).min(axis=1)
    near = np.abs(found[:, None] - places[None]).max(axis=2).min(axis=0)
    assert (far <= 2).mean() > 0.95
    assert (near <= 2).mean() > 0.9
    assert (values["classes"], values["warning"]) == ("apart", "")


def test_a_threshold_that_is_given_needs_no_sample_and_gives_the_same() -> None:
    image, _ = nuclei()
    layout = layout_of(vec(image.shape))
    auto = Segment(image="a", labels="b", diameter=6)
    values = decided(auto, image, layout)
    given = Segment(image="a", labels="b", diameter=6, threshold=values["threshold"])
    assert given.samples(layout) == []
    assert given.prepare(layout, []) is None
    box = layout.main.volume
    assert (
        labels_of(given, image, box, layout, {}).array == labels_of(auto, image, box, layout, values).array
    ).all()


def test_only_an_automatic_threshold_is_another_than_before() -> None:
    assert Segment(image="a", labels="b").result_version() == 2
    assert Segment(image="a", labels="b", threshold=60.0).result_version() == 1


def test_the_sample_is_the_same_whatever_part_is_run() -> None:
    volume = Box.of_size((5000, 4000, 900), START)
    info = layout_of((9, 9, 9)).main.over(volume)
    part = info.model_copy(update={"bounds": Box.of_size((100, 100, 100), START)})
    task = Segment(image="a", labels="b", diameter=8)
    layouts = [Layout({"image": (one,)}, (64, 64, 64), (64, 64, 64)) for one in (info, part)]
    boxes = task.samples(layouts[0])
    assert boxes == task.samples(layouts[1])
    assert len(boxes) == 64
    assert all(volume.contains(box) for _, box in boxes)
    assert {box.start[0] > 2500 for _, box in boxes} == {True, False}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_other_types_and_channels(dtype: Any) -> None:
    image, _ = nuclei()
    scaled = (image // 16).astype(dtype) if dtype is np.uint8 else image.astype(dtype)
    two = np.stack([np.zeros_like(scaled), scaled], axis=3)
    layout = layout_of(vec(image.shape), dtype=np.dtype(dtype).name, channels=2)
    task = Segment(image="a", labels="b", diameter=6, channel=1)
    labels = labels_of(task, two, layout.main.volume, layout, decided(task, two, layout)).array
    assert len(np.unique(labels)) > 30


def test_what_is_not_a_number_is_an_error() -> None:
    image = nuclei()[0].astype(np.float32)
    image[30, 30, 20] = np.nan
    layout = layout_of(vec(image.shape), dtype="float32")
    with pytest.raises(ValueError, match="not numbers within"):
        labels_of(Segment(image="a", labels="b", threshold=3.0), image, layout.main.volume, layout, {})


def test_an_empty_image_has_no_nuclei() -> None:
    image = np.full((40, 40, 20), 300, np.uint16, order="F")
    layout = layout_of((40, 40, 20))
    task = Segment(image="a", labels="b", diameter=6)
    values = decided(task, image, layout)
    assert not labels_of(task, image, layout.main.volume, layout, values).array.any()


@pytest.mark.parametrize(
    "wrong", [{"diameter": 0}, {"reach": 0}, {"threshold": "otsu"}, {"minimum_volume": -1}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Segment(image="a", labels="b", **wrong)


def test_through_the_engine_in_odd_chunks(tmp_path: Path) -> None:
    image, _ = nuclei()
    source = make_layer(tmp_path / "image", image, voxel_size=VOXEL, offset=START)
    found = []
    for number, chunk in enumerate([[25, 27, 15], [50, 54, 30]]):
        layers = {"image": source, "labels": str(tmp_path / f"labels{number}")}
        step = {"segment": {"image": "image", "labels": "labels", "diameter": 6}}
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run_job(make_job(folder, layers, [step], chunk=chunk, storage=[25, 27, 15])) == "complete"
        found.append(read_layer(tmp_path / f"labels{number}"))
    layout = layout_of(vec(image.shape))
    task = Segment(image="a", labels="b", diameter=6)
    whole = labels_of(task, image, layout.main.volume, layout, decided(task, image, layout)).array
    assert (found[0] == whole).all()
    assert (found[1] == whole).all()


def test_what_is_left_out_is_counted_the_same_however_it_is_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 400, (64, 60, 40)).astype(np.uint16)
    source = make_layer(tmp_path / "image", image, voxel_size=VOXEL)
    counted = []
    for chunk in ([64, 64, 64], [32, 32, 32]):
        folder = tmp_path / str(chunk[0])
        tasks = [
            {
                "segment": {
                    "image": "image",
                    "labels": "labels",
                    "diameter": 6,
                    "threshold": 5,
                    "minimum_volume": 90,
                }
            }
        ]
        layers = {"image": source, "labels": str(folder / "labels")}
        job = make_job(folder, layers, tasks, chunk=chunk, storage=[32, 32, 32])
        assert run_job(job) == "complete"
        counted.append(dict(Ledger.load(Folder(job.work)).stages["segment"].counts))
    assert counted[0] == counted[1]
    assert counted[0]["objects too small"] > 0
