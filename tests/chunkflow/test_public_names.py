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
import torch
import yaml

import chunkflow as cf
import tasks
from chunkflow.people.evaluation.evaluate import Evaluation
from chunkflow.people.learning.tuning import Tuned
from chunkflow.people.service.local.viewer import Viewer
from tests.support.clusters.ray_head import Head
from tests.support.files.networks import document_of, network_of
from tests.support.models.training import make_tissue, recipe_document

NAMES = {
    *("Job", "Work", "Table", "Volume", "open", "submit", "view"),
    *("check", "evaluate", "export", "import_points", "ingest", "train", "tune"),
    "learn",
    *("carry_review", "check_review", "export_review", "import_review", "review", "serve"),
    "export_polygons",
    *("Accounts", "Role"),
    *("ModelDocument", "convert_model", "read_model", "write_model"),
    *("NetworkRecipe", "read_recipe", "train_network"),
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
SHOWN += ["check", "evaluate", "export", "import_points", "ingest", "train", "tune"]
SHOWN += ["learn", "export_polygons"]
SHOWN += ["serve", "review", "carry_review", "export_review", "import_review", "check_review", "Accounts"]
OF_MODELS = ["convert_model", "read_model", "write_model"]
OF_TRAINING = ["read_recipe", "train_network"]


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
    assert name in {*SHOWN, *OF_MODELS, *OF_TRAINING, "submit", "Out"}


def test_the_place_to_write_to_is_called_to() -> None:
    methods = (Tuned.write, Evaluation.write, Evaluation.write_annotations, Viewer.write_state)
    for function in (cf.export, cf.import_points, cf.ingest, cf.train, *methods):
        assert "to" in inspect.signature(function).parameters, function


@pytest.mark.parametrize("name", ["evaluate", "train", "tune"])
def test_options_are_given_by_their_names(name: str) -> None:
    kinds = [parameter.kind for parameter in inspect.signature(getattr(cf, name)).parameters.values()]
    assert kinds[3:] == [inspect.Parameter.KEYWORD_ONLY] * len(kinds[3:])


def test_one_text_is_not_taken_for_names(brain: Path, tmp_path: Path) -> None:
    truth, image = brain / "truth.csv", brain / "dapi"
    with pytest.raises(cf.BadInput, match=r"columns takes a list of names.*'x,y,z'"):
        cf.import_points(truth, tmp_path / "marked", image, columns="x,y,z")
    with pytest.raises(cf.BadInput, match="columns takes a list"):
        cf.tune(image, truth, columns="x,y,z")
    with pytest.raises(cf.BadInput, match="columns takes a list"):
        cf.export(brain / "named", tmp_path / "named.csv", columns="id")
    with pytest.raises(cf.BadInput, match="features takes a list"):
        cf.train(brain / "made", brain / "labels.csv", tmp_path / "m.skops", features="volume_um3")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_of_a_docstring_runs(name: str, brain: Path, tmp_path: Path) -> None:
    run_example(name, names_for(brain, tmp_path))


@pytest.mark.parametrize("name", OF_MODELS)
def test_the_example_of_a_function_of_models_runs(name: str, tmp_path: Path) -> None:
    document = document_of(1, outputs=[{"name": "membrane", "kind": "probability"}])
    network = network_of(document)
    cf.write_model(tmp_path / "membranes.safetensors", network, document)
    (tmp_path / "model.json").write_text(document.model_dump_json(exclude_none=True))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    known = {name: getattr(cf, name) for name in OF_MODELS}
    run_example(name, known | {"folder": tmp_path, "network": network})


@pytest.mark.parametrize("name", OF_TRAINING)
def test_the_example_of_a_function_of_training_runs(name: str, tmp_path: Path) -> None:
    recipe = recipe_document(make_tissue(tmp_path), steps=4, every=4)
    (tmp_path / "cells.yaml").write_text(yaml.safe_dump(recipe))
    run_example(name, {name: getattr(cf, name), "folder": tmp_path})


def without(packages: tuple[str, ...], script: str) -> str:
    """The last line of what a script says where packages are not installed."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({packages})); import chunkflow as cf\n"
    ran = subprocess.run([sys.executable, "-c", hidden + script], capture_output=True, text=True)
    return (ran.stdout + ran.stderr).strip().rpartition("\n")[2]


def test_a_name_whose_package_is_missing_says_which() -> None:
    for package in ("torch", "safetensors"):
        assert without((package,), "cf.write_model").endswith(
            f"BadInput: chunkflow.write_model needs the package {package}: pip install 'chunkflow-ray[cnn]'."
        )
    script = "print(cf.read_model, cf.convert_model, cf.ModelDocument)"
    assert "ModelDocument" in without(("torch", "safetensors", "onnx", "onnxruntime"), script)


SUBMIT = """
import sys
from doctest import DocTestParser, DocTestRunner
import chunkflow as cf
job = cf.Job.read("job.yaml", {"nuclei": "again"}, work="submitted")
names = {"submit": cf.submit, "job": job, "address": sys.argv[1]}
test = DocTestParser().get_doctest(cf.submit.__doc__, names, "submit", None, None)
sys.exit(DocTestRunner().run(test).failed or not test.examples)
"""
"""In a process of its own, as Ray reads once how it is to authenticate itself."""


def test_a_job_is_submitted_from_python(brain: Path, tmp_path: Path, head: Head) -> None:
    for file in brain.iterdir():
        (tmp_path / file.name).symlink_to(file)
    ran = subprocess.run(
        [sys.executable, "-c", SUBMIT, head.address],
        cwd=tmp_path,
        env=head.environment(RAY_AUTH_MODE="token"),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
