"""Small trained models and rows to classify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chunkflow.data.info import TableInfo
from chunkflow.geometry import Box
from chunkflow.people.learning.model import Description, save, versions
from chunkflow.task import Cell, Counts, Layout
from tasks.cells.classify import Classify

VOXEL = (1000.0, 1000.0, 2000.0)
COLUMNS = ["volume_um3", "dapi_mean", "dapi_std"]
CLASSES = ["glia", "neuron", "other"]


def fitted(estimator: Any = None, features: int = len(COLUMNS), classes: list[str] = CLASSES) -> Any:
    """A chain fitted to some random rows about as large as the features are."""
    random = np.random.default_rng(1)
    rows = random.uniform(0, 1, (90, features)) * 400
    of_rows = np.array(classes)[(rows[:, :2].sum(axis=1) * len(classes) // 801).astype(int)]
    return make_pipeline(StandardScaler(), LogisticRegression(C=5) if estimator is None else estimator).fit(
        rows, of_rows
    )


def described(**changes: Any) -> Description:
    known = {"features": COLUMNS, "classes": CLASSES, "estimator": "E", "versions": versions()}
    return Description.model_validate(known | changes)


def saved_model(folder: Path) -> Path:
    save(folder / "cells.skops", fitted(), described())
    return folder / "cells.skops"


def mapped(model: Path, rows: pa.Table, fingerprint: str = "") -> tuple[pa.Table, Counts]:
    """What `map` makes of rows, without a job."""
    task = Classify(objects="objects", model=str(model), classes="classes")
    box = Box((0, 0, 0), (8, 8, 8))
    info = TableInfo(volume=box, voxel_size=VOXEL)
    layout = Layout({"objects": (info,)}, (8, 8, 8), (8, 8, 8))
    loaded = task.setup(layout)
    values = {"model": fingerprint or loaded.model.fingerprint}
    return task.map(Cell(0, box, box, box, VOXEL, layout, values, loaded), objects=rows)


def rows_of(features: np.ndarray) -> pa.Table:
    columns: dict[str, Any] = {"id": pa.array(np.arange(len(features)), pa.uint64())}
    return pa.table(columns | {name: features[:, n] for n, name in enumerate(COLUMNS)})
