"""Tables to judge, images around their rows, and small models that judge patches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chunkflow.data.info import TableInfo
from chunkflow.engine.planning.job import Job
from chunkflow.geometry import Box, Vec, VoxelSize
from chunkflow.jobs.planned import open_plan
from chunkflow.kernels.precomputed.morton import voxel_ids
from chunkflow.networks.document import ModelDocument
from tests.support.files.annotation_layers import write_table
from tests.support.files.networks import VOXEL_SIZE, blobs, document_of, make_model
from tests.support.jobs import make_job, make_layer, read_table, run_job

SIZE = (44, 35, 28)
OFFSET = (5, -3, 7)
VOLUME = Box.of_size(SIZE, OFFSET)
FIELD = (10, 12, 7)
PARAMETERS = {"field": FIELD, "pooling": (2, 2, 1), "widths": (4, 6, 8), "hidden": 8}
WHOLE = (48, 40, 32)
FILES: Vec = (16, 16, 16)
FINE = (700.0, 830.0, 1300.0)


def patches_document(**changes: Any) -> ModelDocument:
    named = {
        "architecture": "patches",
        "parameters": PARAMETERS,
        "patch": (16, 16, 12),
        "overlap": (4, 4, 4),
    }
    return document_of(**(named | changes))


def rows_of(count: int, seed: int = 0, apart: float = 8.0) -> pa.Table:
    """Rows named by a voxel, their places `apart` voxels from it, so mostly in another file's cell; a few of
    them at the very faces and corners, and two in one voxel."""
    random = np.random.default_rng(seed)
    codes = random.choice(VOLUME.voxels, count, replace=False)
    named = np.stack(np.unravel_index(codes, SIZE), 1)
    first, last = np.array(VOLUME.start), np.array(VOLUME.stop)
    places = np.clip(named + first + 0.5 + random.normal(0, apart, named.shape), first, last)
    places[:4] = [first, last, [first[0], 10.25, last[2]], [last[0] - 0.25, first[1], 11.5]]
    places[5] = np.minimum(np.floor(places[4]), last - 1) + 0.5
    columns: dict[str, Any] = {"id": voxel_ids(named, SIZE)}
    columns |= dict(zip("xyz", places.T, strict=True))
    columns["note"] = [f"row {n}" for n in range(count)]
    return pa.table(columns).sort_by("id")


def table_over(folder: Path, rows: pa.Table, volume: Box, voxel_size: VoxelSize) -> str:
    """A table in one file, of voxels of another size."""
    table = write_table(folder, rows, None, volume)
    info = TableInfo(url=f"file://{table}", volume=volume, voxel_size=voxel_size)
    (folder / "info").write_text(json.dumps(info.document()))
    return table


def inputs_to_judge(folder: Path) -> dict[str, str]:
    """An image and another, models, and a table in several files."""
    layers = {"em": blobs(SIZE), "other": blobs(SIZE, 1)}
    places = {
        name: make_layer(folder / name, array, voxel_size=VOXEL_SIZE, offset=OFFSET)
        for name, array in layers.items()
    }
    kinds = [{"name": name, "kind": "class"} for name in ("cell", "axon", "dust")]
    documents = {
        "one": patches_document(),
        "classes": patches_document(images=2, outputs=kinds),
        "unet": document_of(),
    }
    places |= {name: make_model(folder / f"{name}.safetensors", doc) for name, doc in documents.items()}
    return places | {"objects": write_table(folder / "objects", rows_of(200), FILES, VOLUME)}


def a_job(given: dict[str, str], folder: Path, chunk: Vec, model: str = "one", **parameters: Any) -> Job:
    images = ["em", "other"] if model == "classes" else ["em"]
    task = {"images": images, "objects": "objects", "model": given[model], "judged": "judged", **parameters}
    layers = {name: given[name] for name in ("em", "other", "objects")}
    return make_job(folder, layers, [{"judge": task}], chunk=list(chunk), storage=[4, 4, 4])


def judged_by(job: Job, box: Box | None = None, **how: Any) -> pa.Table:
    assert run_job(job, box, **how) == "complete"
    return read_table(table_of(job, box).url)


def table_of(job: Job, box: Box | None = None) -> TableInfo:
    return open_plan(job, box).products["judged", 0].table
