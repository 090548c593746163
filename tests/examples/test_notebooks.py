"""The notebooks of examples/ and the README's lines of Python run; what is committed shows results."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
import nbformat
import pytest
import yaml
from nbclient import NotebookClient

import chunkflow as cf

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
RAT = """
job: rat
work: work
layers: {dapi: dapi, nuclei: rat-nuclei}
tasks:
  - segment: {image: dapi, labels: nuclei, diameter: 9}
  - measure: {labels: nuclei, images: [dapi], objects: objects}
"""


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: str(file.stem))
def test_a_notebook_runs(file: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: str(file.stem))
def test_a_notebook_is_kept_with_what_it_shows(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not any(output.output_type == "error" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("text/html" in output.get("data", {}) for output in outputs)


def test_the_lines_of_the_readme_run(
    brain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_here: None
) -> None:
    lines = re.search(r"## From Python.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert lines is not None
    text = lines[1].replace("/data/rat7/dapi", str(brain / "dapi"))
    text = text.replace("[100:300, 100:300, 40:60]", "[10:30, 10:30, 4:6]").replace(
        "workers=8", "serial=True"
    )
    for name, kept in (("dapi", "dapi"), ("marked.csv", "truth.csv"), ("labels.csv", "labels.csv")):
        (tmp_path / name).symlink_to(brain / kept)
    (tmp_path / "rat.yaml").write_text(RAT)
    recipe = yaml.safe_load((ROOT / "examples" / "train" / "cells.yaml").read_text())
    volume = {"images": "dapi", "truth": "marked.csv", "validation": "96-128,0-128,0-96"}
    recipe |= {"volumes": [volume], "steps": 20, "every": 20}
    (tmp_path / "cells.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    known = {"cf": cf}
    exec(compile(text, "README.md", "exec"), known)
    assert known["nuclei"].shape == (20, 20, 2)
    assert known["scores"].f1 > 0.9
    assert known["network"].report.exists()
    assert "nuclei" in known["work"].view().layers
