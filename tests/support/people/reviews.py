"""A small job whose objects have classes, to be reviewed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.people.review.log.edits import Edit
from chunkflow.people.review.log.proposed import ProposedEdit
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from chunkflow.people.service.local import reviewer
from chunkflow.people.service.local.reviewer import Reviewer
from tests.support.files.classifiers import saved_model
from tests.support.jobs import make_job, make_layer, run_job
from tests.support.people.service import ask

SIZE = [128, 128, 48]


def job_to_review(folder: Path, seed: int = 1, diameter: int = 9, restart: str = "") -> str:
    """The work folder of a job with a table `classified` of a hundred objects, by another seed of others; of
    one that was run there with another diameter, the tasks from `restart` on are done anew."""
    layers = {name: str(folder / name) for name in ("dapi", "nuclei", "cells")}
    tasks = [
        {"synthesize": {"dapi": "dapi", "size": SIZE, "density": 60_000, "seed": seed}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": diameter}},
        {"measure": {"labels": "nuclei", "images": ["dapi"], "objects": "objects"}},
        {"classify": {"objects": "objects", "model": str(saved_model(folder)), "classes": "classified"}},
        {"annotate": {"objects": "classified", "annotations": "cells"}},
    ]
    job = make_job(folder, layers, tasks, storage=[32, 32, 16], chunk=[64, 64, 32])
    assert run_job(job, restart=restart) == "complete"
    return job.work.removeprefix("file://")


def asked(page: Reviewer, path: str) -> Any:
    """What the programming interface of a review says."""
    status, _, content = ask(page._server, f"api/review/test/{page.name}/{path}")
    return json.loads(content) if status == 200 else status


def sent(page: Reviewer, **edit: Any) -> tuple[int, dict[str, Any]]:
    """Send an edit, and give the answer."""
    path = f"api/review/test/{page.name}/edits"
    status, _, content = ask(page._server, path, "POST", json.dumps(edit).encode())
    return status, json.loads(content or b"{}")


def decide(place: str, *edits: dict[str, Any], person: str = "ann", database: str = "") -> list[Edit]:
    """Append edits to the log of a review, each made by someone who has seen the last one of its object."""
    found = ReviewPlace.find(place)
    made = []
    with closing(open_log(found.database(database))) as log:
        live = found.opened(log)
        for edit in edits:
            held = log.current(live.table).get(int(edit["object"]))
            document = {"key": f"{person}-{log.last()}", "seen": held.seq if held else None, **edit}
            made.append(log.append(live.table, person, ProposedEdit.parse(document)))
    return made


def add_areas(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let data sets that are reviewed have a layer `areas`: two halves along x, of which one has a name."""
    labels = np.full((64, 64, 24), 7, np.uint64)
    labels[32:] = 2**40
    url = f"file://{make_layer(folder / 'areas', labels, 'segmentation', voxel_size=(2000, 2000, 4000))}"
    info = json.loads((folder / "areas" / "info").read_text())
    (folder / "areas" / "info").write_text(json.dumps(info | {"segment_properties": "names"}))
    (folder / "areas" / "names").mkdir()
    named = {"ids": ["7"], "properties": [{"id": "label", "type": "label", "values": ["Left half"]}]}
    document = {"@type": "neuroglancer_segment_properties", "inline": named}
    (folder / "areas" / "names" / "info").write_text(json.dumps(document))
    shown = reviewer.layers_to_show

    def with_areas(places: list[str]) -> tuple[dict[str, str], dict[str, str]]:
        layers, links = shown(places)
        return layers | {"areas": url}, links

    patch.setattr(reviewer, "layers_to_show", with_areas)
