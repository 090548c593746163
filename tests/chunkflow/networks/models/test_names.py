"""Names of models stand wherever their paths may; they stay names, and are known by the file's content."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import torch

import chunkflow as cf
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from chunkflow.networks.models import named
from chunkflow.networks.training.recipe import NetworkRecipe
from chunkflow.networks.training.training import data_fingerprint, fit_network
from chunkflow.networks.weights import load_model
from cluster.submission.submit import local_paths
from tests.support.files.networks import VOXEL_SIZE, blobs, make_model
from tests.support.jobs import make_job, make_layer
from tests.support.models.judging import WHOLE, a_job, inputs_to_judge, judged_by, patches_document
from tests.support.models.training import make_tissue, recipe_document, recipe_of

UNKNOWN = (
    r"^There is no model nope that comes along \(there are .*\): a file of your own .* nope.safetensors.$"
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that stands for that of the package."""
    folder = tmp_path / "package"
    folder.mkdir()
    make_model(folder / "small.safetensors")
    monkeypatch.setattr(named, "FOLDER", folder)
    return folder


def inferring(folder: Path, model: str) -> Job:
    layers = {"em": make_layer(folder / "em", blobs((24, 20, 12)), voxel_size=VOXEL_SIZE)}
    task = {"infer": {"images": ["em"], "model": model, "made": "made"}}
    return make_job(folder, layers | {"made": str(folder / "made")}, [task], chunk=(64, 64, 64))


def test_a_name_stays_a_name_in_a_job_and_is_no_path_of_this_machine(tmp_path: Path, package: Path) -> None:
    (tmp_path / "small").write_text("is no model")
    jobs = {model: inferring(tmp_path, model) for model in ("small", "small.safetensors", "./small")}
    models = {model: job.tasks[0].parameters["model"] for model, job in jobs.items()}
    whole = str(tmp_path / "small.safetensors")
    assert models == {"small": "small", "small.safetensors": whole, "./small": str(tmp_path / "small")}
    assert "infer.model" not in local_paths(jobs["small"])
    assert local_paths(jobs["small.safetensors"])["infer.model"] == whole
    read = jobs["small"].tasks[0].load(jobs["small"].modules).files_read()
    assert read == {"model": [package / "small.safetensors"]}


def test_a_job_knows_a_model_by_its_content(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, model = inferring(tmp_path, "small"), package / "small.safetensors"
    work = cf.Job.model_validate(job.model_dump()).run(serial=True)
    assert work.record().files == {"infer": {"model": sha256(model.read_bytes()).hexdigest()}}
    assert work.record().plan.job.tasks[0].parameters["model"] == "small"
    monkeypatch.setattr(named, "FOLDER", package.rename(tmp_path / "elsewhere"))
    work.run(serial=True)  # as on another machine
    make_model(tmp_path / "elsewhere" / "small.safetensors", seed=1)
    with pytest.raises(BadInput, match=r"infer was made with another model \(small has changed\)"):
        work.run(serial=True)


def test_rows_are_judged_by_a_model_that_comes_along(tmp_path: Path, package: Path) -> None:
    given = inputs_to_judge(tmp_path)
    make_model(package / "judging.safetensors", patches_document())
    named_job = a_job(given | {"one": "judging"}, tmp_path / "named", WHOLE)
    assert named_job.tasks[0].parameters["model"] == "judging"
    assert judged_by(named_job) == judged_by(a_job(given, tmp_path / "given", WHOLE))


def test_a_name_that_is_not_known_is_refused(tmp_path: Path, package: Path) -> None:
    with pytest.raises(BadInput, match=UNKNOWN.replace(".*", "small", 1)):
        cf.read_model("nope")
    with pytest.raises(BadInput, match=UNKNOWN):
        open_plan(inferring(tmp_path, "nope"))
    with pytest.raises(BadInput, match=UNKNOWN):
        NetworkRecipe.of(recipe_document(make_tissue(tmp_path), start="nope"), tmp_path)


def test_a_recipe_starts_with_a_model_by_its_name(tmp_path: Path, package: Path) -> None:
    tissue = make_tissue(tmp_path)
    make_model(package / "begun.safetensors", recipe_of(tissue).document)
    recipe = recipe_of(tissue, start="begun", freeze=["down."], steps=1, every=1, rate=0.05)
    assert recipe.start == "begun"
    by_path = recipe.model_copy(update={"start": str(package / "begun.safetensors")})
    known = data_fingerprint(recipe)
    assert known == data_fingerprint(by_path)
    trained = load_model(fit_network(recipe, tmp_path / "more.safetensors").path).network.state_dict()
    begun = load_model("begun").network.state_dict()
    same = {name for name, weights in begun.items() if torch.equal(weights, trained[name])}
    frozen = {name for name in begun if name.startswith("down.")}
    assert frozen
    assert frozen <= same < set(begun)
    make_model(package / "begun.safetensors", recipe.document, seed=1)
    assert data_fingerprint(recipe) != known
