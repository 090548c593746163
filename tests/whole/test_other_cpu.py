"""The make of the CPU changes nothing: the demo's job again, by instructions that any CPU has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from tests.support.files.networks import VOXEL_SIZE, blobs, document_of, make_model
from tests.support.jobs import make_layer, read_layer, read_table

RUN = """
import sys
from pathlib import Path
from chunkflow.engine.planning.job import Job
from cli.demo.nuclei import document
from tests.support.jobs import run_job
folder = Path(sys.argv[1])
job = Job.from_document({**document(folder, (96, 96, 64), 5), "chunk": [64, 64, 64]}, folder)
assert run_job(job) == "complete"
"""


def run_with(script: str, *arguments: str | Path, **environment: str) -> None:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    root = str(Path(__file__).parents[2])
    subprocess.run(command, check=True, cwd=root, env=os.environ | {"PYTHONPATH": root} | environment)


def test_a_plain_cpu_gives_the_same_answer(tmp_path: Path) -> None:
    usable = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    run_with(RUN, tmp_path / "here")
    run_with(RUN, tmp_path / "plain", NUMBA_CPU_NAME="generic", NPY_DISABLE_CPU_FEATURES=" ".join(usable))
    for layer in ("dapi", "cfos", "nuclei"):
        first, second = (read_layer(tmp_path / way / layer) for way in ("here", "plain"))
        np.testing.assert_array_equal(first, second)
        assert first.any()
    objects = [read_table(tmp_path / way / "work" / "tables" / "objects") for way in ("here", "plain")]
    assert objects[0].equals(objects[1])
    assert len(objects[0])
    meshes = [
        {f.name: f.read_bytes() for f in (tmp_path / way / "nuclei" / "mesh").iterdir()}
        for way in ("here", "plain")
    ]
    assert meshes[0] == meshes[1]


INFER = """
import sys
from pathlib import Path
from tests.support.jobs import make_job, run_job
folder, model, em = map(Path, sys.argv[1:4])
layers = {"em": str(em)} | {name: str(folder / name) for name in ("fp32", "bf16")}
tasks = [
    {"infer": {"images": ["em"], "model": str(model), "made": precision, "precision": precision}}
    for precision in ("fp32", "bf16")
]
assert run_job(make_job(folder, layers, tasks, chunk=[64, 64, 32], storage=[32, 32, 32])) == "complete"
"""


def test_a_network_on_a_plain_cpu_gives_nearly_the_same(tmp_path: Path) -> None:
    """Compilers of networks choose other instructions: then the last step of 255 may differ, rarely."""
    model = make_model(tmp_path / "m.safetensors", document_of(1, (32, 32, 16), (16, 16, 8)), gain=0.7)
    em = make_layer(tmp_path / "em", blobs((96, 96, 48)), voxel_size=VOXEL_SIZE)
    for way, environment in (
        ("here", {}),
        ("plain", {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}),
    ):
        run_with(INFER, tmp_path / way, model, em, **environment)
    for precision, most, share in (("fp32", 1, 1e-4), ("bf16", 3, 1.0)):
        first, second = (read_layer(tmp_path / way / precision).astype(int) for way in ("here", "plain"))
        off = np.abs(first - second)
        assert first.max() - first.min() >= 200
        assert off.max() <= most
        assert np.count_nonzero(off) <= share * off.size
