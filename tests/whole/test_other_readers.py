"""Layers open in other tools: tensorstore reads every mip of what a job made, voxel for voxel."""

from pathlib import Path

import numpy as np
import pytest
import tensorstore

from tests.support.jobs import make_job, make_layer, read_layer, run_job


@pytest.mark.parametrize("encoding", ["raw", "compressed_segmentation"])
def test_tensorstore_reads_what_was_made(tmp_path: Path, encoding: str) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 2**16, (70, 61, 45)).astype(np.uint16)
    source = make_layer(tmp_path / "image", image, offset=(5, 7, 3))
    labels = make_layer(
        tmp_path / "source", (image // 8192).astype(np.uint64), kind="segmentation", offset=(5, 7, 3)
    )
    layers = {"image": source, "source": labels, "copied": str(tmp_path / "copied")}
    written = {name: {"url": url} for name, url in layers.items()}
    written["labels"] = {"url": str(tmp_path / "labels"), "encoding": encoding}
    tasks = [
        {"copy": {"source": "image", "target": "copied"}},
        {"downsample": {"layer": "copied"}},
        {"copy": {"source": "source", "target": "labels"}},
        {"downsample": {"layer": "labels", "mips": 2}},
    ]
    job = make_job(tmp_path, {}, tasks, chunk=[50, 54, 30], storage=[25, 27, 15])
    job = job.model_copy(
        update={"layers": make_job(tmp_path, written, tasks).layers}  # type: ignore[arg-type]
    )
    assert run_job(job) == "complete"
    for name, mips in (("copied", 2), ("labels", 3)):
        assert not list((tmp_path / name).rglob("*.gz"))
        for mip in range(mips):
            ours = read_layer(tmp_path / name, mip)
            np.testing.assert_array_equal(read_with_tensorstore(tmp_path / name, mip), ours)
            if mip == 0:
                np.testing.assert_array_equal(ours, image if name == "copied" else image // 8192)


def read_with_tensorstore(folder: Path, mip: int) -> np.ndarray:
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(folder)},
        "scale_index": mip,
    }
    store = tensorstore.open(spec, read=True).result()
    return np.asarray(store.read().result())[..., 0]
