"""Meshes of several levels of detail: each level closed, as readers need it, and the same however cut."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import DracoPy
import numpy as np
import pytest
from cloudvolume import CloudVolume

from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box, Vec
from tasks.mesh import levels as mesh_levels
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
from tests.support.same import Way, same_everywhere

STEPS = 1023


def levels(folder: Path, labels: str, **parameters: Any) -> CloudVolume:
    """The labels with their meshes, made and opened."""
    meshes = meshed(folder, labels, format="multires", **parameters)
    return linked(Path(labels), meshes)


def linked(labels: Path, meshes: Path) -> CloudVolume:
    info = json.loads((labels / "info").read_bytes())
    (labels / "info").write_text(json.dumps(info | {"mesh": "mesh"}))
    (labels / "mesh").symlink_to(meshes)
    return CloudVolume(f"file://{labels}", progress=False)


def surface(volume: CloudVolume, name: int, lod: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A level of an object, its fragments put together, vertices of the same place made one."""
    manifest = volume.mesh.get_manifest(name)
    made = [(p, mesh) for level, p, mesh in fragments_of(volume, name) if level == lod and mesh is not None]
    corners = [(place * STEPS + mesh.points[mesh.faces]).reshape(-1, 3) for place, mesh in made]
    steps, index = np.unique(np.concatenate(corners), axis=0, return_inverse=True)
    points = manifest.grid_origin + manifest.chunk_shape * 2.0**lod * steps / STEPS
    return points * np.asarray(volume.resolution), index.reshape(-1, 3)


def fragments_of(volume: CloudVolume, name: int) -> Iterator[tuple[int, np.ndarray, Any]]:
    """Level, place and content of each fragment (None where it is empty), from the bytes themselves."""
    manifest = volume.mesh.get_manifest(name)
    data = Path(volume.cloudpath.removeprefix("file://"), manifest.path).read_bytes()
    at = manifest.shard_offset - sum(int(sizes.sum()) for sizes in manifest.fragment_offsets)
    for lod, (places, sizes) in enumerate(
        zip(manifest.fragment_positions, manifest.fragment_offsets, strict=True)
    ):
        for place, size in zip(places, sizes.tolist(), strict=True):
            yield lod, place, DracoPy.decode(data[at : at + size]) if size else None
            at += size


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CloudVolume:
    """The blobs with their meshes."""
    folder = tmp_path_factory.mktemp("made")
    return levels(folder, make_layer(folder / "labels", blobs(), "segmentation", VOXEL, OFFSET))


@pytest.fixture
def labels(tmp_path: Path) -> str:
    return make_layer(tmp_path / "labels", blobs(), "segmentation", VOXEL, OFFSET)


NAMES = np.unique(blobs())[1:].tolist()


def test_each_level_is_closed_and_coarser_than_the_one_before(made: CloudVolume) -> None:
    array = blobs()
    for name in NAMES:
        voxels = np.argwhere(array == name) + OFFSET
        counts = []
        for lod in range(3):
            points, faces = surface(made, name, lod)
            assert open_edges(faces) == 0
            assert abs(enclosed(points, faces) / (len(voxels) * np.prod(VOXEL)) - 1) < (0.1, 0.2, 0.4)[lod]
            assert (points.min(axis=0) >= (voxels.min(axis=0) - 1) * VOXEL).all()
            assert (points.max(axis=0) <= (voxels.max(axis=0) + 2) * VOXEL).all()
            counts.append(len(faces))
        assert counts[0] > counts[1] > counts[2]


def test_the_finest_level_is_the_surface_of_the_legacy_format(
    tmp_path: Path, labels: str, made: CloudVolume
) -> None:
    legacy = meshed(tmp_path / "legacy", labels)
    inside = (np.array(OFFSET) + 0.5) * VOXEL
    for name in NAMES:
        found = surface(made, name)[0]
        there, faces = surface_of(legacy, name)
        there = there[np.unique(faces)]
        # But for what lies on the volume's low faces, each vertex is there, rounded to a step of a cell of 4.
        there = there[(there > inside).all(axis=1)]
        nearest = [np.abs((found - point) / VOXEL).max(axis=1).min() for point in there[::7]]
        assert max(nearest) <= 0.5 * 4 / STEPS + 0.05 / min(VOXEL)


