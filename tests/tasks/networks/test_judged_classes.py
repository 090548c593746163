"""The classes that judging tells, and what they are told by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from chunkflow.data.folder import Folder
from chunkflow.engine.ledger.ledger import Ledger
from tests.support.files.annotation_layers import write_table
from tests.support.files.networks import make_model
from tests.support.models.hostile import with_document
from tests.support.models.judging import (
    FILES,
    VOLUME,
    WHOLE,
    a_job,
    judged_by,
    patches_document,
    rows_of,
)


def test_the_class_is_told_from_the_threshold_of_the_training_on(
    to_judge: dict[str, str], tmp_path: Path
) -> None:
    before = judged_by(a_job(to_judge, tmp_path / "a", WHOLE))["p_made0"].to_numpy()
    threshold = float(np.sort(before)[19:21].mean())
    outputs = [{"name": "made0", "kind": "probability", "threshold": threshold}]
    model = with_document(tmp_path / "m.safetensors", Path(to_judge["one"]), {"outputs": outputs})
    job = a_job({**to_judge, "one": str(model)}, tmp_path / "b", (16, 16, 8))
    assert judged_by(job)["class"].to_pylist().count("no made0") == 20
    counts = Ledger.load(Folder(job.work)).stages["judge/rows"].counts
    assert counts == {"of class made0": 180, "of class no made0": 20}


def test_several_probabilities_decide_nothing(to_judge: dict[str, str], tmp_path: Path) -> None:
    outputs = [{"name": name, "kind": "probability"} for name in ("soma", "axon")]
    model = make_model(tmp_path / "m.safetensors", patches_document(outputs=outputs))
    judged = judged_by(a_job({**to_judge, "one": model}, tmp_path, WHOLE))
    assert judged.column_names == [*rows_of(9).column_names, "p_soma", "p_axon"]


def test_an_earlier_decision_gives_way(to_judge: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(200)
    marked = rows.append_column("class", pa.array(["glia"] * 200)).append_column("p_made0", rows["x"])
    table = write_table(tmp_path / "o", marked, FILES, VOLUME)
    judged = judged_by(a_job({**to_judge, "objects": table}, tmp_path / "a", WHOLE))
    assert judged.equals(judged_by(a_job(to_judge, tmp_path / "b", WHOLE)))
