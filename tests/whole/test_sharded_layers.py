"""Layers in shards: read by CloudVolume and by tensorstore, whole however they were cut, few files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given
from hypothesis import strategies as st

from chunkflow.data.folder import Folder
from chunkflow.data.info import SHARD_SIDE
from chunkflow.data.sharded import chunks_of, file_count, shard_names, sharding_of
from chunkflow.engine.ledger.ledger import Ledger
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Grid, Vec, vec
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import morton_encode
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.same import Way, same_everywhere

SIZE, START = (75, 50, 30), (5, -3, 2)
STORAGE = (4, 4, 4)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    rng = np.random.default_rng(1)
    make_layer(folder / "image", rng.integers(0, 60000, SIZE).astype(np.uint16), offset=START)
    labels = np.kron(rng.integers(0, 90, (11, 8, 5)), np.ones((7, 7, 7)))[:75, :50, :30].astype(np.uint64)
    make_layer(folder / "labels", labels, "segmentation", offset=START)
    return folder


def job_of(source: Path, folder: Path, chunk: Vec | None = (32, 32, 32), sharded: bool | None = True) -> Job:
    layers: dict[str, Any] = {name: str(source / name) for name in ("image", "labels")}
    layers["out"] = {"url": str(folder / "out"), "sharded": sharded}
    layers["seg"] = {"url": str(folder / "seg"), "encoding": "compressed_segmentation", "sharded": sharded}
    tasks = [
        {"copy": {"source": "image", "target": "out"}},
        {"copy": {"source": "labels", "target": "seg"}},
        {"downsample": {"layer": "seg", "mips": 2}},
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk) if chunk else None, storage=list(STORAGE))


def test_read_back_by_others(source: Path, tmp_path: Path) -> None:
    assert run_job(job_of(source, tmp_path)) == "complete"
    for made, original in (("out", "image"), ("seg", "labels")):
        np.testing.assert_array_equal(read_layer(tmp_path / made), read_layer(source / original))
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": f"{tmp_path / made}/"},
        }
        store = ts.open(spec, open=True, read=True).result()
        np.testing.assert_array_equal(store[..., 0].read().result(), read_layer(source / original))
    info = json.loads((tmp_path / "seg" / "info").read_bytes())
    assert [scale["sharding"]["@type"] for scale in info["scales"]] == ["neuroglancer_uint64_sharded_v1"] * 3
    for scale in info["scales"]:
        bounds = Box.of_size(vec(scale["size"]), vec(scale["voxel_offset"]))
        files = {path.name for path in (tmp_path / "seg" / scale["key"]).iterdir()}
        assert files == set(shard_names(bounds, STORAGE))
        assert len(files) == file_count(bounds, STORAGE, sharded=True)


def test_the_same_however_it_was_cut(source: Path, tmp_path: Path) -> None:
    def job(folder: Path, chunk: Vec) -> Job:
        return job_of(source, folder, chunk)

    def files(made: Job) -> dict[str, Any]:
        folders = {name: Folder(made.layers[name].url) for name in ("out", "seg")}
        return {
            f"{n}/{f}": folder.get(f)
            for n, folder in folders.items()
            for f in folder.list()
            if "prov" not in f
        }

    same_everywhere(tmp_path, job, (96, 64, 32), [Way((32, 64, 32), 2, shuffled=True)], files)


def test_a_restart_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    job = job_of(source, tmp_path)
    assert run_job(job) == "complete"
    wanted = read_layer(tmp_path / "out")
    (tmp_path / "out" / "1000_1000_2000" / "0.shard").write_bytes(b"")
    assert run_job(job, restart="copy") == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "out"), wanted)


def test_chunks_must_be_whole_shards(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not whole shards of \[32, 32, 32\].*`sharded: false`"):
        open_plan(job_of(source, tmp_path, (32, 16, 32)))
    assert open_plan(job_of(source, tmp_path, (32, 16, 32), sharded=False)).chunk == (32, 16, 32)
    assert all(n % 32 == 0 for n in open_plan(job_of(source, tmp_path, None)).chunk)


def test_sharded_where_there_would_be_too_many_files(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkflow.engine.planning.binding.MOST_FILES", 100)
    plan = open_plan(job_of(source, tmp_path, sharded=None))
    sharded = {mip: plan.products["seg", mip].info.sharded for mip in (0, 1, 2)}
    assert sharded == {0: True, 1: True, 2: False}
    assert run_job(job_of(source, tmp_path, sharded=None)) == "complete"
    np.testing.assert_array_equal(read_layer(tmp_path / "seg"), read_layer(source / "labels"))
    assert Ledger.load(Folder(plan.work)).state.ended == "complete"


@given(
    size=st.tuples(*[st.integers(1, 200)] * 3),
    start=st.tuples(*[st.integers(-50, 50)] * 3),
    storage=st.tuples(*[st.sampled_from([4, 8, 10])] * 3),
)
def test_a_shard_is_a_cube_of_chunks(size: Vec, start: Vec, storage: Vec) -> None:
    bounds = Box.of_size(size, start)
    shape, sharding = chunks_of(bounds, storage), sharding_of(bounds, storage, False)
    grid = Grid.chunks(bounds, storage)
    places = np.array([grid.position(index) for index in range(len(grid))])
    shards = sharding.locate(morton_encode(places, shape))[0]
    cubes = np.unique(places // SHARD_SIDE, axis=0, return_inverse=True)[1].ravel()
    pairs = np.unique(np.stack([shards.astype(np.int64), cubes]), axis=1)
    assert pairs.shape[1] == len(np.unique(shards)) == len(np.unique(cubes))
    assert sorted(shard_names(bounds, storage)) == sorted({sharding.file_name(int(n)) for n in shards})
