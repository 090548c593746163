"""The jobs of an evaluation: the overlaps of two label layers, and the layer that shows what came of each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chunkflow.data.describe import table_at
from chunkflow.data.folder import Folder
from chunkflow.data.info import LabelsInfo, TableInfo, full_url
from chunkflow.data.table_writer import write_table
from chunkflow.data.tables import read_table
from chunkflow.engine.planning.job import Job
from chunkflow.engine.planning.plan import Plan
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.jobs.means import Means
from chunkflow.jobs.run import Run
from chunkflow.kernels.scoring.agreement import Overlaps
from chunkflow.people.evaluation.scores import LEAST_IOU, Comparison
from chunkflow.people.evaluation.sides import Side, SideSource, side_of_rows


@contextmanager
def scratch_folder(within: str | Path | None, means: Means) -> Iterator[Path]:
    """A folder for work that is done once, within one that all workers see."""
    if within is None and means.address:
        raise BadInput("A cluster's workers must see where overlaps are counted: name a folder (scratch).")
    with tempfile.TemporaryDirectory(prefix=".evaluate-", dir=within) as folder:
        yield Path(folder)


def compare_labels(
    predicted: SideSource, truth: SideSource, box: Box | None, means: Means, work: Path
) -> Comparison:
    """Count overlaps and measure both layers in one job, and match objects by IoU."""
    names = {"predicted": predicted, "truth": truth}
    layers, given = {}, {}
    for name, place in names.items():
        assert isinstance(place.layer, LabelsInfo)
        layers[name], given[name] = place.layer.url, f"{name}@{place.layer.mip}" if place.layer.mip else name
    tasks: list[dict[str, Any]] = [
        {"overlap": {"labels": given["predicted"], "other": given["truth"], "overlaps": "overlaps"}},
        {"measure": {"labels": given["predicted"], "objects": "found"}},
        {"measure": {"labels": given["truth"], "objects": "true"}},
    ]
    plan = _run({"job": "evaluate", "layers": layers, "tasks": tasks}, work, means, box)
    found, true = (side_of_rows(_table(plan, table), table, None) for table in ("found", "true"))
    rows = _table(plan, "overlaps")
    overlaps = Overlaps(*(rows[name].to_numpy() for name in ("id", "other", "voxels")))
    matched = overlaps.matches(LEAST_IOU)
    pairs = np.stack([_rows_of(found, matched[0]), _rows_of(true, matched[1])], axis=1)
    assert predicted.layer is not None
    return Comparison(predicted.layer, found, true, pairs, overlaps=overlaps)


def _rows_of(side: Side, ids: Any) -> Any:
    """Where ids are among those of a table, which are sorted."""
    return np.searchsorted(side.ids, ids)


def _table(plan: Plan, name: str) -> pa.Table:
    info = table_at(plan.products[name, 0].info.url)
    return read_table(info, info.bounds).sort_by("id")


def refuse_taken(annotations: str) -> None:
    if annotations and Folder(full_url(annotations)).exists("info"):
        raise BadInput(f"{annotations} exists already and was not touched: name another place.")


def write_annotations(comparison: Comparison, annotations: str, means: Means, work: Path) -> None:
    """Every pair, missed and wrong object as a point that can be clicked, in a colour of its kind."""
    layer = comparison.layer
    table = TableInfo(
        url=full_url(str(work / "outcomes")),
        volume=layer.volume,
        bounds=layer.bounds,
        voxel_size=layer.voxel_size,
    )
    write_table(table, [comparison.outcomes()])
    task = {
        "objects": "outcomes",
        "annotations": "shown",
        "properties": ["outcome", "color"],
        "relationships": {"found": "found", "true": "true"},
    }
    layers = {"outcomes": table.url, "shown": full_url(annotations)}
    _run({"job": "outcomes", "layers": layers, "tasks": [{"annotate": task}]}, work / "annotate", means, None)


def _run(document: dict[str, Any], work: Path, means: Means, box: Box | None) -> Plan:
    job = Job.from_document({**document, "work": str(work / "job")}, Path.cwd())
    run = Run.of(job, means, box)
    run.start()
    run.wait()
    return run.plan
