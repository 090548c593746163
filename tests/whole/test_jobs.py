"""What a job may ask for: masks, grids of its own, orders, values decided once, layers of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.ndimage import uniform_filter

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.run.events import CellDone, Decided, Event
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import id_voxels
from tests.support.files.annotation_layers import make_rows, write_table
from tests.support.jobs import make_job, make_layer, read_layer, read_table, run_job
from tests.support.offset_jobs import COUNT, OFFSET, OWN, SIZE, SMOOTH, TILES, an_image, job_of
from tests.support.own_tasks.voxels import tiles
from tests.support.same import Way, assert_all_accounted, run_in


def test_voxels_and_rows_are_those_of_the_whole_volume_at_once(tmp_path: Path) -> None:
    """Against numpy and scipy, which know nothing of chunks."""
    image = an_image()
    job = job_of(tmp_path, [SMOOTH, TILES, {OWN + "Count": COUNT[OWN + "Count"] | {"image": "smooth"}}])
    assert run_job(job) == "complete"
    smooth = read_layer(tmp_path / "smooth")
    mean = uniform_filter(image.astype(np.float64), 5, mode="nearest")
    np.testing.assert_array_equal(smooth, np.floor(mean + 1e-6).astype(np.uint16))
    volume = Box.of_size(SIZE, OFFSET)
    labels = tiles(volume, volume, (9, 13, 40))
    np.testing.assert_array_equal(read_layer(tmp_path / "labels"), labels)
    rows = read_table(tmp_path / "work" / "tables" / "objects").to_pylist()
    ids, place = np.unique(labels, return_inverse=True)
    total = np.bincount(place.ravel(), smooth.ravel())
    wanted = [
        {"id": int(i), "voxels": int(n), "total": int(t), "cut": False}
        for i, n, t in zip(ids, np.bincount(place.ravel()), total, strict=True)
        if i
    ]
    assert rows == wanted


def test_a_mask_at_a_coarser_mip(tmp_path: Path) -> None:
    keep = np.zeros((35, 32, 25), np.uint8)
    keep[5:20, 10:20, :] = 1
    keep[33:, 30:, 24:] = 1
    make_layer(tmp_path / "mask", keep, "segmentation", (2000, 2000, 4000), (5, -4, 1))
    job = job_of(
        tmp_path, [TILES, COUNT], layers={"mask": str(tmp_path / "mask")}, mask="mask", chunk=[16, 16, 16]
    )
    read: list[tuple[str, int]] = []
    plan = open_plan(job)

    def listen(event: Event) -> None:
        if isinstance(event, CellDone) and event.answer.bytes_in:
            read.append((plan.stages[event.answer.stage].name, event.answer.index))

    assert run_job(job, listeners=[listen]) == "complete"
    volume = Box.of_size(SIZE, OFFSET)
    places = np.meshgrid(
        *(np.arange(a, b) // 2 for a, b in zip(volume.start, volume.stop, strict=True)), indexing="ij"
    )
    inside = np.ones(SIZE, bool)
    for place, start, size in zip(places, (5, -4, 1), keep.shape, strict=True):
        inside &= (place >= start) & (place < start + size)
    mask = np.zeros(SIZE, bool)
    x, y, z = (p[inside] - s for p, s in zip(places, (5, -4, 1), strict=True))
    mask[inside] = keep[x, y, z] != 0
    wanted = np.where(mask, tiles(volume, volume, (9, 13, 40)), 0)
    labels = read_layer(tmp_path / "labels")
    np.testing.assert_array_equal(labels, wanted)
    rows = read_table(tmp_path / "work" / "tables" / "objects")
    assert rows["id"].to_pylist() == np.unique(wanted)[1:].tolist()
    assert sum(rows["voxels"].to_pylist()) == np.count_nonzero(wanted)
    kept = {i for i in range(len(plan.steps[0].grid)) if mask[plan.steps[0].grid.box(i).slices(OFFSET)].any()}
    assert {index for name, index in read if name == "WholeTiles"} == kept
    state = Ledger.load(Folder(job.work)).state
    assert state.stages["WholeTiles"].empty >= len(plan.steps[0].grid) - len(kept)


def test_what_is_empty_is_skipped_and_written_as_zeros(tmp_path: Path) -> None:
    image = np.zeros(SIZE, np.uint16)
    image[:10, :10, :10] = 700
    faulty = {OWN + "Faulty": {"image": "image", "labels": "labels", "marks": str(tmp_path)}}
    job = job_of(tmp_path, [faulty, COUNT], image)
    assert run_job(job) == "complete"
    state = Ledger.load(Folder(job.work)).state
    assert state.stages["Faulty"].empty == 11
    assert state.stages["Count"].empty == 4, (
        "those that see no voxel, nor one beyond their faces, in 2x2x2 cells"
    )
    assert read_table(tmp_path / "work" / "tables" / "objects")["voxels"].to_pylist() == [1000]
    np.testing.assert_array_equal(read_layer(tmp_path / "labels"), image >= 500)


def test_an_empty_volume_gives_a_table_with_its_columns(tmp_path: Path) -> None:
    faulty = {OWN + "Faulty": {"image": "image", "labels": "labels", "marks": str(tmp_path)}}
    job = job_of(tmp_path, [faulty, COUNT], np.zeros(SIZE, np.uint16))
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "objects")
    assert rows.column_names == ["id", "voxels", "total", "cut"]
    assert len(rows) == 0


def test_a_table_may_be_made_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chunkflow.data.tables.BATCH", 2)
    even = {OWN + "Even": {"objects": "objects", "even": "even"}}
    tiles = {OWN + "WholeTiles": TILES[OWN + "WholeTiles"] | {"size": [9, 13, 11]}}
    job = job_of(tmp_path, [tiles, COUNT, even, {OWN + "Tell": {"objects": "even"}}])
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "objects").to_pylist()
    wanted = [row | {"half": row["voxels"] // 2} for row in rows if row["voxels"] % 2 == 0]
    assert 2 < len(wanted) < len(rows)
    assert read_table(tmp_path / "work" / "tables" / "even").to_pylist() == wanted
    assert Ledger.load(Folder(job.work)).state.stages["Even"].counts == {"odd": len(rows) - len(wanted)}
    assert (tmp_path / "work" / "reports" / "Tell" / "rows.txt").read_text() == str(len(wanted))
    assert run_job(job, restart="Even") == "complete"
    assert read_table(tmp_path / "work" / "tables" / "even").to_pylist() == wanted


def test_a_table_of_a_part_is_taken_as_far_as_it_goes(tmp_path: Path) -> None:
    volume, part = Box.of_size((300, 200, 100), OFFSET), Box((150, 60, 20), (250, 190, 90))
    rows = make_rows(400, volume=volume)
    named = id_voxels(rows["id"].to_numpy(), volume.size) + np.array(OFFSET)
    rows = rows.filter(pa.array(((named >= part.start) & (named < part.stop)).all(axis=1)))
    rows = rows.append_column("voxels", rows["volume"].cast(pa.int64()))
    table = write_table(tmp_path / "part", rows, (64, 64, 64), volume, part)
    even = {OWN + "Even": {"objects": "objects", "even": "even"}}
    job = make_job(tmp_path, {"objects": table}, [even])
    assert run_job(job) == "complete"
    found = read_table(tmp_path / "work" / "tables" / "even")
    odd = Ledger.load(Folder(job.work)).state.stages["Even"].counts["odd"]
    assert 20 < len(found) < len(found) + odd == len(rows)
    assert run_job(job, box=Box((10, -7, 3), (160, 70, 30))) == "complete"
    with pytest.raises(BadInput, match="nothing to do here: the table that it reads covers 150-250_"):
        open_plan(job, Box((10, -7, 3), (20, 0, 30)))


def test_files_of_rows_in_pieces_are_not_lost_in_silence(tmp_path: Path) -> None:
    job = job_of(tmp_path, [TILES, COUNT, {OWN + "MergedAndTold": {"objects": "objects"}}])
    assert run_job(job) == "incomplete"
    failure = Ledger.load(Folder(job.work)).state.stages["MergedAndTold"].failures[0]
    assert "not map but finish must return its files" in failure.traceback


def test_values_are_decided_once_recorded_and_shared(tmp_path: Path) -> None:
    image = an_image()
    job = job_of(tmp_path, [SMOOTH, {OWN + "Tiles": {"image": "smooth", "labels": "labels"}}])
    decided: list[Decided] = []

    def listen(event: Event) -> None:
        if isinstance(event, Decided):
            decided.append(event)

    assert run_job(job, listeners=[listen]) == "complete"
    level = int(read_layer(tmp_path / "smooth")[:8, :8, :8].mean())
    assert [(event.stage, dict(event.values)) for event in decided] == [("Tiles.prepare", {"level": level})]
    assert Ledger.load(Folder(job.work)).state.stages["Tiles.prepare"].prepared == {"level": level}
    volume = Box.of_size(SIZE, OFFSET)
    wanted = np.where(read_layer(tmp_path / "smooth") >= level, tiles(volume, volume, (9, 13, 40)), 0)
    np.testing.assert_array_equal(read_layer(tmp_path / "labels"), wanted)
    assert image.shape == wanted.shape


def test_a_part_decides_as_the_whole_does(tmp_path: Path) -> None:
    job = job_of(tmp_path, [SMOOTH, {OWN + "Tiles": {"image": "smooth", "labels": "labels"}}])
    box = Box((50, 30, 30), (70, 50, 50))
    assert run_job(job, box=box) == "complete"
    assert run_job(job) == "complete"
    prepared = [
        Ledger.load(Folder(work)).state.stages["Tiles.prepare"].prepared
        for work in (job.work, f"{job.work}/try/{box}")
    ]
    assert prepared[0] == prepared[1]


def test_section_after_section(tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = {OWN + "Sections": {"image": "image", "copy_": "copy", "log": str(log)}}
    job = job_of(tmp_path, [task], chunk=[32, 64, 16])
    assert run_in(Way((32, 64, 16), 2, shuffled=True), job) == "complete"
    order = [int(line) for line in log.read_text().split()]
    assert len(order) == 3 * 4
    columns = np.unique(order, return_counts=True)
    assert columns[0].tolist() == [3, 19, 35, 51]
    np.testing.assert_array_equal(read_layer(tmp_path / "copy"), an_image())


def test_sections_wait_for_the_one_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = {OWN + "Sections": {"image": "image", "copy_": "copy", "log": str(log)}}
    job = job_of(tmp_path, [task], chunk=[128, 64, 16])
    assert run_in(Way((128, 64, 16), 2, shuffled=True), job) == "complete"
    assert [int(line) for line in log.read_text().split()] == [3, 19, 35, 51]


@pytest.mark.parametrize("cell", [(16, 16, 16), (32, 16, 48), (64, 64, 64)])
def test_a_grid_of_its_own_finer_and_coarser(tmp_path: Path, cell: tuple[int, int, int]) -> None:
    half = {OWN + "Coarse": {"image": "smooth", "half": "half", "cell_size": list(cell)}}
    twice = {OWN + "Smooth": {"image": "half", "smooth": "copy"}}
    job = job_of(tmp_path, [SMOOTH, half, twice], chunk=[32, 48, 16])
    assert run_in(Way((32, 48, 16), 2, shuffled=True), job) == "complete"
    assert_all_accounted(job)
    smooth = read_layer(tmp_path / "smooth")
    rows = [
        np.unique(np.clip(np.arange(o // 2, -(-(o + n) // 2)) * 2 - o, 0, n - 1))
        for o, n in zip(OFFSET, SIZE, strict=True)
    ]
    np.testing.assert_array_equal(read_layer(tmp_path / "half"), smooth[np.ix_(*rows)])
    mean = uniform_filter(smooth[np.ix_(*rows)].astype(np.float64), 5, mode="nearest")
    np.testing.assert_array_equal(read_layer(tmp_path / "copy"), np.floor(mean + 1e-6).astype(np.uint16))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_two_layers_at_once_of_images_of_every_type(tmp_path: Path, dtype: str) -> None:
    image = an_image(dtype)
    job = job_of(
        tmp_path, [{OWN + "Two": {"image": "image", "bright": "bright", "inverse": "inverse"}}], image
    )
    assert run_job(job) == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "bright"), image > 100)
    inverse = read_layer(tmp_path / "inverse")
    assert inverse.dtype == np.float32
    np.testing.assert_array_equal(inverse, -image.astype(np.float32))


def test_several_channels(tmp_path: Path) -> None:
    image = an_image("uint8", (*SIZE, 3))
    task = {OWN + "Sections": {"image": "image", "copy_": "copy", "log": str(tmp_path / "log")}}
    assert run_job(job_of(tmp_path, [task], image)) == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "copy"), image)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_labels_that_were_there_before_in_pieces(tmp_path: Path, dtype: str) -> None:
    """Objects in many pieces, and ids that name no voxel: their rows meet at the root."""
    labels = np.random.default_rng(1).integers(0, 50, SIZE).astype(dtype)
    make_layer(tmp_path / "given", labels, "segmentation", offset=OFFSET)
    count = {OWN + "Count": {"labels": "given", "objects": "objects"}}
    job = job_of(tmp_path, [count], layers={"given": str(tmp_path / "given")}, chunk=[32, 16, 48])
    assert run_job(job) == "complete"
    rows = read_table(tmp_path / "work" / "tables" / "objects")
    assert rows["id"].to_pylist() == list(range(1, 50))
    assert rows["voxels"].to_pylist() == np.bincount(labels.ravel().astype(np.int64))[1:].tolist()


def test_an_input_may_be_a_coarser_mip(tmp_path: Path) -> None:
    image = an_image()
    make_layer(tmp_path / "image", image, offset=OFFSET)
    from cloudvolume import CloudVolume

    volume = CloudVolume(f"file://{tmp_path / 'image'}", progress=False, compress="")
    volume.add_scale((2, 2, 2))
    volume.commit_info()
    coarse = CloudVolume(f"file://{tmp_path / 'image'}", mip=1, progress=False, compress="")
    shape = tuple(int(n) for n in coarse.bounds.size3())
    half = image[: 2 * shape[0] : 2, : 2 * shape[1] : 2, : 2 * shape[2] : 2][
        : shape[0], : shape[1], : shape[2]
    ]
    coarse[:] = half
    task = {OWN + "Sections": {"image": "image@1", "copy_": "copy", "log": str(tmp_path / "log")}}
    layers = {name: str(tmp_path / name) for name in ("image", "copy")}
    job = make_job(tmp_path, layers, [task], chunk=[32, 32, 32], storage=[16, 16, 16])
    assert run_job(job) == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "copy"), half)
    assert open_plan(job).products["copy", 0].info.voxel_size == (2000, 2000, 4000)
