"""Models and images that fit each other, or are refused; memory, cells and speed as planned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from chunkflow.engine.planning.forecast import forecast
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.budget import measured_plan
from chunkflow.jobs.means import HERE, Means, Money
from chunkflow.jobs.planned import open_plan
from chunkflow.networks.architectures import Plain
from chunkflow.networks.loading import read_model
from chunkflow.networks.model_file import KEY
from chunkflow.networks.weights import write_model
from tests.support.files.networks import VOXEL_SIZE, blobs, document_of, make_model, network_of
from tests.support.jobs import make_job, make_layer, read_layer, run_job
from tests.support.same import Way, same_everywhere

SIZE = (36, 30, 20)
OWN = """
from chunkflow.networks.architectures import Architecture
from beside import convolution


class Residual(Architecture):
    class Parameters(Architecture.Parameters):
        width: int

    def __init__(self, parameters, inputs, outputs):
        super().__init__(parameters, inputs, outputs)
        self.first = convolution(inputs, parameters.width)
        self.head = convolution(parameters.width, outputs)

    def forward(self, patches):
        return self.head(self.first(patches).relu())
"""
BESIDE = """
from torch import nn


def convolution(inputs, outputs):
    return nn.Conv3d(inputs, outputs, 3, padding=1)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_model(tmp_path_factory.mktemp("model") / "m.safetensors")


def em_of(folder: Path, size: tuple[int, int, int] = SIZE, voxel_size: Any = VOXEL_SIZE) -> str:
    return make_layer(folder / "em", blobs(size), voxel_size=voxel_size, offset=(4, 3, -2))


def a_job(folder: Path, em: str, model: str, image: str = "em", **parameters: Any) -> Job:
    keys = {"chunk": [16, 16, 8], "storage": [8, 8, 8], **parameters.pop("keys", {})}
    layers = {"em": em, "made": str(folder / "made")}
    task = {"images": [image], "model": model, "made": "made", **parameters}
    return make_job(folder, layers, [{"infer": task}], **keys)


def test_images_of_other_voxels_are_refused_with_the_right_mip(tmp_path: Path, model: str) -> None:
    em = em_of(tmp_path, voxel_size=(500, 500, 2000))
    coarser = make_job(
        tmp_path / "mips", {"em": em, "mips": str(tmp_path / "mips/em")},
        [{"copy": {"source": "em", "target": "mips"}}, {"downsample": {"layer": "mips", "mips": 2}}],
    )  # fmt: skip
    assert run_job(coarser) == "complete"
    mips = str(tmp_path / "mips/em")
    with pytest.raises(BadInput, match=r"500 x 500 x 2000 nm, and the network has .* give em@1\."):
        open_plan(a_job(tmp_path, mips, model))
    with pytest.raises(BadInput, match=r"give em@1\."):
        open_plan(a_job(tmp_path, mips, model, resample=True))
    assert open_plan(a_job(tmp_path, mips, model, image="em@1"))


def test_resampled_images_give_the_same_bytes_however_cut(tmp_path: Path, model: str) -> None:
    em = em_of(tmp_path, (50, 41, 33), (700, 830, 1300))
    with pytest.raises(BadInput, match=r"no mip is within 15 % of that; give em@0, and resample: true\."):
        open_plan(a_job(tmp_path, em, model))
    same_everywhere(
        tmp_path / "ways",
        lambda folder, chunk: a_job(folder, em, model, resample=True, keys={"chunk": list(chunk)}),
        (40, 40, 24),
        [Way((8, 8, 8), shuffled=True), Way((16, 40, 8))],
    )
    made = read_layer(tmp_path / "ways" / "whole" / "made")
    assert made.shape == (36, 35, 23)  # from floor to ceil, in voxels of 1000 x 1000 x 2000 nm from voxel 0
    assert int(made.max()) - made.min() >= 150


def test_a_part_of_a_resampled_volume_has_the_voxels_of_the_whole(tmp_path: Path, model: str) -> None:
    em = em_of(tmp_path, (50, 41, 33), (700, 830, 1300))
    jobs = [a_job(tmp_path / way, em, model, resample=True) for way in ("part", "whole")]
    box = Box((20, 10, 3), (41, 33, 21))
    plan = open_plan(jobs[0], box)
    assert run_job(jobs[0], box) == run_job(jobs[1]) == "complete"
    made = plan.products["made", 0].info
    assert (made.bounds.start, made.bounds.stop) == ((14, 8, 1), (29, 28, 14))
    whole = open_plan(jobs[1]).products["made", 0].info
    part = read_layer(made.url)
    np.testing.assert_array_equal(part, read_layer(whole.url)[made.bounds.slices(whole.bounds.start)])


