"""The demos, small: they end with what was found, where the outputs are and a link."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from cli.demo import light_sheet
from tests.support.commands import Command


def changed(data: bytes) -> bytes:
    """A file that can be read as before, and is another."""
    return data + b"\n"


def stop(_: object) -> None:
    raise BadInput("Stopped.")


def test_the_demo_says_what_it_found_and_where_it_is(tmp_path: Path, command: Command) -> None:
    said = command("demo", "nuclei", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert (said.code, said.err) == (0, "")
    score = re.search(r"^ *(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", said.out, re.M)
    assert score is not None
    assert float(score[6]) > 0.9
    for name in ("dapi", "cfos", "nuclei", "centres", "objects"):
        assert re.search(rf"^  {name} +file://{tmp_path}", said.out, re.M)
    assert re.search(r"http://127\.0\.0\.1:\d+/", said.out)
    assert "All in " in said.out
    again = command("demo", "nuclei", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert again.code == 0
    assert "All was done already." in again.out
    other = command("demo", "nuclei", tmp_path / "demo", "--size", 128, 128, 64, "--serial", "--seed", 2)
    assert (other.code, "tasks.synthesize.seed: 1 -> 2" in other.err) == (2, True)


def test_from_tiles_to_counted_neurons(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of a brain whose truth is known: stitched, segmented, classified, counted and shown; stopped once
    its model is trained, gone on with, and begun again when all is done."""
    place = tmp_path / "demo"
    words = ("demo", "light-sheet", place, "--size", 96, 96, 40, "--serial")
    with monkeypatch.context() as stopped:
        stopped.setattr(light_sheet, "show_trained", stop)
        assert command(*words).code == 2
    model = (place / "neuron-glia.skops").read_bytes()
    said = command(*words)
    assert (said.code, said.err) == (0, "")
    assert "A classifier" not in said.out
    assert re.search(r"^ *25 +25 +0\.\d$", said.out, re.M), "every tile within a voxel"
    counted = {
        name: [float(n.replace(",", "")) for n in numbers]
        for name, *numbers in re.findall(
            r"^(all nuclei|neuron|glia) +([\d,]+) +([\d,]+) +([\d,]+) +[+-][\d.]+% +([\d.]+)$", said.out, re.M
        )
    }
    for name, least in (("all nuclei", 0.97), ("neuron", 0.85), ("glia", 0.8)):
        there, found, expected, f1 = counted[name]
        assert f1 > least, name
        assert abs(found / there - 1) < 0.1
        assert abs(expected / there - 1) < 0.1
    for name in ("neurons", "glia", "nuclei", "dapi", "cfos"):
        assert (place / name / "info").exists()
    assert json.loads((place / "neurons" / "info").read_text())["color"] == "#ff0000"
    assert json.loads((place / "nuclei" / "info").read_text())["segment_properties"] == "segment_properties"
    assert (place / "neuron-glia.html").exists()
    again = command(*words)
    assert (again.code, again.err) == (0, "")
    assert "All was done already." in again.out
    assert (place / "neuron-glia.skops").read_bytes() == model
    for name, reason in (
        ("light-sheet.yaml", "light-sheet.yaml is not as this demo writes it"),
        ("neuron-glia.skops", "classify was made with another model (neuron-glia.skops has changed)"),
        ("tiles/tile_07.tif", "stitch was made with other tiles ("),
    ):
        kept = (place / name).read_bytes()
        (place / name).write_bytes(changed(kept))
        refused = command(*words)
        assert (refused.code, reason in refused.err, len(refused.err.splitlines())) == (2, True, 1), name
        assert (place / name).read_bytes() == changed(kept)
        (place / name).write_bytes(kept)
    (place / "neuron-glia.skops").unlink()
    gone = command(*words)
    assert (gone.code, "neuron-glia.skops is gone" in gone.err) == (2, True)
