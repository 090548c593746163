"""Masks, mips and places: what is refused, what is awaited, and what is written where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.chunk import Chunk
from chunkflow.data.folder import Folder
from chunkflow.data.info import LayerInfo
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import plan_of_spec, spec_of
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from chunkflow.task import Cell, Image, Labels, Layer, Layout, Out, Result, Task
from tests.support.files.meshes import open_edges, surface_of
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job
from tests.support.own_tasks.voxels import tiles as tile_ids

HERE = "tests.chunkflow.engine.planning.test_masks_and_mips:"
OWN = "tests.support.own_tasks:"
SIZE = (48, 32, 32)
MADE = ("first", "second", "third", "labels", "other")


def job_of(folder: Path, tasks: list[Any], image: np.ndarray | None = None, **keys: Any) -> Job:
    array = np.random.default_rng(5).integers(0, 250, SIZE).astype(np.uint16) if image is None else image
    make_layer(folder / "image", array)
    layers = {name: str(folder / name) for name in ("image", *MADE)} | keys.pop("layers", {})
    shape: dict[str, Any] = {"chunk": [16, 16, 16], "storage": [16, 16, 16]}
    return make_job(folder, layers, tasks, **(shape | keys))


class Brightest(Task):
    """The brightest of several images; it looks at a corner of each beforehand."""

    images: list[Image]
    brightest: Image = Out()

    def samples(self, layout: Layout) -> list[tuple[str, Box]]:
        return [("images", Box((0, 0, 0), (8, 8, 8)))]

    def prepare(self, layout: Layout, samples: Iterable[Any]) -> dict[str, Any]:
        return {"means": [int(chunk.array.mean()) for chunks in samples for chunk in chunks]}

    def map(self, cell: Cell, images: Sequence[Chunk]) -> Result:
        return images[0].like(np.maximum.reduce([image.array for image in images]))


def smooth(source: str, target: str) -> dict[str, Any]:
    return {OWN + "Smooth": {"image": source, "smooth": target}}


def test_prepare_waits_for_every_layer_of_a_list(tmp_path: Path) -> None:
    tasks = [smooth("image", "first"), smooth("first", "second")]
    brightest = {HERE + "Brightest": {"images": ["first", "second"], "brightest": "third"}}
    plan = open_plan(job_of(tmp_path, [*tasks, brightest]))
    prepare = plan.stages[plan.stage_index("Brightest.prepare")]
    assert {plan.stages[wait.stage].name for wait in prepare.waits} == {"Smooth", "Smooth-2"}


def lose_a_chunk(layer: Path) -> None:
    next(iter(sorted(layer.glob("*_*_*/0-16_0-16_0-16")))).unlink()


def test_only_what_is_given_may_lack_storage_chunks(tmp_path: Path) -> None:
    tasks = [smooth("image", "first"), smooth("first", "second")]
    job = job_of(tmp_path, tasks, fill_missing=True)
    (tmp_path / "image" / "1000_1000_2000" / "0-32_0-32_0-32").unlink()
    assert run_job(job) == "complete"
    assert not read_layer(tmp_path / "first")[:16, :16, :16].any()
    lose_a_chunk(tmp_path / "first")
    assert run_job(job, restart="Smooth-2") == "incomplete"
    assert set(Ledger.load(Folder(job.work)).state.stages["Smooth-2"].causes) == {"damaged input"}


class Halved(Task):
    """A layer of which every second plane is left out, so that its objects fall to pieces."""

    whole: Layer
    halved: Layer = Out()

    def map(self, cell: Cell, whole: Chunk) -> Result:
        kept = np.arange(cell.box.start[2], cell.box.stop[2]) % 2 == 0
        return whole.like(whole.array * kept.astype(whole.array.dtype))


def test_labels_made_from_connected_labels_are_in_pieces_unless_their_task_says_otherwise(
    tmp_path: Path,
) -> None:
    labels = {OWN + "WholeTiles": {"image": "image", "labels": "labels"}}
    halved = {HERE + "Halved": {"whole": "labels", "halved": "other"}}
    copied = {"copy": {"source": "labels", "target": "first"}}
    count = {OWN + "Count": {"labels": "other", "objects": "objects"}}
    job = job_of(tmp_path, [labels, halved, copied, count])
    products = open_plan(job).products
    assert [products[name, 0].info.connected for name in ("labels", "other", "first")] == [True, False, True]
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "objects")
    ids, voxels = np.unique(read_layer(tmp_path / "other"), return_counts=True)
    assert list(zip(rows["id"].to_pylist(), rows["voxels"].to_pylist(), strict=True)) == [
        pair for pair in zip(ids.tolist(), voxels.tolist(), strict=True) if pair[0]
    ]


def test_layers_of_unlike_voxels_are_refused_also_by_tasks_with_reads_of_their_own(tmp_path: Path) -> None:
    labels = {OWN + "Tiles": {"image": "image", "labels": "labels"}}
    coarser = {"downsample": {"layer": "labels", "mips": 1, "factor": [2, 2, 1]}}
    measure = {"measure": {"labels": "labels@1", "images": ["image"], "objects": "objects"}}
    with pytest.raises(BadInput, match=r"do not cover the same voxels; choose mips that match"):
        open_plan(job_of(tmp_path, [labels, coarser, measure]))


class Background(Task):
    """255 where there is no object."""

    labels: Labels
    background: Image = Out()

    def outputs(self, layout: Layout) -> dict[str, LayerInfo]:
        return {"background": layout.main.as_image("uint8")}

    def map(self, cell: Cell, labels: Chunk) -> Result:
        return labels.like(np.where(labels.array == 0, np.uint8(255), np.uint8(0)))


@pytest.mark.parametrize("chunk", [16, 48])
def test_a_task_to_which_emptiness_means_something_sees_empty_labels(tmp_path: Path, chunk: int) -> None:
    image = np.zeros(SIZE, np.uint16)
    image[:5, :5, :5] = 700
    bright = {OWN + "Faulty": {"image": "image", "labels": "labels", "marks": str(tmp_path)}}
    background = {HERE + "Background": {"labels": "labels", "background": "other"}}
    assert run_job(job_of(tmp_path, [bright, background], image, chunk=[chunk] * 3)) == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "other"), np.where(image == 0, 255, 0))


def masked(folder: Path, keep: np.ndarray, voxel_size: Sequence[float]) -> dict[str, Any]:
    """The keys of a job with this mask."""
    make_layer(folder / "mask", keep.astype(np.uint8), "segmentation", voxel_size)
    return {"layers": {"mask": str(folder / "mask")}, "mask": "mask"}


def test_a_surface_is_closed_where_the_mask_ends_at_the_face_of_a_block(tmp_path: Path) -> None:
    given = np.full(SIZE, 7, np.uint32)
    make_layer(tmp_path / "given", given, "segmentation")
    keep = np.zeros(SIZE)
    keep[16:32] = 1
    keys = masked(tmp_path, keep, (1000, 1000, 2000))
    keys["layers"] |= {"given": str(tmp_path / "given"), "meshes": str(tmp_path / "meshes")}
    mesh = {"mesh": {"labels": "given", "meshes": "meshes", "block": [16, 16, 16], "format": "legacy"}}
    assert run_job(job_of(tmp_path, [mesh], **keys)) == "complete"
    points, faces = surface_of(tmp_path / "meshes", 7)
    assert open_edges(faces) == 0
    assert points[:, 0].min() // 1000 == 15


def test_a_mask_finer_on_one_axis_and_coarser_on_another(tmp_path: Path) -> None:
    keep = np.random.default_rng(2).random((96, 32, 16)) < 0.1
    keep[64:] = 0
    keys = masked(tmp_path, keep, (500, 1000, 4000))
    tiles = {OWN + "WholeTiles": {"image": "image", "labels": "labels"}}
    sections = {OWN + "Sections": {"image": "image", "copy_": "first", "log": str(tmp_path / "log")}}
    job = job_of(tmp_path, [tiles, sections], np.full(SIZE, 9, np.uint16), **keys)
    assert run_job(job) == "complete"
    wanted = np.repeat(keep.reshape(48, 2, 32, 16).any(axis=1), 2, axis=2)
    np.testing.assert_array_equal(read_layer(tmp_path / "first") != 0, wanted)
    labels = tile_ids(Box.of_size(SIZE), Box.of_size(SIZE), (9, 13, 40))
    np.testing.assert_array_equal(read_layer(tmp_path / "labels"), np.where(wanted, labels, 0))


@pytest.mark.parametrize("size", [(1500, 1000, 2000), (1000, 400, 2000)])
def test_a_mask_whose_voxels_are_no_whole_number_is_refused(tmp_path: Path, size: Sequence[float]) -> None:
    job = job_of(tmp_path, [smooth("image", "first")], **masked(tmp_path, np.ones(SIZE), size))
    with pytest.raises(BadInput, match="one must be a whole number of the other"):
        open_plan(job)


def test_a_part_is_told_in_voxels_of_mip_0_whichever_mips_are_read(tmp_path: Path) -> None:
    image = np.random.default_rng(8).integers(0, 250, SIZE).astype(np.uint8)
    make_mips = {"downsample": {"layer": "second", "mips": 1, "factor": [2, 2, 1]}}
    copied = {"copy": {"source": "image", "target": "second"}}
    assert run_job(job_of(tmp_path / "before", [copied, make_mips], image)) == "complete"
    tasks = [
        {"copy": {"source": "given@1", "target": "first"}},
        {"copy": {"source": "given", "target": "third"}},
    ]
    job = job_of(tmp_path, tasks, image, layers={"given": str(tmp_path / "before" / "second")})
    box = Box((16, 0, 8), (32, 32, 16))
    assert run_job(job, box=box) == "complete"
    plan = open_plan(job, box)
    assert [str(step.region) for step in plan.steps] == ["8-16_0-16_8-16", str(box)]
    assert plan_of_spec(spec_of(plan), plan.job.modules).steps[0].region == plan.steps[0].region
    made = read_layer(tmp_path / "work" / "try" / str(box) / "layers" / "third")
    np.testing.assert_array_equal(made, image[box.slices((0, 0, 0))])
    with pytest.raises(BadInput, match="outside the volume 0-48_0-32_0-32"):
        open_plan(job, Box((48, 0, 0), (60, 32, 32)))


@pytest.mark.parametrize(
    ("given", "made", "meshes"),
    [
        ("given", "first", "given/mesh"),
        ("given", "given/first", "meshes"),
        ("other/given", "other", "meshes"),
        ("given", "first", "meshes"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_nothing_is_written_into_what_is_only_read_nor_around_it(
    tmp_path: Path, given: str, made: str, meshes: str, order: int
) -> None:
    make_layer(tmp_path / given, np.full(SIZE, 7, np.uint32), "segmentation")
    named = "given/mesh" if meshes == "given/mesh" else "meshes"
    tasks = [smooth("image", "first"), {"mesh": {"labels": "given", "meshes": named}}][::order]
    urls = {"given": given, "first": made, "meshes": meshes}
    job = job_of(tmp_path, tasks, layers={name: str(tmp_path / url) for name, url in urls.items()})
    if (given, made, meshes) == ("given", "first", "meshes"):
        assert open_plan(job)
        return
    with pytest.raises(BadInput, match=r"which this job only reads, lies at .*given: name a folder apart"):
        open_plan(job)


def test_an_input_that_is_an_output_by_another_name_is_refused_in_any_order(tmp_path: Path) -> None:
    tasks = [smooth("image", "first"), {"copy": {"source": "again", "target": "second"}}]
    job = job_of(tmp_path, tasks, layers={"again": str(tmp_path / "first")})
    with pytest.raises(BadInput, match="again, which this job only reads, lies at"):
        open_plan(job)
