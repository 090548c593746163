"""Legacy meshes through the engine: closed across blocks, complete manifests, the same however cut."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from cloudvolume import CloudVolume

from chunkflow.chunk import Chunk
from chunkflow.data.info import LabelsInfo
from chunkflow.geometry import Box
from chunkflow.kernels.precomputed.morton import morton_encode
from chunkflow.task import Cell, Image, Labels, Layout, Out, Task
from tasks.mesh.fragments import Fragments
from tests.support.files.meshes import (
    OFFSET,
    SIZE,
    VOXEL,
    blobs,
    enclosed,
    meshed,
    open_edges,
    pieces,
    surface_of,
)
from tests.support.jobs import make_job, make_layer, run_job

LEGACY = Fragments(labels="labels", error=None, block=(256, 256, 256))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if ":" in file.name}


@pytest.fixture
def labels(tmp_path: Path) -> str:
    return make_layer(tmp_path / "labels", blobs(), "segmentation", VOXEL, OFFSET)


def test_fragments_join_to_closed_surfaces_of_the_objects_volume(tmp_path: Path, labels: str) -> None:
    array = blobs()
    meshes = meshed(tmp_path, labels)
    for name in np.unique(array)[1:]:
        points, faces = surface_of(meshes, int(name))
        voxels = np.argwhere(array == name) + OFFSET
        assert open_edges(faces) == 0
        assert abs(enclosed(points, faces) / (len(voxels) * np.prod(VOXEL)) - 1) < 0.1
        assert (points.min(axis=0) >= (voxels.min(axis=0) - 0.7) * VOXEL).all()
        assert (points.max(axis=0) <= (voxels.max(axis=0) + 1.7) * VOXEL).all()


def test_sides_agree_where_the_voxel_size_is_no_round_number(tmp_path: Path) -> None:
    size, offset = (227.3, 162.7, 1001.1), (100_003, 70_001, 9_001)
    layer = make_layer(tmp_path / "labels", blobs(), "segmentation", size, offset)
    meshes = meshed(tmp_path, layer)
    for name in np.unique(blobs())[1:]:
        assert open_edges(surface_of(meshes, int(name))[1]) == 0


def test_blocks_are_simplified(tmp_path: Path, labels: str) -> None:
    plain = meshed(tmp_path / "plain", labels, error=0)
    fewer = meshed(tmp_path / "fewer", labels, block=[64, 64, 64])
    count = {m: sum(len(surface_of(m, n * 1000003)[1]) for n in range(1, 9)) for m in (plain, fewer)}
    assert count[fewer] < count[plain] / 4


def test_the_jobs_chunks_change_nothing(tmp_path: Path, labels: str) -> None:
    first = contents(meshed(tmp_path / "a", labels, (32, 32, 32)))
    assert contents(meshed(tmp_path / "b", labels, (64, 32, 96))) == first


def test_manifests_name_all_fragments_and_cloudvolume_reads_them(tmp_path: Path, labels: str) -> None:
    files = contents(meshed(tmp_path, labels))
    manifests = {name: json.loads(data)["fragments"] for name, data in files.items() if name.count(":") == 1}
    assert {int(name.removesuffix(":0")) for name in manifests} == set(np.unique(blobs()).tolist()) - {0}
    named = [fragment for fragments in manifests.values() for fragment in fragments]
    assert sorted(named) == sorted(name for name in files if name.count(":") == 2)
    layer = Path(labels)
    info = json.loads((layer / "info").read_bytes())
    (layer / "info").write_text(json.dumps(info | {"mesh": "mesh"}))
    (layer / "mesh").symlink_to(tmp_path / "meshes")
    mesh = CloudVolume(f"file://{layer}", progress=False).mesh.get(1000003)
    mesh = mesh[1000003] if isinstance(mesh, dict) else mesh
    assert len(mesh.faces) == len(surface_of(tmp_path / "meshes", 1000003)[1])


def test_an_object_as_large_as_the_volume_is_one_closed_box(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "labels", np.full(SIZE, 7, np.uint32), "segmentation", VOXEL, OFFSET)
    points, faces = surface_of(meshed(tmp_path, layer), 7)
    assert open_edges(faces) == 0
    start = np.array(OFFSET) * VOXEL
    stop = (np.array(OFFSET) + SIZE) * VOXEL
    assert np.abs(points.min(axis=0) - start).max() < 2
    assert np.abs(points.max(axis=0) - stop).max() < 2


def test_objects_of_one_piece_get_one_whole_manifest_however_they_cross_blocks(tmp_path: Path) -> None:
    layers = {
        "image": make_layer(tmp_path / "image", np.zeros(SIZE, np.uint8), "image", VOXEL, OFFSET),
        "labels": str(tmp_path / "painted"),
    }
    tasks = [
        {"tests.support.files.meshes:Paint": {"image": "image", "labels": "labels"}},
        {"mesh": {"labels": "labels", "block": [16, 16, 16], "format": "legacy"}},
    ]
    job = make_job(tmp_path, layers, tasks, chunk=[32, 32, 32], storage=[32, 32, 32])
    assert run_job(job) == "complete"
    folder = tmp_path / "painted" / "mesh"
    files = contents(folder)
    for name in np.unique(pieces())[1:].tolist():
        made = sorted(file for file in files if file.startswith(f"{name}:0:"))
        assert json.loads(files[f"{name}:0"])["fragments"] == made
        assert open_edges(surface_of(folder, name)[1]) == 0
    assert json.loads((tmp_path / "painted" / "info").read_bytes())["mesh"] == "mesh"
    assert json.loads((folder / "info").read_bytes())["@type"] == "neuroglancer_legacy_mesh"


class PaintComb(Task):
    """One object: a plate, and teeth along x on both sides of it."""

    connected: ClassVar[bool] = True
    image: Image
    labels: Labels = Out()

    def map(self, cell: Cell, image: Chunk) -> Chunk:
        name = morton_encode(np.array([[0, 8, 8]], np.uint64), SIZE)[0] + np.uint64(1)
        comb = np.zeros(SIZE, np.uint64)
        comb[:, 8:12, 8:12] = comb[:, 8:12, 32:36] = comb[:, 36:39, 20:24] = name
        comb[23, 8:39, 8:36] = name
        return image.like(np.asfortranarray(comb[cell.box.slices(OFFSET)]))


@pytest.mark.parametrize("cut", [(0, 20), (28, 42), (3, 15)])
def test_an_object_that_a_part_cuts_into_pieces_has_one_manifest(
    tmp_path: Path, cut: tuple[int, int]
) -> None:
    layers = {
        "image": make_layer(tmp_path / "image", np.zeros(SIZE, np.uint8), "image", VOXEL, OFFSET),
        "labels": str(tmp_path / "painted"),
    }
    tasks = [
        {"tests.tasks.test_mesh:PaintComb": {"image": "image", "labels": "labels"}},
        {"mesh": {"labels": "labels", "block": [16, 16, 16], "format": "legacy"}},
    ]
    job = make_job(tmp_path, layers, tasks, chunk=[16, 16, 16], storage=[16, 16, 16])
    part = Box((cut[0], 0, 0), (cut[1], SIZE[1], SIZE[2])).shift(OFFSET)
    assert run_job(job, part) == "complete"
    files = contents(next(tmp_path.rglob("mesh")))
    manifests = {name: json.loads(data)["fragments"] for name, data in files.items() if name.count(":") == 1}
    assert [sorted(name for name in files if name.count(":") == 2)] == list(manifests.values())


def cell_of(array: np.ndarray, box: Box, bounds: Box) -> tuple[Cell, Chunk]:
    info = LabelsInfo(url="file:///x", volume=bounds, voxel_size=(1.0, 1.0, 1.0))
    layout = Layout({"labels": (info,)}, (16, 16, 16), (16, 16, 16))
    window = Box(box.start, tuple(n + 1 for n in box.stop)).clip(bounds)
    chunk = Chunk(array[window.slices(bounds.start)], window, (1.0, 1.0, 1.0))
    return Cell(0, box, bounds, bounds, (1.0, 1.0, 1.0), layout, {}), chunk


def test_rows_say_where_an_object_goes_on() -> None:
    bounds = Box((0, 0, 0), (32, 32, 32))
    array = np.zeros(bounds.size, np.uint32)
    array[15, 16, 20] = 5  # at the far x face of its block: may go on at (16, 15)
    array[16, 3, 3] = 6  # in the next block, in sight from this one
    array[4:20, 8, 30:] = 7
    array[8, 8, 8] = 8
    cell, chunk = cell_of(array, Box((0, 16, 16), (16, 32, 32)), bounds)
    _, rows = LEGACY.map(cell, chunk)
    assert dict(zip(rows["id"].to_pylist(), rows["faces"].to_pylist(), strict=True)) == {5: 0b000110}
    cell, chunk = cell_of(array, Box((0, 0, 0), (16, 16, 16)), bounds)
    _, rows = LEGACY.map(cell, chunk)
    assert dict(zip(rows["id"].to_pylist(), rows["faces"].to_pylist(), strict=True)) == {6: 0b000010, 8: 0}


def test_merging_is_the_same_in_any_grouping() -> None:
    task = LEGACY
    schema = task.no_rows(Layout({}, (1, 1, 1), (1, 1, 1))).schema
    rows = pa.table(
        {"id": [3, 3, 3, 9], "faces": [1, 4, 0, 32], "fragments": [["a"], [], ["b", "c"], []]}, schema=schema
    )
    whole = task.merge(rows)
    assert whole.to_pylist() == [
        {"id": 3, "faces": 5, "fragments": ["a", "b", "c"]},
        {"id": 9, "faces": 32, "fragments": []},
    ]
    halves = pa.concat_tables([task.merge(rows.slice(0, 2)), task.merge(rows.slice(2))])
    assert task.merge(halves).equals(whole)
