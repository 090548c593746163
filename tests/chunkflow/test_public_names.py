"""The public names are those that are pinned here; each is documented, and its example runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import chunkflow as cf
import tasks
from tests.support.clusters.ray_head import Head

NAMES = {
    *("Job", "Work", "Table", "Volume", "open", "submit", "view"),
    *("evaluate", "export", "import_points", "ingest", "train", "tune"),
    *("Task", "Cell", "Chunk", "Counts", "Files", "Layout", "Resources", "Result", "WindowTooSmall"),
    *("Annotations", "File", "Image", "Labels", "Layer", "Meshes", "Objects", "Out", "Report", "Tags"),
    *("MergedRows", "ReducedRows", "RowByRow", "SentRows", "Voxels"),
    *("Box", "Grid", "Vec", "VoxelSize"),
    *("FolderInfo", "ImageInfo", "LabelsInfo", "LayerInfo", "TableInfo"),
    *("BadInput", "ChunkflowError", "DamagedInput", "Incomplete", "Interrupted", "Overtaken"),
    *("StorageError", "WorkerLost", "__version__"),
}
SHOWN = [
    "Job",
    "Job.quote",
    "Job.read",
    "Work",
    "Table",
    "Table.pieces",
    "Table.to_pandas",
    "Volume",
    "open",
    "view",
]
SHOWN += ["evaluate", "export", "import_points", "ingest", "train", "tune"]


def public(name: str) -> Any:
    first, _, rest = name.partition(".")
    found = getattr(cf, first)
    return getattr(found, rest) if rest else found


def run_example(name: str, names: Mapping[str, Any]) -> None:
    found = public(name)
    text = inspect.getdoc(found) or ""
    test = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
    assert test.examples, f"{name} has no example"
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append)
    assert not said, "".join(said)


def names_for(brain: Path, folder: Path) -> dict[str, Any]:
    """What an example may use: the public names, the tasks, and a copy of the brain that was made."""
    for file in brain.iterdir():
        (folder / file.name).symlink_to(file)
    work = cf.open(brain / "made")
    known = {name: getattr(cf, name) for name in cf.__all__} | {"Segment": tasks.Segment}
    return known | {"folder": folder, "work": work, "cells": work.table("objects")}


def test_the_public_names_are_pinned() -> None:
    assert set(cf.__all__) == NAMES
    assert set(dir(cf)) >= NAMES
    with pytest.raises(AttributeError, match="no attribute 'Jbo'"):
        _ = cf.Jbo


def test_what_type_checkers_see_is_what_is_imported() -> None:
    for package, table in ((cf, cf._PLACES), (tasks, tasks._MODULES)):
        seen = {
            alias.name: node.module
            for node in ast.walk(ast.parse(Path(package.__file__).read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.asname == alias.name
        }
        assert seen == table


def test_importing_chunkflow_imports_nothing_else_of_it() -> None:
    script = "import sys, chunkflow; print(*(name for name in sys.modules if name.startswith('chunkflow')))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["chunkflow"]


@pytest.mark.parametrize("name", sorted(name for name in NAMES if inspect.isroutine(getattr(cf, name))))
def test_every_function_has_an_example(name: str) -> None:
    assert name in {*SHOWN, "submit", "Out"}


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_of_a_docstring_runs(name: str, brain: Path, tmp_path: Path) -> None:
    run_example(name, names_for(brain, tmp_path))


def test_a_job_is_submitted_from_python(brain: Path, tmp_path: Path, head: Head) -> None:
    names = names_for(brain, tmp_path)
    job = cf.Job.read(tmp_path / "job.yaml", {"nuclei": tmp_path / "again"}, work=tmp_path / "submitted")
    run_example("submit", {**names, "job": job, "address": head.dashboard})
