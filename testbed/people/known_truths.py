"""Tables of which it is known what each object is: synthetic brains, and candidates of real volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from chunkflow.api import Job
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.people.learning.active.simulation import KnownTruth, slabs_of
from chunkflow.people.learning.features import choose_features, feature_rows
from chunkflow.people.learning.scores import Examples
from testbed.classification import candidates
from testbed.detection import Points, Tissue

SIZE = [448, 448, 200]
TOLERANCE_UM = 5.0


def synthetic_truth(folder: Path, glia: float) -> KnownTruth:
    """Some three thousand nuclei of a synthetic brain with this share of glia, which are to be found."""
    document = {
        "job": "known",
        "work": str(folder / "work"),
        "layers": {name: str(folder / name) for name in ("dapi", "nuclei")},
        "tasks": [
            {"synthesize": {"dapi": "dapi", "cells": "cells", "size": SIZE, "glia": glia}},
            {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 9}},
            {"measure": {"labels": "nuclei", "images": ["dapi"], "objects": "objects"}},
        ],
    }
    work = Job.from_document(document, folder).run(serial=True)
    found, cells = (work.table(name).to_arrow() for name in ("objects", "cells"))
    pairs = matched_pairs(_places(found), _places(cells), TOLERANCE_UM)
    rows = found.take(pairs[:, 0])
    kinds = np.array(cells["class"].to_pylist())[pairs[:, 1]]
    features = feature_rows(rows, choose_features(rows.schema, ()))
    whole = np.isfinite(features).all(axis=1)
    examples = Examples(features[whole], (kinds[whole] == "glia").astype(np.int64), ("neuron", "glia"))
    ids = rows["id"].to_numpy()[whole]
    return KnownTruth(ids, examples, slabs_of(_places(rows)[whole]), 1)


def tissue_truth(tissue: Tissue) -> KnownTruth:
    """The candidates of a real volume, of which cells are to be found."""
    found = candidates(tissue)
    ids = found.rows["id"].to_numpy()
    return KnownTruth(ids, found.examples(()), slabs_of(found.places), 1)


def _places(rows: pa.Table) -> Points:
    return np.stack([rows[f"{axis}_um"].to_numpy() for axis in "xyz"], axis=1)
