"""The demo, small: it ends with what was found, where the outputs are and a link."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.conftest import Command


def test_the_demo_says_what_it_found_and_where_it_is(tmp_path: Path, command: Command) -> None:
    said = command("demo", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert (said.code, said.err) == (0, "")
    score = re.search(r"^ *(\d+) +(\d+) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", said.out, re.M)
    assert score is not None
    assert float(score[6]) > 0.9
    for name in ("dapi", "cfos", "nuclei", "centres", "objects"):
        assert re.search(rf"^  {name} +file://{tmp_path}", said.out, re.M)
    assert re.search(r"http://127\.0\.0\.1:\d+/", said.out)
    again = command("demo", tmp_path / "demo", "--size", 128, 128, 64, "--serial")
    assert again.code == 0
