"""The demos, small: they end with what was found, where the outputs are and a link."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from chunkflow.errors import BadInput
from chunkflow.jobs.work import Work
from chunkflow.kernels.scoring.matching import matched_pairs
from chunkflow.people.review.log.edits import Edit
from chunkflow.people.review.log.review_log import ReviewLog
from chunkflow.people.review.outgoing.export import export_review
from chunkflow.people.review.reviewing import check_review
from cli.demo import light_sheet
from tests.support.browser.viewer import Viewer, open_viewer
from tests.support.commands import ROOT, Command
from tests.support.people.review_page import KeyReviewer, open_page

TILE = (96, 96, 40)
DECIDED = 50
WHOLE_UM = 1.5
"""An object whose middle lies farther from that of any cell is a cell seen in part, and is rejected."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the light-sheet demo, which all tests of it share, as it takes long."""
    return tmp_path_factory.mktemp("light-sheet") / "demo"


@pytest.fixture
def words(place: Path) -> tuple[object, ...]:
    return ("demo", "light-sheet", place, "--size", *TILE, "--serial")


@pytest.fixture(scope="module")
def viewer() -> Iterator[Viewer]:
    with open_viewer() as viewer:
        yield viewer


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
    place: Path, words: tuple[object, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of a brain whose truth is known: stitched, segmented, classified, counted and shown; stopped once
    its model is trained, gone on with, and begun again when all is done."""
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
    (place / "neuron-glia.skops").rename(place / "away.skops")
    gone = command(*words)
    assert (gone.code, "neuron-glia.skops is gone" in gone.err) == (2, True)
    (place / "away.skops").rename(place / "neuron-glia.skops")


@contextmanager
def review_at_the_end(words: tuple[object, ...]) -> Iterator[str]:
    """The link of the review with which a demo ends, until it is interrupted."""
    command = [sys.executable, "-m", "cli.main", *map(str, words), "--review"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert demo.stdout is not None
    try:
        lines = iter(demo.stdout)
        yield next(line for line in lines if line.startswith("Review of ")).strip().partition(" decided: ")[2]
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 0


def kinds_by_id(place: Path) -> dict[str, str]:
    """What each object is that was found, by the truth; those that are no whole cell are left out."""
    truth = light_sheet._truth(Work.open(place / "scan" / "work").plan(), place, TILE)
    found = Work.open(place / "work").table("combined").to_pandas()
    places = found[["x_um", "y_um", "z_um"]].to_numpy(float)
    pairs = matched_pairs(places, truth.places, WHOLE_UM)
    ids, kinds = found["id"].to_numpy(), truth.cells["class"].to_pylist()
    return {str(ids[mine]): kinds[theirs] for mine, theirs in pairs.tolist()}


def edits_of(place: Path) -> list[Edit]:
    log = ReviewLog.open(str(place / "work" / "review.sqlite"))
    (table,) = log.tables()
    edits = log.edits(table.id)
    log.close()
    return edits


def test_somebody_reviews_what_the_demo_found_and_teaches_the_classifier(
    place: Path, words: tuple[object, ...], command: Command, viewer: Viewer, tmp_path: Path
) -> None:
    """Fifty cells, by keys alone, by somebody who knows what they are; two decisions are taken back, and one
    of the two is made again."""
    with review_at_the_end(words) as link:
        window = open_page(viewer, link)
        reviewer = KeyReviewer(window, kinds_by_id(place))
        for number in range(DECIDED + 1):
            id = reviewer.decide()
            if number in (10, 30):
                reviewer.undo(id)
                reviewer.decide() if number == 10 else reviewer.skip()
            elif number % 9 == 8:
                reviewer.skip()
        counts = window.evaluate("review.counts")
        window.close()
    assert {"f", "d", "j", "u"} <= set(reviewer.pressed)
    assert {"1", "2"} & set(reviewer.pressed)
    assert counts["accepted"] + counts["rejected"] == len(reviewer.said) == DECIDED
    edits = edits_of(place)
    made = Counter("undo" if edit.operation == "undo" else "decided" for edit in edits)
    assert made == {"decided": DECIDED + 2, "undo": 2}
    state: dict[str, tuple[str, str]] = {}
    for edit in edits:
        before = state.get(str(edit.object), ("", ""))
        state[str(edit.object)] = (edit.after.get("status", before[0]), edit.after.get("class", before[1]))
    stands = {id: said for id, said in state.items() if said[0]}
    assert {
        id: kind if status == "accepted" else "" for id, (status, kind) in stands.items()
    } == reviewer.said
    assert check_review(place / "work").faults == ()
    export_review(place / "work", tmp_path / "reviewed.csv")
    rows = pd.read_csv(tmp_path / "reviewed.csv", keep_default_na=False).astype({"id": str}).set_index("id")
    assert (rows["status"] != "undecided").sum() == DECIDED
    assert all(rows["class"][id] == kind for id, kind in reviewer.said.items() if kind)
    model = tmp_path / "better.skops"
    said = command("train", "classify", f"{place}/work:objects", "--labels", place / "work", "--to", model)
    assert (said.code, said.err) == (0, "")
    assert f"The model is in {model}" in said.out
