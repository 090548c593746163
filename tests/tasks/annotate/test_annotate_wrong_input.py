"""What cannot be annotated is refused in a sentence that names it, with nothing written into the layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from chunkflow.engine.run.events import CellFailed, Event
from tasks.annotate.annotate import Annotate
from tests.support.files.annotation_layers import make_rows, write_table
from tests.support.jobs import make_job, run_job

Change = Callable[[pa.Table], pa.Table]


def same(rows: pa.Table) -> pa.Table:
    return rows


def with_column(name: str, values: Callable[[int], Any], kind: pa.DataType | None = None) -> Change:
    def change(rows: pa.Table) -> pa.Table:
        return rows.append_column(name, pa.array([values(n) for n in range(len(rows))], kind))

    return change


@pytest.mark.parametrize(
    ("change", "parameters", "message"),
    [
        (same, {"properties": ["size"]}, "no column 'size' to show; it has id, x, y, z"),
        (same, {"kind": "line"}, "no column 'x2' to tell its place"),
        (same, {"kind": "box"}, "no column 'x_min'"),
        (same, {"kind": "line", "to": ["note", "y", "z"]}, "'note' holds string, not numbers"),
        (with_column("r_x", lambda n: -1.0), {"kind": "ellipsoid"}, "no column 'r_y'"),
        (
            with_column("radius", lambda n: -1.0),
            {"kind": "line", "to": ["radius"] * 3},
            "outside of the volume",
        ),
        (same, {"where": {"class": "neuron"}}, "no column 'class' to choose by"),
        (same, {"where": {"volume": "large"}}, "where: the column 'volume' holds uint32"),
        (same, {"relationships": {"nucleus": "nuclei"}}, "no column 'nuclei' to relate by"),
        (same, {"relationships": {"nucleus": "diameter_um"}}, "must be ids, whole numbers"),
        (with_column("of", lambda n: -5), {"relationships": {"nucleus": "of"}}, "has -5, which is no id"),
        (same, {"color": "crimsonish"}, "neither a colour .* nor a column"),
        (same, {"color": "diameter_um"}, "holds double, not colours"),
        (with_column("color", lambda n: "#12345"), {}, "has '#12345', which is no colour"),
        (with_column("color", lambda n: None, pa.string()), {}, "rows without a colour"),
        (with_column("live", lambda n: None, pa.bool_()), {"properties": ["live"]}, "neither yes nor no"),
        (
            with_column("count", lambda n: None, pa.int32()),
            {"properties": ["count"]},
            "rows without a number",
        ),
    ],
)
def test_it_is_named(tmp_path: Path, change: Change, parameters: dict[str, Any], message: str) -> None:
    table = write_table(tmp_path / "table", change(make_rows(10)), (256, 256, 256))
    task = {"annotate": {"objects": "objects", "annotations": "cells", **parameters}}
    job = make_job(tmp_path, {"objects": table, "cells": str(tmp_path / "cells")}, [task], chunk=[64] * 3)
    failures: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, CellFailed):
            failures.append(event.answer.traceback.strip().splitlines()[-1])

    assert run_job(job, listeners=[listen]) == "incomplete"
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(failures[0])
    assert not (tmp_path / "cells" / "info").exists()


def test_too_many_texts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.annotate.properties.MOST_LABELS", 9)
    test_it_is_named(
        tmp_path,
        with_column("name", lambda n: f"cell {n}"),
        {"properties": ["name"]},
        "'name' holds more than 9 different texts",
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kind": "ball"}, "'point', 'line', 'box' or 'ellipsoid'"),
        ({"to": ["a", "b", "c"]}, "three columns of a line's other end"),
        ({"kind": "line", "to": ["a"]}, "three columns of a line's other end"),
        ({"relationships": {"by_id": "id"}}, "cannot name a relationship"),
        ({"relationships": {"a/b": "id"}}, "cannot name a relationship"),
        ({"limit": 0}, "greater than or equal to 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Annotate(objects="objects", annotations="cells", **parameters)