def test_resampling_finds_the_place(tmp_path: Path) -> None:
    """A network that gives back its image: what comes out is the ramp that went in, in other voxels."""
    document = document_of(
        architecture="plain", parameters={"widths": [1], "kernel": [1, 1, 1], "norm": "none"},
        outputs=[{"name": "same", "kind": "image", "range": [0, 8]}],
    )  # fmt: skip
    network = network_of(document)
    assert isinstance(network, Plain)
    for convolution in (network.layers[0][0], network.head):
        convolution.weight.fill_(1)
        convolution.bias.fill_(0)
    network.layers[0][0].bias.fill_(3)  # before it is rectified
    write_model(tmp_path / "same.safetensors", network, document)
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32)[:, None, None], (60, 16, 8))
    em = make_layer(tmp_path / "em", np.asfortranarray(ramp), voxel_size=(600, 1000, 2000))
    job = a_job(tmp_path, em, str(tmp_path / "same.safetensors"), resample=True, dtype="float32")
    assert run_job(job) == "complete"
    made = read_layer(tmp_path / "made")[:, 8, 4]
    places = (np.arange(36) + 0.5) / 0.6 - 0.5
    slope = 0.6 * np.polyfit(np.arange(36)[1:-1], made[1:-1], 1)[0]
    np.testing.assert_allclose(made[1:-1], 3 + slope * (places[1:-1] - 29.5), atol=0.01)
    assert slope > 0.01


def test_an_architecture_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(OWN)
    (tmp_path / "beside.py").write_text(BESIDE)
    document = document_of(architecture="residual", parameters={"width": 4})
    making = (
        "import sys\n"
        "from nets import Residual\n"
        "from tests.support.files.networks import document_of\n"
        "from chunkflow.networks.weights import write_model\n"
        "document = document_of(architecture='residual', parameters={'width': 4})\n"
        "network = Residual(Residual.Parameters(width=4), 1, 1)\n"
        "write_model('m.safetensors', network, document, {'residual': Residual})\n"
    )
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join([str(tmp_path), root])
    subprocess.run(
        [sys.executable, "-c", making], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}
    )
    em, model = em_of(tmp_path), str(tmp_path / "m.safetensors")
    assert read_model(model).parameters == document.parameters
    with pytest.raises(
        BadInput, match=r"say by architectures which class it is, as in residual: nets\.py:Net"
    ):
        open_plan(a_job(tmp_path, em, model))
    job = a_job(tmp_path, em, model, architectures={"residual": "nets.py:Residual"})
    assert sorted(job.sources()) == ["beside.py", "nets.py"]
    assert run_job(job) == "complete"
    assert len(np.unique(read_layer(tmp_path / "made"))) > 10
    code = job.tasks[0].code(job.modules)
    (tmp_path / "beside.py").write_text(BESIDE + "\n\n# changed\n")
    again = a_job(tmp_path, em, model, architectures={"residual": "nets.py:Residual"})
    assert again.tasks[0].code(again.modules) != code
    with pytest.raises(BadInput, match="code"):
        run_job(again)


def test_a_class_that_is_no_architecture_is_refused(tmp_path: Path, model: str) -> None:
    (tmp_path / "nets.py").write_text("class Net:\n    pass\n")
    tensors = load_file(model)
    document = read_model(model).model_copy(update={"architecture": "net"})
    other = str(tmp_path / "m.safetensors")
    save_file(tensors, other, {KEY: document.model_dump_json(exclude_none=True)})
    job = a_job(tmp_path, em_of(tmp_path), other, architectures={"net": "nets.py:Net"})
    assert run_job(job) == "incomplete"
    assert not list((tmp_path / "made").glob("[0-9]*/*"))


def test_a_worker_whose_network_gives_something_else_refuses(tmp_path: Path, model: str) -> None:
    tensors = load_file(model)
    tensors["test.output"] = tensors["test.output"] * 0.9
    other = str(tmp_path / "m.safetensors")
    document = read_model(model).model_dump_json(exclude_none=True)
    save_file(tensors, other, {KEY: document})
    job = a_job(tmp_path, em_of(tmp_path), other)
    plan = open_plan(job)
    with pytest.raises(BadInput, match=r"by 0\.1\d* of the test's range; in fp32 at most 0\.0001 may"):
        plan.steps[0].task.setup(plan.steps[0].layout)
    assert run_job(job) == "incomplete"
    assert not list((tmp_path / "made").glob("[0-9]*/*"))


