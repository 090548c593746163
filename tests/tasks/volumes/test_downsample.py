"""Mips through the engine: each from the one before, on the lattice of voxel 0, however the job was cut."""

import json
from pathlib import Path

import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.chunk import Chunk
from chunkflow.data.info import ImageInfo
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.images.pooling import pool
from chunkflow.task import Cell, Layout
from tasks.volumes.downsample import Downsample
from tests.support.jobs import make_job, make_layer, read_layer, run_job

OFFSET = (5, -3, 7)
SIZE = (61, 50, 33)


def values(kind: str) -> np.ndarray:
    random = np.random.default_rng(4)
    if kind == "image":
        return np.asfortranarray(random.integers(0, 65536, SIZE, dtype=np.uint16))
    return np.asfortranarray(
        np.kron(random.integers(0, 4, (16, 13, 9)), np.ones((4, 4, 4)))[:61, :50, :33].astype("u8")
    )


def made(folder: Path, kind: str, chunk: tuple[int, ...], box: Box | None = None) -> Path:
    layers = {
        "source": make_layer(folder / "source", values(kind), kind, (16, 16, 40), OFFSET),
        "copied": str(folder / "copied"),
    }
    tasks = [
        {"copy": {"source": "source", "target": "copied"}},
        {"downsample": {"layer": "copied", "mips": 3}},
    ]
    job = make_job(folder, layers, tasks, chunk=list(chunk), storage=[16, 16, 16])
    assert run_job(job, box) == "complete"
    return folder / "copied" if box is None else folder / "work" / "try" / "layers" / "copied"


@pytest.mark.parametrize("kind", ["image", "segmentation"])
@pytest.mark.parametrize("chunk", [(16, 16, 16), (48, 32, 64)])
def test_each_mip_is_the_one_before_pooled(tmp_path: Path, kind: str, chunk: tuple[int, ...]) -> None:
    layer = made(tmp_path, kind, chunk)
    array, start = values(kind), OFFSET
    for mip, factor in enumerate([(2, 2, 1), (2, 2, 2), (2, 2, 2)], 1):
        array = pool(array, start, factor, "mean" if kind == "image" else "mode")
        start = tuple(a // f for a, f in zip(start, factor, strict=True))
        volume = CloudVolume(f"file://{layer}", mip=mip, progress=False)
        assert tuple(volume.voxel_offset) == start
        assert (read_layer(layer, mip) == array).all()
    scales = json.loads((layer / "info").read_bytes())["scales"]
    assert [scale["resolution"] for scale in scales] == [
        [16, 16, 40],
        [32, 32, 40],
        [64, 64, 80],
        [128, 128, 160],
    ]


def test_mips_of_a_layer_that_is_only_read_go_into_one_of_their_own(tmp_path: Path) -> None:
    source = make_layer(tmp_path / "source", values("image"), "image", (16, 16, 40), OFFSET)
    layers = {"source": source, "small": str(tmp_path / "small")}
    tasks = [{"downsample": {"layer": "source", "target": "small", "factor": [2, 2, 2]}}]
    assert run_job(make_job(tmp_path, layers, tasks, chunk=[32, 32, 32], storage=[16, 16, 16])) == "complete"
    once = pool(values("image"), OFFSET, (2, 2, 2), "mean")
    assert (read_layer(tmp_path / "small") == once).all()
    twice = pool(once, (2, -2, 3), (2, 2, 2), "mean")
    assert (read_layer(tmp_path / "small", 1) == twice).all()


def test_the_input_itself_is_never_written(tmp_path: Path) -> None:
    source = make_layer(tmp_path / "source", values("image"))
    job = make_job(tmp_path, {"source": source}, [{"downsample": {"layer": "source"}}], chunk=[64, 64, 64])
    with pytest.raises(BadInput, match="name a layer of its own"):
        run_job(job)


def layout_of(size: tuple[int, int, int]) -> Layout:
    volume = Box((0, 0, 0), size)
    info = ImageInfo(url="file:///x", volume=volume, voxel_size=(16.0, 16.0, 40.0), mip=1)
    return Layout({"layer": (info,)}, (64, 64, 64), (64, 64, 64))


def test_steps_go_on_from_the_mip_named_until_one_storage_chunk_holds_all() -> None:
    steps = Downsample(layer="image@1").expand(layout_of((256, 256, 128)))
    assert [name for name, _ in steps] == ["mip2", "mip3"]
    assert [(s.layer, s.target, s.factor) for _, s in steps] == [
        ("image@1", "image@2", (2, 2, 1)),
        ("image@2", "image@3", (2, 2, 2)),
    ]
    assert [name for name, _ in Downsample(layer="image@1").expand(layout_of((64, 64, 64)))] == ["mip2"]


def test_a_factor_that_makes_nothing_coarser_is_refused() -> None:
    with pytest.raises(BadInput, match="makes nothing coarser"):
        Downsample(layer="image@1", factor=(1, 1, 1)).expand(layout_of((256, 256, 128)))
    with pytest.raises(BadInput, match="makes nothing coarser"):
        Downsample(layer="image@1", factor=(2, 0, 1)).expand(layout_of((256, 256, 128)))


def test_a_chunk_says_where_it_lies() -> None:
    layout = layout_of((256, 256, 128))
    (_, step), *_ = Downsample(layer="image@1").expand(layout)
    box = step.reads("layer", Box((3, 4, 5), (8, 8, 8)), layout)[0]
    chunk = Chunk(np.ones(box.size, np.uint8), box, (16.0, 16.0, 40.0))
    made_of = step.map(
        Cell(0, Box((3, 4, 5), (8, 8, 8)), box, box, (32.0, 32.0, 40.0), layout, {}), layer=chunk
    )
    assert made_of.box == Box((3, 4, 5), (8, 8, 8))
    assert made_of.voxel_size == (32.0, 32.0, 40.0)
