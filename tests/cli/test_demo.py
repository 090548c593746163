"""The demos, small: they end with what was found, where the outputs are and a link."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.commands import Command


def test_the_demo_says_what_it_found_and_where_it_is(tmp_path: Path, command: Command) -> None:
    said = command("demo", "nuclei", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert (said.code, said.err) == (0, "")
    score = re.search(r"^ *(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", said.out, re.M)
    assert score is not None
    assert float(score[6]) > 0.9
    for name in ("dapi", "cfos", "nuclei", "centres", "objects"):
        assert re.search(rf"^  {name} +file://{tmp_path}", said.out, re.M)
    assert re.search(r"http://127\.0\.0\.1:\d+/", said.out)
    again = command("demo", "nuclei", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert again.code == 0


def test_from_tiles_to_counted_neurons(tmp_path: Path, command: Command) -> None:
    """Tiles of a brain whose truth is known: stitched, segmented, classified, counted and shown."""
    said = command("demo", "light-sheet", tmp_path / "demo", "--size", 96, 96, 40, "--serial")
    assert (said.code, said.err) == (0, "")
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
    place = tmp_path / "demo"
    for name in ("neurons", "glia", "nuclei", "dapi", "cfos"):
        assert (place / name / "info").exists()
    assert json.loads((place / "neurons" / "info").read_text())["color"] == "#ff0000"
    assert json.loads((place / "nuclei" / "info").read_text())["segment_properties"] == "segment_properties"
    assert (place / "neuron-glia.html").exists()
