"""Detection: the same table under any cut, near the cells, at the threshold that a model stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import chunkflow as cf
from chunkflow.engine.planning.job import Job
from chunkflow.errors import BadInput
from chunkflow.geometry import Vec
from chunkflow.jobs.planned import open_plan
from tests.support.files.networks import document_of, make_model
from tests.support.jobs import make_job, make_layer, read_table, run_job
from tests.support.same import Way, same_everywhere

SIZE = (45, 37, 26)
OFFSET = (5, -3, 7)
VOXEL = (1000.0, 1000.0, 2000.0)
WHOLE = (48, 40, 32)
WAYS = [Way((8, 8, 8), 2, shuffled=True), Way((16, 40, 8), shuffled=True), Way((24, 16, 16))]


def heat(dtype: str, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Blobs that saturate, and the places of their middles in voxels of the layer."""
    random = np.random.default_rng(seed)
    spots = np.zeros(SIZE)
    places = np.stack([random.integers(2, n - 2, 30) for n in SIZE], 1)
    spots[tuple(places.T)] = 1
    smooth = ndimage.gaussian_filter(spots, (2, 2, 1))
    values = (smooth / smooth.max() * 1.6).clip(0, 1)
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    made = values * scale if dtype == "float32" else (values * scale).round()
    return made.astype(dtype), places + 0.5 + np.array(OFFSET)


def a_job(folder: Path, chunk: Vec, image: str, **parameters: Any) -> Job:
    layers = {"heat": image, "cells": str(folder / "cells")}
    task = {"image": "heat", "objects": "cells", "threshold": 0.3, **parameters}
    return make_job(folder, layers, [{"detect": task}], chunk=list(chunk), storage=[8, 8, 8])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_no_cut_changes_a_cell(tmp_path: Path, dtype: str) -> None:
    image = make_layer(tmp_path / "heat", heat(dtype)[0], voxel_size=VOXEL, offset=OFFSET)
    same_everywhere(tmp_path, lambda folder, chunk: a_job(folder, chunk, image, radius=3), WHOLE, WAYS)
    table = read_table(tmp_path / "whole" / "cells")
    assert len(table) >= 15
    assert table["probability"].to_numpy().min() >= 0.3
    np.testing.assert_allclose(table["z_um"], table["z"].to_numpy() * 2)


def test_cells_are_where_the_heat_is(tmp_path: Path) -> None:
    image, places = heat("uint8")
    url = make_layer(tmp_path / "heat", image, voxel_size=VOXEL, offset=OFFSET)
    job = a_job(tmp_path, (16, 16, 8), url, radius=3)
    assert run_job(job) == "complete"
    (tmp_path / "true.csv").write_text("x,y,z\n" + "\n".join(",".join(map(str, p)) for p in places))
    scores = cf.evaluate(str(tmp_path / "cells"), str(tmp_path / "true.csv"), tolerance_um=4)
    assert scores.precision == 1
    assert scores.recall >= 0.6  # blobs that touch are one


def test_the_threshold_is_that_of_the_model(tmp_path: Path) -> None:
    document = document_of(2).model_dump(mode="json")
    document["outputs"][1] |= {"kind": "probability", "threshold": 0.4}
    model = make_model(tmp_path / "m.safetensors", cf.ModelDocument.parse(document, "m"))
    image = make_layer(tmp_path / "image", heat("uint8")[0], voxel_size=VOXEL, offset=OFFSET)
    voxel_size = document["input"]["voxel_size"]
    image = make_layer(tmp_path / "image2", heat("uint8")[0], voxel_size=tuple(voxel_size), offset=OFFSET)
    layers = {"image": image, "made": str(tmp_path / "made"), "cells": str(tmp_path / "cells")}
    infer = {"images": ["image"], "model": model, "made": "made"}
    detect = {"image": "made", "objects": "cells", "channel": 1}
    job = make_job(
        tmp_path, layers, [{"infer": infer}, {"detect": detect}], chunk=[24, 24, 16], storage=[8, 8, 8]
    )
    assert run_job(job) == "complete"
    found = read_table(tmp_path / "cells")["probability"].to_numpy()
    assert len(found) == 0 or found.min() >= 0.4 - 1e-6
    stored = json.loads((tmp_path / "made" / "info").read_bytes())
    assert stored["contents"][1]["threshold"] == 0.4


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"threshold": None}, "give `threshold`"),
        ({"channel": 1}, "there is no channel 1"),
    ],
)
def test_what_cannot_be_detected_is_refused(tmp_path: Path, parameters: dict[str, Any], said: str) -> None:
    image = make_layer(tmp_path / "heat", heat("uint8")[0], voxel_size=VOXEL, offset=OFFSET)
    with pytest.raises(BadInput, match=said):
        open_plan(a_job(tmp_path, (16, 16, 8), image, **parameters))


def test_a_heatmap_that_is_no_number_is_an_error_that_names_the_chunk(tmp_path: Path) -> None:
    values = heat("float32")[0]
    values[20, 20, 10] = np.nan
    image = make_layer(tmp_path / "heat", values, voxel_size=VOXEL, offset=OFFSET)
    job = a_job(tmp_path, (16, 16, 8), image)
    assert run_job(job) != "complete"
