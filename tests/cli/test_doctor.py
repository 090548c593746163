"""Doctor: it names what is wrong, and only that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from cloudvolume import CloudVolume
from typer.testing import CliRunner

from cli import doctor as module
from cli.doctor import doctor, strangers
from cli.doctor_places import reach


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.fixture
def layer(tmp_path: Path) -> str:
    array = np.ones((20, 10, 5), dtype=np.uint16)
    CloudVolume.from_numpy(array, f"file://{tmp_path}/dapi", (100, 100, 500), compress="", progress=False)
    return str(tmp_path / "dapi")


def test_versions_and_machine_are_told(layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "strangers", lambda distributions: [])
    code, text = run(layer)
    assert code == 0
    for word in (
        "chunkflow",
        "python",
        "ray",
        "cores",
        "memory",
        "disk",
        "20 x 10 x 5 voxels",
        "Nothing is wrong",
    ):
        assert word in text


def test_another_distribution_of_our_name_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert strangers({"chunkflow": ["chunkflow-ray"], "cli": ["chunkflow-ray"]}) == []
    assert strangers({}) == []
    (fault,) = strangers({"chunkflow": ["chunkflow-ray", "chunkflow"], "numpy": ["numpy"]})
    assert "pip uninstall chunkflow`" in fault
    monkeypatch.setattr(module, "strangers", lambda distributions: [fault])
    code, text = run()
    assert code == 1
    assert "another distribution, chunkflow," in text


def test_a_layer_whose_voxels_are_gone_is_not_reachable(layer: str) -> None:
    assert reach(layer)[1]
    for file in Path(layer).glob("100*/*"):
        file.unlink()
    text, good = reach(layer)
    assert not good
    assert "lacks a storage chunk" in text


def test_nothing_there_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "strangers", lambda distributions: [])
    code, text = run(str(tmp_path / "nothing"))
    assert code == 1
    assert "no layer, no work folder" in text
