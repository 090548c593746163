"""What a plan says it will take, against what a run takes."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest
import tifffile

from chunkflow.engine.planning.forecast import BASE_BYTES, forecast
from chunkflow.jobs.planned import open_plan
from tests.support.jobs import make_job, make_layer, run_job


@pytest.mark.parametrize("sharded", [True, False])
def test_the_files_that_a_job_makes(tmp_path: Path, sharded: bool) -> None:
    rng = np.random.default_rng(0)
    make_layer(tmp_path / "image", rng.integers(0, 900, (70, 60, 50)).astype(np.uint16), chunk=(16, 16, 16))
    layers = {"image": str(tmp_path / "image"), "copy": {"url": str(tmp_path / "copy"), "sharded": sharded}}
    layers["nuclei"] = {"url": str(tmp_path / "nuclei"), "sharded": sharded}
    tasks = [
        {"copy": {"source": "image", "target": "copy"}},
        {"segment": {"image": "copy", "labels": "nuclei", "diameter": 6}},
        {"measure": {"labels": "nuclei", "images": ["copy"]}},
    ]
    job = make_job(tmp_path, layers, tasks, chunk=[32, 32, 32], storage=[4, 4, 4])  # type: ignore[arg-type]
    steps = {step.name: step for step in forecast(open_plan(job))}
    assert run_job(job) == "complete"

    def files(folder: str) -> int:
        return sum(path.is_file() for path in (tmp_path / folder).rglob("*"))

    assert steps["copy"].files == files("copy") - 2, "without info and provenance"
    assert steps["segment"].files == files("nuclei") - 2 + files("work/parts/segment.prepare") + 1
    made = files("work/parts") - 1 + files("work/tables") - 1
    assert steps["measure"].files == made
    read = 5 * 4 * 4  # chunks of 16 in the source: a cell reads those it meets, and the last ones fewer
    assert steps["copy"].requests - steps["copy"].files == pytest.approx(read, rel=0.5)
    assert (steps["copy"].files < 20) == sharded


def test_chunks_grow_also_where_the_first_step_does_not_go_by_chunks(tmp_path: Path) -> None:
    """A job that stitches begins with the few links between its tiles, each for itself."""
    for tile in range(4):
        tifffile.imwrite(tmp_path / f"tile_{tile}.tif", np.zeros((40, 100, 100), np.uint16))
    stitch = {"tiles": str(tmp_path / "tile_{tile}.tif"), "columns": 2, "rows": 2, "images": ["dapi"]}
    layers = {name: str(tmp_path / name) for name in ("dapi", "nuclei")}
    tasks = [
        {"stitch": {**stitch, "voxel_size": "1,1,2um"}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 4}},
    ]
    plan = open_plan(make_job(tmp_path, layers, tasks, storage=[16, 16, 16]), workers=1)
    assert len(plan.steps[0].grid) == 4
    assert plan.chunk > (16, 16, 16)
    cells = {step.name: len(step.grid) for step in plan.steps}
    assert 4 <= cells["segment"] < 100, "every worker has some still"


def test_chunks_grow_also_where_a_small_inner_layer_is_one_chunk(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    make_layer(tmp_path / "dapi", np.zeros((512, 256, 192), np.uint8), chunk=(128, 128, 64))
    layers = {name: str(tmp_path / name) for name in ("dapi", "even")}
    tasks = [{"correct": {"image": "dapi", "corrected": "even"}}]
    plan = open_plan(make_job(tmp_path, layers, tasks, storage=[256, 128, 128]), workers=1)
    cells = {step.name: step.grid.cell for step in plan.steps}
    assert cells["correct/fit"] == (256, 128, 128), "which is where chunks begin"
    assert cells["correct/divide"] > (256, 128, 128)


def test_many_small_blocks_of_meshes_do_not_make_chunks_grow(tmp_path: Path) -> None:
    make_layer(tmp_path / "image", np.zeros((128, 128, 128), np.uint16))
    layers = {name: str(tmp_path / name) for name in ("image", "nuclei")}
    segment = {"segment": {"image": "image", "labels": "nuclei", "diameter": 4}}
    mesh = {"mesh": {"labels": "nuclei", "block": [16, 16, 16]}}
    plans = [
        open_plan(make_job(tmp_path, layers, tasks, storage=[16, 16, 16]), workers=2)
        for tasks in ([segment], [segment, mesh])
    ]
    assert plans[0].chunk == plans[1].chunk < (128, 128, 128)


def test_what_reads_no_voxels_takes_memory_for_those_that_it_makes(tmp_path: Path) -> None:
    """Planes are decoded whole: cells are as large as they, however small the chunks are."""
    np.save(tmp_path / "a.npy", np.zeros((8, 64, 64), np.uint16))
    for tile in range(2):
        tifffile.imwrite(tmp_path / f"tile_{tile}.tif", np.zeros((8, 64, 64), np.uint16), compression="zlib")
    stitch = {"tiles": str(tmp_path / "tile_{tile}.tif"), "columns": 2, "rows": 1, "images": ["dapi"]}
    tasks = [
        {"ingest": {"source": str(tmp_path / "a.npy"), "voxel_size": "1,1,1um", "layer": "image"}},
        {"stitch": {**stitch, "voxel_size": "1,1,2um"}},
    ]
    layers = {name: str(tmp_path / name) for name in ("dapi", "image")}
    plan = open_plan(make_job(tmp_path, layers, tasks, chunk=[32, 32, 8], storage=[8, 8, 8]))
    steps = {step.name: step for step in forecast(plan)}
    made = 32 * 32 * 8
    assert steps["ingest"].memory == BASE_BYTES + made * (4 + 2 * 2)
    cell = next(step.grid.cell for step in plan.steps if step.name == "stitch/fuse-dapi")
    assert cell[0] >= 64
    assert steps["stitch/fuse-dapi"].memory == BASE_BYTES + prod(cell) * (12 + 2 * 2)
    assert steps["stitch/links"].memory == steps["stitch/report"].memory == BASE_BYTES


def test_a_shard_takes_memory_while_it_is_put_together(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((64, 64, 64), np.float32))
    source = {"source": str(tmp_path / "a.npy"), "voxel_size": "1,1,1um", "layer": "image"}
    memory = {}
    for sharded in (True, False):
        layers = {"image": {"url": str(tmp_path / "image"), "sharded": sharded}}
        keys = {"chunk": [64, 64, 64], "storage": [4, 4, 4]}
        plan = open_plan(make_job(tmp_path, layers, [{"ingest": source}], **keys))  # type: ignore[arg-type]
        (step,) = forecast(plan)
        memory[sharded] = step.memory
    assert memory[True] - memory[False] == 3 * 32**3 * 4