def test_wrong_parameters_are_told_in_one_sentence(tmp_path: Path, model: str) -> None:
    em = em_of(tmp_path)
    for parameters, said in (
        ({"images": ["em", "em"]}, "takes 1 images, and images names 2"),
        ({"architectures": {"unet": "nets.py:Net"}}, "unet is an architecture of chunkflow's own"),
        ({"architectures": {"net": "nets"}}, "name a class in a file beside the job"),
        ({"batch": 0}, "takes at least 1 patch"),
    ):
        with pytest.raises(BadInput, match=said):
            open_plan(a_job(tmp_path, em, model, **parameters))
    with pytest.raises(BadInput, match="There is no model"):
        open_plan(a_job(tmp_path, em, str(tmp_path / "none.safetensors")))


def test_cells_are_sized_by_the_memory_of_a_worker(tmp_path: Path, model: str) -> None:
    em = make_layer(tmp_path / "em", np.zeros((256, 256, 128), np.uint8), voxel_size=VOXEL_SIZE)
    plans = [
        open_plan(
            a_job(tmp_path, em, model, keys={"chunk": None, "memory": memory, "storage": [16, 16, 8]}),
            workers=1,
        )
        for memory in (0.65, 2.0)
    ]
    small, large = (plan.steps[0].grid for plan in plans)
    assert np.prod(small.cell) < np.prod(large.cell)
    assert all(step.memory < 0.65 * 2**30 for step in forecast(plans[0]))
    said = [forecast(plan)[0].remarks[0] for plan in plans]
    assert all("patches of [16, 16, 8], each computed" in text for text in said)
    assert "compute fewer" in forecast(open_plan(a_job(tmp_path, em, model)))[0].remarks[0]


def test_a_job_goes_on_with_the_cells_that_it_began_with(tmp_path: Path, model: str) -> None:
    em = em_of(tmp_path)
    job = a_job(tmp_path, em, model, keys={"chunk": None, "memory": 0.8})
    assert run_job(job) == "complete"
    more = a_job(tmp_path, em, model, keys={"chunk": None, "memory": 4.0})
    assert open_plan(more, workers=1).steps[0].grid == open_plan(job).steps[0].grid
    assert run_job(more) == "complete"


def test_plan_measures_the_network(tmp_path: Path, model: str) -> None:
    job = a_job(tmp_path, em_of(tmp_path), model)
    _, measures = measured_plan(job, Means(1, money=Money(sample=1)))
    speeds = measures[HERE]["infer"].speeds
    assert [speed.partition(":")[0] for speed in speeds] == [
        "fp32, batch 1", "fp32, batch 2", "bf16, batch 1", "bf16, batch 2"
    ]  # fmt: skip
    assert not (tmp_path / "work").exists()


RUN = """
import sys
from chunkflow.engine.planning.forecast import forecast
from chunkflow.jobs.planned import open_plan
from pathlib import Path
from chunkflow.engine.planning.job import Job
from tests.support.jobs import run_job
job = Job.from_file(Path(sys.argv[1]))
assert run_job(job) == "complete"
lines = Path("/proc/self/status").read_text().splitlines()  # getrusage tells what its parent took, too
peak = next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(peak, forecast(open_plan(job))[0].most_memory)
"""


@pytest.mark.parametrize("outputs", [1, 12])
def test_a_worker_takes_the_memory_that_was_planned(tmp_path: Path, outputs: int) -> None:
    document = document_of(
        outputs, (64, 64, 32), (16, 16, 8), architecture="plain", parameters={"widths": [16, 16]}
    )
    model = make_model(tmp_path / "m.safetensors", document)
    em = em_of(tmp_path, (160, 128, 96))
    (tmp_path / "job.yaml").write_text(
        f"job: memory\nwork: {tmp_path}/work\nchunk: [128, 128, 96]\nstorage: [64, 64, 32]\n"
        f"layers: {{em: {em}, made: {tmp_path}/made}}\n"
        f"tasks:\n  - infer: {{images: [em], model: {model}, made: made}}\n"
    )
    root = str(Path(__file__).parents[3])
    compiled = a_job(tmp_path / "compiled", em_of(tmp_path / "small"), model)
    assert (
        run_job(compiled) == "complete"
    )  # what numba takes to compile is taken once, and not by this worker
    said = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "job.yaml")],
        check=True, capture_output=True, text=True, cwd=root, env=os.environ | {"PYTHONPATH": root},
    ).stdout  # fmt: skip
    peak, planned = map(int, said.split())
    assert 0.8 <= peak / planned <= 1.2
