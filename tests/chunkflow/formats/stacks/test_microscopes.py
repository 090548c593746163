"""Files of microscopes give the voxels, the size and the channels that they hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from chunkflow.errors import BadInput
from chunkflow.formats.stacks.stack import open_stack
from chunkflow.task import Layout
from tasks.volumes.ingest import Ingest
from tests.support.files.microscope_files import write_czi, write_lif, write_nd2
from tests.support.files.stack_files import CZYX, whole
from tests.support.jobs import hide_package

LAYOUT = Layout({}, (8, 16, 8), (4, 8, 4))
NAMES = ("DAPI", "Alexa 488")
SIZE = (0.5, 0.5, 2.0)
MODULES = {"czi": "pylibCZIrw", "nd2": "nd2", "lif": "readlif"}


def written(folder: Path, kind: str) -> Path:
    pytest.importorskip(MODULES[kind], reason="the extra microscopes is not installed")
    path = folder / f"brain.{kind}"
    if kind == "czi":
        return write_czi(path, CZYX[None], NAMES, SIZE)
    return write_nd2(path, CZYX, NAMES, SIZE) if kind == "nd2" else write_lif(path, {"a": CZYX}, SIZE)


@pytest.mark.parametrize("kind", MODULES)
def test_a_microscope_tells_voxels_size_and_channels(tmp_path: Path, kind: str) -> None:
    task = Ingest(source=str(written(tmp_path, kind)), layer="x")
    assert np.array_equal(whole(task), CZYX.T)
    assert np.array_equal(whole(task.model_copy(update={"channel": "1"})), CZYX[1].T)
    assert task.outputs(LAYOUT)["layer"].voxel_size == pytest.approx((500, 500, 2000), abs=1e-3)
    assert open_stack(task.source).facts.names == (NAMES if kind != "lif" else ())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("kind", MODULES)
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = written(tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    task = Ingest(source=str(path), layer="x")
    with pytest.raises(BadInput, match=r"brain\."):
        task.prepare(LAYOUT, task.outputs(LAYOUT))


def test_an_nd2_whose_recording_ended_early_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "nd2")
    told = b'uiSequenceCount runtype="lx_uint32" value="11"'
    content = path.read_bytes()
    assert told in content
    path.write_bytes(content.replace(told, told.replace(b"11", b"07")))
    with pytest.raises(BadInput, match="holds 7 planes of the 11"):
        open_stack(str(path))


def test_one_point_of_time_of_a_czi(tmp_path: Path) -> None:
    pytest.importorskip("pylibCZIrw", reason="the extra microscopes is not installed")
    path = write_czi(tmp_path / "a.czi", np.stack([CZYX[:1], CZYX[1:]]), ("DAPI",), SIZE)
    task = Ingest(source=str(path), layer="x")
    with pytest.raises(BadInput, match="2 points of time"):
        task.outputs(LAYOUT)
    assert np.array_equal(whole(task.model_copy(update={"time": 1})), CZYX[1].T)


def test_one_image_of_a_lif_is_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("readlif", reason="the extra microscopes is not installed")
    path = write_lif(tmp_path / "a.lif", {"left": CZYX[:1], "right": CZYX[1:]}, SIZE)
    with pytest.raises(BadInput, match="say which one"):
        open_stack(str(path))
    assert np.array_equal(whole(Ingest(source=f"{path}:right", layer="x")), CZYX[1].T)


@pytest.mark.parametrize("kind", MODULES)
def test_a_library_that_is_absent_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"")
    hide_package(monkeypatch, MODULES[kind])
    said = f"Reading {path} needs the package {MODULES[kind]}: pip install 'chunkflow-ray[microscopes]'."
    with pytest.raises(BadInput, match=f"^{re.escape(said)}$"):
        open_stack(str(path))
