"""The ingest command: it tells the extent, refuses what is damaged before it writes, and makes the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from chunkflow.data.describe import layer_at
from chunkflow.errors import BadInput, ChunkflowError
from chunkflow.jobs.ingesting import channel_names, ingest_job
from cli.data.ingest import ingest
from tests.support.jobs import read_layer

ZYX = np.random.default_rng(4).integers(0, 60000, (5, 30, 20)).astype(np.uint16)
CZYX = np.random.default_rng(5).integers(0, 60000, (2, 5, 30, 20)).astype(np.uint16)


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(ingest)
    result = CliRunner().invoke(app, [*arguments, "--serial"])
    if isinstance(result.exception, ChunkflowError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_stack_becomes_a_volume_and_its_extent_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", ZYX, compression="zlib")
    output = run(str(tmp_path / "stack.tif"), str(tmp_path / "dapi"), "--voxel-size", "0.227,0.227,1um")
    assert "20 x 30 x 5 voxels (x, y, z) of uint16: 0.00454 x 0.00681 x 0.005 mm" in output
    assert f"chunkflow view {tmp_path}/dapi" in output
    assert np.array_equal(read_layer(tmp_path / "dapi"), ZYX.T)


def test_a_source_that_has_changed_is_refused_until_a_restart(tmp_path: Path) -> None:
    words = (str(tmp_path / "stack.npy"), str(tmp_path / "dapi"), "--voxel-size", "1,1,2um")
    np.save(tmp_path / "stack.npy", ZYX)
    run(*words)
    np.save(tmp_path / "stack.npy", ZYX + 1)
    with pytest.raises(BadInput, match=r"another source \(stack\.npy has changed\)"):
        run(*words)
    with pytest.raises(BadInput, match="--yes"):
        run(*words, "--restart")
    assert np.array_equal(read_layer(tmp_path / "dapi"), ZYX.T)
    run(*words, "--restart", "--yes")
    assert np.array_equal(read_layer(tmp_path / "dapi"), ZYX.T + 1)


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    metadata = {
        "axes": "CZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 0.5,
        "PhysicalSizeZ": 2,
        "Channel": {"Name": ["DAPI", "Alexa 488"]},
    }
    tifffile.imwrite(tmp_path / "two.ome.tif", CZYX, ome=True, metadata=metadata, compression="zlib")
    return tmp_path / "two.ome.tif"


def test_every_channel_becomes_a_layer_of_its_name(tmp_path: Path, two_channels: Path) -> None:
    output = run(str(two_channels), str(tmp_path / "rat"))
    assert "in 2 channels" in output
    for name, channel in (("DAPI", 0), ("Alexa_488", 1)):
        assert np.array_equal(read_layer(tmp_path / "rat" / name), CZYX[channel].T)
        assert layer_at(f"file://{tmp_path}/rat/{name}").voxel_size == (500, 500, 2000)


@pytest.mark.parametrize("channel", ["1", "Alexa 488"])
def test_one_channel_goes_where_it_is_told(tmp_path: Path, two_channels: Path, channel: str) -> None:
    run(str(two_channels), str(tmp_path / "fos"), "--channel", channel)
    assert np.array_equal(read_layer(tmp_path / "fos"), CZYX[1].T)


def test_a_stack_is_told_as_data_before_it_is_written(tmp_path: Path, two_channels: Path) -> None:
    found = ingest_job(str(two_channels), str(tmp_path / "rat"), {})
    assert found.layers == (f"file://{tmp_path}/rat/DAPI", f"file://{tmp_path}/rat/Alexa_488")
    assert (found.size, found.voxel_size, found.dtype) == ((20, 30, 5), (500, 500, 2000), "uint16")
    assert [task.parameters["channel"] for task in found.job.tasks] == ["0", "1"]
    one = ingest_job(str(two_channels), str(tmp_path / "fos"), {"channel": 1, "voxel_size": "1,1,3um"})
    assert one.layers == (f"file://{tmp_path}/fos",)
    assert one.extent == "20 x 30 x 5 voxels (x, y, z) of uint16: 0.02 x 0.03 x 0.015 mm"
    assert one.job.work == f"file://{tmp_path}/fos.work"
    assert not list(tmp_path.glob("*.work"))


def test_labels_are_made_as_labels(tmp_path: Path) -> None:
    atlas = (ZYX % 7).astype(np.uint8)
    np.save(tmp_path / "atlas.npy", atlas)
    run(
        str(tmp_path / "atlas.npy"), str(tmp_path / "atlas"), "--kind", "labels", "--voxel-size", "25,25,25um"
    )
    info = layer_at(f"file://{tmp_path}/atlas")
    assert (info.kind, info.dtype) == ("segmentation", "uint32")
    assert np.array_equal(read_layer(tmp_path / "atlas"), atlas.T)


def test_names_of_channels_are_fit_for_folders_and_differ() -> None:
    assert channel_names(("DAPI", "DAPI", "", "a/b ..", "..", "c-Fos")) == [
        "DAPI",
        "DAPI_c1",
        "c2",
        "a_b",
        "c4",
        "c-Fos",
    ]
    assert channel_names(("a", "a_c2", "a")) == ["a", "a_c2", "a_c2_c2"]


def test_channels_that_are_called_by_numbers_go_where_their_names_say(tmp_path: Path) -> None:
    metadata = {"axes": "CZYX", "Channel": {"Name": ["1", "2"]}}
    tifffile.imwrite(tmp_path / "two.ome.tif", CZYX, ome=True, metadata=metadata)
    run(str(tmp_path / "two.ome.tif"), str(tmp_path / "rat"), "--voxel-size", "1,1,1um")
    assert np.array_equal(read_layer(tmp_path / "rat" / "1"), CZYX[0].T)
    assert np.array_equal(read_layer(tmp_path / "rat" / "2"), CZYX[1].T)


def test_nothing_is_written_of_a_damaged_stack(tmp_path: Path) -> None:
    folder = tmp_path / "planes"
    folder.mkdir()
    for number, plane in enumerate(ZYX):
        tifffile.imwrite(folder / f"{number}.tif", plane)
    (folder / "3.tif").write_bytes(b"")
    with pytest.raises(BadInput, match=r"3\.tif"):
        run(str(folder), str(tmp_path / "dapi"), "--voxel-size", "0.227,0.227,1um")
    assert not (tmp_path / "dapi").exists()
    assert not (tmp_path / "dapi.work").exists()


@pytest.mark.parametrize("size", ["0.227", "0.227,0.227,1", "1,1,1mm"])
def test_a_bare_number_is_refused(tmp_path: Path, size: str) -> None:
    np.save(tmp_path / "stack.npy", ZYX)
    with pytest.raises(BadInput, match="voxel_size: must"):
        run(str(tmp_path / "stack.npy"), str(tmp_path / "dapi"), "--voxel-size", size)
    assert not (tmp_path / "dapi").exists()


def test_a_size_that_nobody_says_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "stack.npy", ZYX)
    with pytest.raises(BadInput, match="does not say how large its voxels are: give voxel_size"):
        run(str(tmp_path / "stack.npy"), str(tmp_path / "dapi"))
    assert not (tmp_path / "dapi.work").exists()


@pytest.mark.parametrize(("option", "value"), [("--kind", "points"), ("--axes", "abc"), ("--channel", "gfp")])
def test_what_cannot_be_is_refused(tmp_path: Path, option: str, value: str) -> None:
    np.save(tmp_path / "stack.npy", ZYX)
    with pytest.raises(BadInput):
        run(str(tmp_path / "stack.npy"), str(tmp_path / "x"), "--voxel-size", "1,1,1um", option, value)
    assert not (tmp_path / "x.work").exists()


def test_the_source_is_never_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "planes").mkdir()
    tifffile.imwrite(tmp_path / "planes" / "1.tif", ZYX[0])
    with pytest.raises(BadInput, match="both what is read"):
        run(str(tmp_path / "planes"), str(tmp_path / "planes"), "--voxel-size", "1,1,1um")
