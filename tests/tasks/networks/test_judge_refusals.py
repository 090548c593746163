"""Models and tables that `judge` cannot use are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from chunkflow.engine.run.events import CellFailed, Event
from chunkflow.errors import BadInput
from chunkflow.jobs.planned import open_plan
from tests.support.files.annotation_layers import write_table
from tests.support.files.networks import make_model
from tests.support.jobs import run_job
from tests.support.models.hostile import with_document
from tests.support.models.judging import PARAMETERS, VOLUME, WHOLE, a_job, patches_document, rows_of

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "unet"}, r"is of the architecture unet, which judges no patches: run it with infer"),
    ({"images": ["em", "other"]}, "takes 1 images, and images names 2"),
    ({"batch": 0}, "takes at least 1 patch"),
    ({"flips": "xy"}, "flips"),
]


@pytest.mark.parametrize(("parameters", "why"), REFUSED)
def test_wrong_parameters_are_told_in_one_sentence(
    to_judge: dict[str, str], tmp_path: Path, parameters: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadInput, match=why):
        open_plan(a_job(to_judge, tmp_path, WHOLE, **{"model": "one"} | parameters))


def refused_table(to_judge: dict[str, str], folder: Path, rows: pa.Table) -> str:
    """What a run says of a table that it cannot judge, which is known only once it is read."""
    said: list[str] = []

    def heard(event: Event) -> None:
        if isinstance(event, CellFailed):
            said.append(event.answer.traceback)

    table = write_table(folder / "o", rows, None, VOLUME)
    assert run_job(a_job({**to_judge, "objects": table}, folder, WHOLE), listeners=[heard]) == "incomplete"
    return said[0].strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ([4.9, 0, 9], "lies at [4.9, 0.0, 9.0], outside of the volume: leave it out of the table."),
        ([9, 0, 35.1], "lies at [9.0, 0.0, 35.1], outside of the volume"),
        ([9, float("nan"), 9], "lies at [9.0, nan, 9.0], outside of the volume"),
    ],
)
def test_a_row_beyond_the_volume_is_refused(
    to_judge: dict[str, str], tmp_path: Path, place: list[float], why: str
) -> None:
    rows = {"id": pa.array([7], pa.uint64())} | {a: [float(n)] for a, n in zip("xyz", place, strict=True)}
    assert f"judge: object 7 {why}" in refused_table(to_judge, tmp_path, pa.table(rows))


def test_a_table_without_places_is_refused(to_judge: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(9)
    for other, why in (
        (
            rows.drop_columns(["y"]),
            "the table objects has no column y to tell the places of its rows; it has",
        ),
        (rows.set_column(1, "x", rows["note"]), "the column x of objects holds string, not numbers"),
    ):
        assert why in refused_table(to_judge, tmp_path / why[:12], other)


def test_a_model_of_other_outputs_is_refused(to_judge: dict[str, str], tmp_path: Path) -> None:
    outputs = [{"name": "grey", "kind": "image", "range": [0, 8]}]
    model = make_model(tmp_path / "m.safetensors", patches_document(outputs=outputs))
    with pytest.raises(BadInput, match="gives grey, which is of the kind image: judge takes models whose"):
        open_plan(a_job({**to_judge, "one": model}, tmp_path, WHOLE))


def test_a_field_that_is_none_is_refused(to_judge: dict[str, str], tmp_path: Path) -> None:
    parameters = PARAMETERS | {"field": [10, 0]}
    model = with_document(tmp_path / "m.safetensors", Path(to_judge["one"]), {"parameters": parameters})
    with pytest.raises(BadInput, match=r"field takes three whole numbers from 1 to 256, not \[10, 0\]"):
        open_plan(a_job({**to_judge, "one": str(model)}, tmp_path, WHOLE))
