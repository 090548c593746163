"""The ingest command: it tells the extent, refuses what is damaged before it writes, and makes the volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import typer
from typer.testing import CliRunner

from chunkflow.errors import BadInput, ChunkflowError
from cli.ingest import ingest
from tests.support import read_layer

ZYX = np.random.default_rng(4).integers(0, 60000, (5, 30, 20)).astype(np.uint16)


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
    assert "5 planes, 20 x 30 x 5 voxels (x, y, z) of uint16: 0.00454 x 0.00681 x 0.005 mm" in output
    assert np.array_equal(read_layer(tmp_path / "dapi"), ZYX.T)


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


def test_the_source_is_never_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "planes").mkdir()
    with pytest.raises(BadInput, match="both what is read"):
        run(str(tmp_path / "planes"), str(tmp_path / "planes"), "--voxel-size", "1,1,1um")