def test_fragments_are_as_the_format_asks(made: CloudVolume) -> None:
    info = json.loads(Path(made.cloudpath.removeprefix("file://"), "mesh", "info").read_bytes())
    assert (info["@type"], info["vertex_quantization_bits"]) == ("neuroglancer_multilod_draco", 10)
    for name in NAMES:
        found: dict[int, list[tuple[int, ...]]] = {0: [], 1: [], 2: []}
        filled = [0, 0, 0]
        for lod, place, mesh in fragments_of(made, name):
            found[lod].append(tuple(place.tolist()))
            if mesh is None:
                continue
            filled[lod] += 1
            assert (mesh.points == np.round(mesh.points)).all()
            assert mesh.points.min() >= 0
            assert mesh.points.max() <= STEPS
            corners = mesh.points[mesh.faces]
            crossing = (corners.min(axis=1) < 512) & (corners.max(axis=1) > 512)
            assert lod == 0 or not crossing.any()
        for lod, places in found.items():
            codes = [morton(place) for place in places]
            assert codes == sorted(set(codes))
            assert lod == 2 or {tuple(n // 2 for n in place) for place in places} <= set(found[lod + 1])
        assert filled[0] > filled[1] > filled[2] > 0


def morton(place: tuple[int, ...]) -> int:
    return sum((n >> bit & 1) << (3 * bit + axis) for axis, n in enumerate(place) for bit in range(21))


def test_cloudvolume_reads_each_level(made: CloudVolume) -> None:
    for name in NAMES:
        for lod in range(3):
            mesh = made.mesh.get(name, lod=lod)[name]
            points, faces = surface(made, name, lod)
            assert len(mesh.faces) == len(faces)
            read, decoded = (
                np.sort(corners.ravel()) for corners in (mesh.vertices[mesh.faces], points[faces])
            )
            assert np.abs(read - decoded).max() < 0.01


def test_manifests_say_where_and_how_fine(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "labels", blobs(), "segmentation", (400, 400, 1000), OFFSET)
    manifest = levels(tmp_path, layer, error=1000).mesh.get_manifest(1000003)
    assert manifest.chunk_shape.tolist() == [4, 4, 4]
    assert manifest.grid_origin.tolist() == [0.5, -15.5, 0.5]
    assert manifest.lod_scales.tolist() == [1, 3, 9]  # in voxels' longest sides
    assert not manifest.vertex_offsets.any()


@pytest.mark.parametrize(("block", "shapes"), [((15, 15, 15), 1), ((32, 32, 2), 2), ((48, 48, 48), 3)])
def test_a_block_has_as_many_levels_as_it_can_be_halved(
    tmp_path: Path, labels: str, block: Vec, shapes: int
) -> None:
    volume = levels(tmp_path, labels, block=list(block))
    for name in NAMES[::3]:
        manifest = volume.mesh.get_manifest(name)
        assert manifest.num_lods == shapes
        assert (manifest.chunk_shape * 2 ** (shapes - 1) == block).all()
        assert all(open_edges(surface(volume, name, lod)[1]) == 0 for lod in range(shapes))


def test_an_object_as_large_as_the_volume_is_one_closed_box(tmp_path: Path) -> None:
    name = 2**64 - 2
    layer = make_layer(tmp_path / "labels", np.full(SIZE, name, np.uint64), "segmentation", VOXEL, OFFSET)
    volume = levels(tmp_path, layer)
    for lod in range(3):
        points, faces = surface(volume, name, lod)
        assert open_edges(faces) == 0
        assert np.abs(points.min(axis=0) / VOXEL - OFFSET).max() < 0.6
        assert np.abs(points.max(axis=0) / VOXEL - OFFSET - SIZE).max() < 0.1


def test_labels_without_any_object_leave_no_file(tmp_path: Path) -> None:
    layer = make_layer(tmp_path / "labels", np.zeros(SIZE, np.uint32), "segmentation", VOXEL, OFFSET)
    assert [file.name for file in meshed(tmp_path, layer, format="multires").iterdir()] == ["info"]


@pytest.mark.parametrize("block", [[0, 16, 16], [16, -16, 16]])
def test_a_block_without_voxels_is_refused(tmp_path: Path, labels: str, block: list[int]) -> None:
    with pytest.raises(BadInput, match=r"block.*at least one voxel"):
        levels(tmp_path, labels, block=block)
    assert not (tmp_path / "meshes").exists()


def job_of_pieces(folder: Path, chunk: Vec) -> Job:
    folder.mkdir(parents=True)
    layers = {
        "image": make_layer(folder / "image", np.zeros(SIZE, np.uint8), "image", VOXEL, OFFSET),
        "labels": str(folder / "painted"),
    }
    tasks = [
        {"tests.support.files.meshes:Paint": {"image": "image", "labels": "labels"}},
        {"mesh": {"labels": "labels", "block": [16, 16, 16]}},
    ]
    return make_job(folder, layers, tasks, chunk=list(chunk), storage=[16, 16, 16])


def job_of_blobs(folder: Path, chunk: Vec) -> Job:
    folder.mkdir(parents=True)
    layers = {
        "labels": make_layer(folder / "labels", blobs(), "segmentation", VOXEL, OFFSET),
        "meshes": str(folder / "meshes"),
    }
    mesh = {"labels": "labels", "meshes": "meshes", "block": [16, 16, 16]}
    return make_job(folder, layers, [{"mesh": mesh}], chunk=list(chunk), storage=[16, 16, 16])


@pytest.mark.parametrize(("job_of", "bits"), [(job_of_pieces, 13), (job_of_blobs, 14)])
def test_files_are_the_same_however_the_job_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_of: Any, bits: int
) -> None:
    monkeypatch.setattr(mesh_levels, "SHARD_BITS", bits)
    ways = [Way((16, 16, 32)), Way((32, 32, 16), workers=2, shuffled=True)]
    same_everywhere(tmp_path, job_of, (64, 64, 64), ways)


def test_objects_of_one_piece_are_whole_in_the_files_of_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_levels, "SHARD_BITS", 15)
    assert run_job(job_of_pieces(tmp_path / "job", (32, 32, 32))) == "complete"
    folder = tmp_path / "job" / "painted"
    shards = [file for file in (folder / "mesh").iterdir() if file.suffix == ".shard"]
    assert 2 <= len(shards) <= 2 ** (18 - 15)
    volume = CloudVolume(f"file://{folder}", progress=False)
    legacy = meshed(tmp_path / "legacy", str(folder))
    names = np.unique(pieces())[1:].tolist()
    for name in names[:: max(1, len(names) // 12)]:
        points, faces = surface(volume, name)
        assert open_edges(faces) == 0
        there = surface_of(legacy, name)
        assert np.abs(points.max(axis=0) - there[0].max(axis=0)).max() <= 0.5 * max(VOXEL)
    assert all(volume.mesh.get_manifest(name) is not None for name in names)


def test_a_part_of_the_volume_is_meshed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh_levels, "SHARD_BITS", 12)
    job = job_of_pieces(tmp_path / "job", (32, 32, 32))
    part = Box((0, 0, 0), (16, 41, 16)).shift(OFFSET)
    assert run_job(job, part) == "complete"
    meshes = next(path for path in (tmp_path / "job").rglob("mesh") if path.is_dir())
    volume = CloudVolume(f"file://{meshes.parent}", progress=False)
    inside = pieces()[part.slices(OFFSET)]
    rod = int(pieces()[20, 20, 0])  # named by a voxel that may lie beyond the part
    for name in {*np.unique(inside[1:-1, 1:-1, 1:-1])[1:10].tolist(), rod} - {0}:
        place = surface(volume, name)[0] / VOXEL - OFFSET
        assert place.min() >= -0.01
        assert (place.max(axis=0) <= np.array((16, 41, 16)) + 1).all()


def test_labels_whose_ids_say_nothing_are_spread_over_files_by_hash(
    tmp_path: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mesh_levels, "SHARD_BITS", 15)
    volume = levels(tmp_path, labels)
    assert len(list((tmp_path / "meshes").glob("*.shard"))) > 1
    assert all(volume.mesh.get_manifest(name) is not None for name in NAMES)
    assert volume.mesh.get_manifest(12345) is None


def test_a_shard_has_nothing_but_objects_and_their_index(made: CloudVolume) -> None:
    data = Path(made.cloudpath.removeprefix("file://"), "mesh", "0.shard").read_bytes()
    manifests = [made.mesh.get_manifest(name) for name in NAMES]
    held = sum(len(m) + sum(int(sizes.sum()) for sizes in m.fragment_offsets) for m in manifests)
    index = struct.unpack(f"<{2 * 64}Q", data[: 16 * 64])
    assert held + 16 * 64 + sum(index[1::2]) - sum(index[::2]) == len(data)
