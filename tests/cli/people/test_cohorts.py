"""Several brains in one table of counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv
import pytest
import yaml

from chunkflow.errors import BadInput
from tasks.count.cohort import cohort, write_cohort
from tests.support.commands import Command, is_one_sentence, job_document
from tests.support.jobs import read_table


def counting(lab: Path, name: str, work: str, by: str) -> None:
    document = job_document()
    tasks = [*document["tasks"], {"count": {"objects": "objects", "by": [by]}}]  # type: ignore[misc]
    layers = {"dapi": "dapi", "nuclei": f"nuclei-{work}"}
    document |= {"job": name, "work": work, "tasks": tasks, "layers": layers}
    (lab / f"{work}.yaml").write_text(yaml.safe_dump(document))


def test_a_row_a_sample_and_group(lab: Path, command: Command) -> None:
    for name in ("rat1", "rat2"):
        counting(lab, "rat", name, "cut")
        assert command("run", f"{name}.yaml", "--serial").code == 0
    said = command("count", "rat1", "rat2", "--to", "cohort.csv")
    assert (said.code, said.err) == (0, "")
    assert "2 rows of 2 samples are in cohort.csv" in said.out
    rows = pyarrow.csv.read_csv(lab / "cohort.csv").to_pylist()
    assert [row["sample"] for row in rows] == ["rat1", "rat2"]
    number = len(read_table(lab / "rat1" / "tables" / "objects"))
    assert [row["own"] for row in rows] == [number, number]
    again = command("count", "rat1", "--to", "cohort.csv")
    assert again.code == 2
    assert is_one_sentence(again.err)
    assert command("count", "rat1", "--to", "cohort.csv", "--overwrite").code == 0
    assert [row["sample"] for row in pyarrow.csv.read_csv(lab / "cohort.csv").to_pylist()] == ["rat"]


def test_a_notebook_has_the_counts_as_a_table(lab: Path, command: Command) -> None:
    for name in ("rat1", "rat2"):
        counting(lab, name, name, "cut")
        assert command("run", f"{name}.yaml", "--serial").code == 0
    rows = cohort([lab / "rat1", str(lab / "rat2")], "counts")
    assert rows["sample"].to_pylist() == ["rat1", "rat2"]
    with pytest.raises(BadInput, match="must end in"):
        write_cohort(["rat1"], lab / "cohort.txt")
    assert write_cohort([lab / "rat1"], lab / "one.parquet").to_pylist() == rows.slice(0, 1).to_pylist()
    with pytest.raises(BadInput, match="exists already"):
        write_cohort([lab / "rat1"], lab / "one.parquet")


def test_what_has_no_counts_is_refused(lab: Path, command: Command) -> None:
    assert command("run", "job.yaml", "--serial").code == 0
    for words, said in (
        (("work",), "task `count`"),
        (("nowhere",), "not a work folder"),
        (("work", "--table", "objects"), "say which table"),
    ):
        wrong = command("count", *words, "--to", "cohort.csv")
        assert wrong.code == 2
        assert is_one_sentence(wrong.err)
        assert said in wrong.err
    assert command("count", "work", "--to", "cohort.txt").code == 2
    assert not list(lab.glob("cohort*"))
