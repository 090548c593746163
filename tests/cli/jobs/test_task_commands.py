"""Every task as a command: its help, its fields as words, and the job of one task that it runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from chunkflow.people.learning.model import save
from chunkflow.registry import tasks
from tests.support.commands import Command
from tests.support.files.classifiers import CLASSES, described, fitted, saved_model
from tests.support.jobs import read_layer, read_table


@pytest.mark.parametrize("name", tasks())
def test_every_task_has_help_with_an_example_and_its_fields(command: Command, name: str) -> None:
    said = command(name, "--help")
    assert said.code == 0
    assert f"Example: chunkflow {name} " in said.out
    assert "--workers" in said.out or name == "count", "which puts together what the task has counted"
    text = said.out.partition("Example:")[0]
    widths = [len(line.rstrip()) for line in text.splitlines()]
    assert max(widths) <= 100


def test_the_commands_are_listed_without_importing_them(command: Command) -> None:
    said = command("--help")
    for name in ("demo", "run", "plan", "status", "failed", "retry", "replay", "view", "export", "ingest"):
        assert re.search(rf"^│ {name} +[A-Z]", said.out, re.M), name
    for name in tasks():
        assert re.search(rf"^│ {name} +[A-Z]", said.out, re.M), name


def test_segment_then_measure_then_annotate_by_hand(lab: Path, command: Command) -> None:
    small = ("--serial", "--chunk", "32,32,32", "--storage", "16,16,16")
    said = command("segment", "dapi", "--labels", "seg", "--diameter", "10", "--threshold", "200", *small)
    assert (said.code, said.err) == (0, "")
    again = command("segment", "dapi", "--labels", "seg", "--diameter", "10", "--threshold", "300", *small)
    assert again.code == 2
    assert "tasks.segment.threshold: 200.0 -> 300.0" in again.err
    assert command("copy", "dapi", "--target", "twin", *small).code == 0
    said = command("measure", "seg", "--images", "dapi", "--images", "twin@0", "--serial")
    assert (said.code, said.err) == (0, "")
    rows = read_table(lab / "measure.work" / "tables" / "objects")
    ids = np.unique(read_layer(lab / "seg"))
    np.testing.assert_array_equal(rows["id"].to_numpy(), ids[ids > 0])
    assert {"dapi_mean", "twin_mean"} <= set(rows.column_names)
    objects = "measure.work/tables/objects"
    said = command("annotate", objects, "--annotations", "points", "--properties", "[volume]", "--serial")
    assert (said.code, said.err) == (0, "")
    assert (lab / "points" / "info").exists()


def test_a_task_is_begun_anew(lab: Path, command: Command) -> None:
    assert command("measure", "cells", "--images", "dapi", "--serial").code == 0
    words = ("classify", "measure.work/tables/objects", "--model", saved_model(lab), "--serial")
    assert command(*words).code == 0
    others = [name.upper() for name in CLASSES]
    save(lab / "cells.skops", fitted(classes=others), described(classes=others))
    said = command(*words)
    assert (said.code, "with another model (cells.skops has changed)" in said.err) == (2, True)
    said = command(*words, "--restart")
    assert (said.code, "--yes" in said.err) == (2, True)
    assert command(*words, "--restart", "--yes").code == 0
    made = read_table(lab / "classify.work" / "tables" / "classes")
    assert set(made["class"].to_pylist()) <= set(others)


def test_meshes_and_mips_of_layers_that_are_only_read_go_to_a_place_of_their_own(
    lab: Path, command: Command
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (lab / "cells").rglob("*")}
    assert command("mesh", "cells", "--meshes", "surfaces", "--serial").code == 0
    assert (lab / "surfaces" / "0.shard").exists()
    storage = ("--storage", "16,16,16", "--serial")
    assert command("downsample", "cells", "--target", "coarse", "--mips", "1", *storage).code == 0
    assert read_layer(lab / "coarse").shape == (24, 20, 18)
    assert command("copy", "coarse@0", "--target", "again", *storage).code == 0
    np.testing.assert_array_equal(read_layer(lab / "again"), read_layer(lab / "coarse"))
    assert before == {path: path.stat().st_mtime_ns for path in (lab / "cells").rglob("*")}


def test_an_encoding_and_a_part_can_be_named(lab: Path, command: Command) -> None:
    words = ("--storage", "16,16,16", "--serial", "--encoding", "compressed_segmentation")
    assert command("copy", "cells", "--target", "packed", "--box", "0-32,0-16,0-16", *words).code == 0
    np.testing.assert_array_equal(read_layer(lab / "packed"), read_layer(lab / "cells")[:32, :16, :16])
    assert '"compressed_segmentation"' in (lab / "packed" / "info").read_text()
    said = command("measure", "cells", "--box", "0-32,0-16,0-16", "--serial")
    assert said.code == 0
    assert "measure.work/try/" in said.out
