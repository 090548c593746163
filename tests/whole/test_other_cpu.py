"""The make of the CPU changes nothing: the demo's job again, by instructions that any CPU has."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from tests.support.jobs import read_layer, read_table

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


def run_with(folder: Path, **environment: str) -> None:
    command = [sys.executable, "-c", RUN, str(folder)]
    root = str(Path(__file__).parents[2])
    subprocess.run(command, check=True, cwd=root, env=os.environ | {"PYTHONPATH": root} | environment)


def test_a_plain_cpu_gives_the_same_answer(tmp_path: Path) -> None:
    usable = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    run_with(tmp_path / "here")
    run_with(tmp_path / "plain", NUMBA_CPU_NAME="generic", NPY_DISABLE_CPU_FEATURES=" ".join(usable))
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
