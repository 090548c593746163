"""A small brain whose nuclei were found, for the examples of the public API."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import chunkflow as cf
from tasks import Synthesize

JOB = """
job: rat
work: made
chunk: [64, 64, 64]
layers: {dapi: dapi, nuclei: nuclei}
tasks:
  - segment: {image: dapi, labels: nuclei, diameter: 9}
  - measure: {labels: nuclei, images: [dapi], objects: objects}
"""

PRICES = """
as_of: 2026-01-01
devices:
  t4: {cpus: 4, gpus: 1, memory: 16, on_demand: 0.5, kvoxels_per_second: {segment: 500, measure: 900}}
  v100: {cpus: 8, gpus: 1, memory: 61, on_demand: 3, kvoxels_per_second: {segment: 900, measure: 950}}
"""


def make_brain(folder: Path) -> Path:
    """A folder with two channels, the truth in a file, and the work folder `made` of a job on them."""
    layers = {name: folder / name for name in ("dapi", "cfos")}
    task = Synthesize(dapi="dapi", cfos="cfos", cells="cells", size=(128, 128, 96), density=60_000)
    truth = cf.Job(name="tissue", work=folder / "tissue", layers=layers, tasks=[task]).run(serial=True)
    cf.export(truth.table("cells"), folder / "truth.csv", columns=("x", "y", "z"))
    cf.export(truth.table("cells"), folder / "classes.csv", columns=("x", "y", "z", "class"))
    (folder / "job.yaml").write_text(JOB)
    (folder / "prices.yaml").write_text(PRICES)
    made = cf.Job.read(folder / "job.yaml").run(serial=True)
    objects = made.table("objects")
    named = cf.import_points(folder / "classes.csv", folder / "named", folder / "nuclei", objects=objects)
    cf.export(named.table, folder / "labels.csv", columns=("id", "class"))
    np.save(folder / "stack.npy", np.arange(6000, dtype=np.uint16).reshape(20, 30, 10))
    return folder
