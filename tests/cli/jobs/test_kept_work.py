"""Work folders made by an earlier chunkflow are shown, exported, and gone on with."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chunkflow.data.info import parse_info
from chunkflow.people.viewing.shown import layers_to_show
from tests.support.commands import Command

KEPT = Path(__file__).parents[2] / "data" / "work-of-ca75ea2"
MADE_AT = b"/tmp/chunkflow-of-ca75ea2"
MADE = ("nuclei", "smooth", "meshes", "cells", "work/tables/objects")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kept folders as if they had been made here, and a third with the same job, which was never run."""
    with tarfile.open(KEPT / "work.tar.gz") as files:
        files.extractall(tmp_path, filter="data")
    for file in tmp_path.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        if MADE_AT in data:
            file.write_bytes(data.replace(MADE_AT, str(tmp_path).encode()))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for name in ("job.yaml", "smooth.py"):
        (fresh / name).write_bytes((KEPT / name).read_bytes())
    (fresh / "well").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    """All that a job made, without who made it and when, and without its places; of tables the rows, as the
    files of an earlier chunkflow carry no checksums."""
    found: dict[str, bytes] = {}
    for made in MADE:
        for file in sorted((folder / made).rglob("*")):
            if file.is_file() and file.name not in ("provenance", ".cloudfiles"):
                data = file.read_bytes().replace(str(folder).encode(), b"HERE")
                if file.parent.parent.name == "tables" and file.name == "info":
                    data = repr(parse_info(json.loads(data)["table"])).encode()
                if file.suffix == ".parquet":
                    rows = pq.read_table(file)
                    data = repr((rows.schema, rows.to_pylist())).encode()
                found[str(file.relative_to(folder))] = data
    return found


@pytest.mark.parametrize("name", ["complete", "incomplete"])
def test_a_kept_work_folder_is_shown_and_exported(kept: Path, command: Command, name: str) -> None:
    said = command("status", f"{name}/work")
    assert said.code == 0, said.err
    assert f"kept: {name}" in said.out
    assert "Smooth (seen along z)" in said.out
    assert ("!" in said.out) == (name == "incomplete")
    failed = command("failed", f"{name}/work")
    assert ("stumbled over the last chunk" in failed.out) == (name == "incomplete")
    layers, _ = layers_to_show([f"{name}/work"])
    assert {"dapi", "nuclei", "smooth"} <= set(layers)
    assert layers["nuclei"] == f"file://{kept}/{name}/nuclei"
    said = command("export", f"{name}/work", "objects", "--to", "objects.csv")
    if name == "complete":
        assert said.code == 0, said.err
        assert len(Path("objects.csv").read_text().splitlines()) > 20
    else:
        assert (said.code, "not finished" in said.err) == (1, True)
    said = command("export", f"{name}/work", "nuclei", "--to", "nuclei.tif")
    assert said.code == 0, said.err


@pytest.mark.parametrize("words", [("retry", "{}/work"), ("run", "{}/job.yaml")])
@pytest.mark.parametrize("name", ["complete", "incomplete"])
def test_a_kept_work_folder_is_gone_on_with(
    kept: Path, command: Command, name: str, words: tuple[str, str]
) -> None:
    before = contents(kept / name)
    (kept / name / "well").touch()
    said = command(words[0], words[1].format(name), "--serial")
    assert said.code == 0, said.err + said.out
    assert f"{28 if name == 'complete' else 14} of them done before" in said.out
    after = contents(kept / name)
    assert before.items() <= after.items()
    assert command("run", "fresh/job.yaml", "--serial").code == 0
    assert after == contents(kept / "fresh")
    with (kept / name / "smooth.py").open("a") as file:  # whose content is on record from now on
        file.write("# changed\n")
    said = command("run", f"{name}/job.yaml", "--serial")
    assert (said.code, "tasks.Smooth.code: " in said.err) == (2, True)


def test_a_changed_parameter_of_a_kept_work_folder_is_refused(kept: Path, command: Command) -> None:
    said = command("run", "complete/job.yaml", "--serial", "--set", "tasks.segment.diameter=12")
    assert said.code == 2
    assert said.err.splitlines()[1:2] == ["  tasks.segment.diameter: 10.0 -> 12.0"]


def test_a_task_of_a_kept_work_folder_is_cleared(kept: Path, command: Command) -> None:
    said = command("run", "complete/job.yaml", "--serial", "--restart", "measure", "--yes")
    assert said.code == 0, said.err
    assert command("run", "fresh/job.yaml", "--serial").code == 0
    assert contents(kept / "complete") == contents(kept / "fresh")
