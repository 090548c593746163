"""Tuning from marked cells: what it writes is what segment then finds, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import ndimage

from chunkflow.data.describe import layer_at
from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.geometry import Box
from chunkflow.kernels.precomputed.morton import id_voxels
from chunkflow.kernels.scoring.matching import match_points
from chunkflow.people.learning.tune_region import box_of_cells
from chunkflow.people.learning.tuning import diameters_around, diameters_between, tune
from tests.support.commands import Command
from tests.support.jobs import make_job, make_layer, read_layer, run_job

VOXEL = (1000.0, 1000.0, 2000.0)
SIZE = (96, 90, 56)
START = (10, -20, 30)
RADIUS = 3.5
TOLERANCE = 6.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """An image of balls among fainter, smaller specks, and the balls' centres in its voxels."""
    folder = tmp_path_factory.mktemp("tune")
    random = np.random.default_rng(4)
    grid = np.stack(
        np.meshgrid(np.arange(6, 90, 15), np.arange(6, 84, 15), np.arange(5, 52, 9), indexing="ij")
    )
    centres = grid.reshape(3, -1).T + random.uniform(-2, 2, (grid[0].size, 3))
    is_cell = random.random(len(centres)) < 0.4
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"), 3) + 0.5
    image = np.full(SIZE, 100.0)
    for centre, cell in zip(centres, is_cell, strict=True):
        distance = np.linalg.norm((places - centre) * [1, 1, 2], axis=3)
        image += (350 if cell else 150) * np.exp(-((distance / (RADIUS if cell else 1.5)) ** 2))
    image += ndimage.gaussian_filter(random.normal(0, 40, SIZE), 1)
    make_layer(folder / "dapi", image.astype(np.uint16), voxel_size=VOXEL, offset=START)
    clear = np.clip(image - 250, 0, None) + random.integers(0, 20, SIZE)
    make_layer(folder / "clear", clear.astype(np.uint16), voxel_size=VOXEL, offset=START)
    make_layer(folder / "labels", (image > 200).astype(np.uint8), "segmentation", VOXEL, START)
    cells = centres[is_cell] + START
    write_points(folder / "cells.csv", cells)
    return folder, cells


def write_points(path: Path, places: np.ndarray) -> Path:
    np.savetxt(path, places, delimiter=",", header="x,y,z", comments="")
    return path


BOX = "10-70,-20-40,30-86"


@pytest.fixture
def tuned(scene: tuple[Path, np.ndarray], command: Command, tmp_path: Path) -> Path:
    folder, _ = scene
    said = command(
        *("tune", "segment", folder / "dapi", "--points", folder / "cells.csv", "--box", BOX),
        *("--to", tmp_path / "tuned", "--tolerance", TOLERANCE),
    )
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / "tuned" / "segment.yaml").read_text() in said.out
    assert "with threshold: auto, which is a contrast of" in said.out
    return tmp_path / "tuned"


def test_what_is_promised_is_what_segment_finds(scene: tuple[Path, np.ndarray], tuned: Path) -> None:
    folder, cells = scene
    (block,) = yaml.safe_load((tuned / "segment.yaml").read_text())
    promised = json.loads((tuned / "tuned.json").read_text())
    layers = {"dapi": str(folder / "dapi"), "nuclei": str(tuned / "nuclei")}
    block["segment"]["labels"] = "nuclei"
    assert run_job(make_job(tuned, layers, [block], chunk=[64, 64, 64])) == "complete"
    ids = np.unique(read_layer(tuned / "nuclei"))
    found = id_voxels(ids[ids > 0], SIZE) + np.array(START) + 0.5
    box = Box.parse(BOX)
    size = np.array(VOXEL) / 1000
    marked = cells[((cells >= box.start) & (cells < box.stop)).all(axis=1)] * size
    score = match_points(found * size, marked, TOLERANCE)
    assert promised["cells"] == len(marked)
    assert promised["right"] == score.matched
    # At three sides the volume ends with the region; at the others a peak may be of a cell just beyond.
    judged = (found < np.array(box.stop) - [3, 3, 0]).all(axis=1)
    assert promised["wrong"] == judged.sum() - match_points(found[judged] * size, marked, TOLERANCE).matched
    total = 2 * promised["right"] + promised["wrong"] + promised["missed"]
    assert promised["f1"] == pytest.approx(2 * promised["right"] / total)
    assert promised["f1"] > 0.85
    assert 4 <= block["segment"]["diameter"] <= 14
    assert promised["f1"] == promised[promised["proposed"]]["f1"] >= promised["automatic"]["f1"]
    assert (promised["proposed"] == "chosen") == (
        promised["gain"]["f1_at_least"] >= 0 < promised["gain"]["f1"]
    )


def test_the_report_shows_it_and_stands_alone(tuned: Path) -> None:
    report = (tuned / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 2
    assert "http" not in report.replace("http-equiv", "")
    assert (tuned / "segment.yaml").read_text().strip() in report
    assert "<td>chosen</td>" in report
    assert "<td>automatic</td>" in report
    assert "with 90 % certainty; better in" in report


def test_what_is_called_automatic_is_what_segment_decides(
    scene: tuple[Path, np.ndarray], tuned: Path, tmp_path: Path
) -> None:
    folder, _ = scene
    promised = json.loads((tuned / "tuned.json").read_text())["automatic"]
    assert promised["diameter"] == 8
    assert promised["contrast"] == 2 * promised["threshold"]
    found = []
    for threshold in ("auto", promised["threshold"]):
        at = tmp_path / str(threshold)
        at.mkdir()
        task = {"segment": {"image": "dapi", "labels": "nuclei", "threshold": threshold}}
        layers = {"dapi": str(folder / "dapi"), "nuclei": str(at / "nuclei")}
        assert run_job(make_job(at, layers, [task], chunk=[64, 64, 64])) == "complete"
        found.append(read_layer(at / "nuclei"))
    assert len(np.unique(found[0])) > 5
    np.testing.assert_array_equal(*found)


def test_cells_that_show_nothing_better_leave_it_automatic(
    scene: tuple[Path, np.ndarray], command: Command, tmp_path: Path
) -> None:
    """Where the automatic threshold finds all there is, no other setting can be better."""
    folder, _ = scene
    said = command(
        *("tune", "segment", folder / "clear", "--points", folder / "cells.csv", "--box", BOX),
        *("--to", tmp_path / "few", "--tolerance", TOLERANCE, "--diameter", 7),
    )
    assert said.code == 0
    document = json.loads((tmp_path / "few" / "tuned.json").read_text())
    assert document["proposed"] == "automatic"
    assert document["automatic"]["f1"] > 0.95
    assert document["gain"]["f1"] <= 0
    assert document["parameters"] == {"image": "clear", "diameter": 7, "threshold": "auto"}
    assert document["f1"] == document["automatic"]["f1"]
    words = " ".join(said.out.split())
    assert "does not show that it is better, so threshold: auto is proposed" in words


def test_the_same_cells_in_another_order_give_the_same(
    scene: tuple[Path, np.ndarray], tuned: Path, command: Command, tmp_path: Path
) -> None:
    folder, cells = scene
    write_points(tmp_path / "shuffled.csv", np.random.default_rng(1).permutation(cells))
    said = command(
        *("tune", "segment", f"{folder / 'dapi'}/", "--points", tmp_path / "shuffled.csv", "--box", BOX),
        *("--to", tmp_path / "again", "--tolerance", TOLERANCE),
    )
    assert said.code == 0
    first, again = (json.loads((path / "tuned.json").read_text()) for path in (tuned, tmp_path / "again"))
    assert first["image"] + "/" == again["image"]
    assert {**first, "points": "", "image": ""} == {**again, "points": "", "image": ""}


def test_without_a_box_the_points_tell_the_region() -> None:
    """Points spread evenly in a box say where it ends, to a few parts in a hundred."""
    random = np.random.default_rng(2)
    volume = Box((0, 0, 0), (400, 400, 400))
    truth = np.array([[100, 50, 200], [300, 150, 240]])
    ends = []
    for _ in range(200):
        box = box_of_cells(random.uniform(*truth, (20, 3)), volume)
        ends.append([box.start, box.stop])
    assert (np.abs(np.mean(ends, axis=0) - truth) < 0.02 * (truth[1] - truth[0]) + 1.5).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--box", "0-14,-20--10,30-34"], ["of", "marked cells lie in", "at least 3"]),
        (["--box", "500-600,0-10,30-40"], ["outside of the image"]),
        (["--box", "5"], ["box takes"]),
        (["--diameters", "9-4"], ["not from 9 to 4"]),
        (["--diameters", "small"], ["--diameters takes LOW-HIGH"]),
        (["--diameters", "1e-9-1e9"], ["--diameters"]),
        (["--diameter", "0"], ["diameter of a cell", "above 0"]),
        (["--tolerance", "0"], ["tolerance takes a distance above 0"]),
        (["--channel", "1"], ["there is no 1"]),
        (["--class", "cell"], ["no classes"]),
        (["--unit", "feet"], ["feet"]),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    scene: tuple[Path, np.ndarray], command: Command, tmp_path: Path, words: list[str], said: list[str]
) -> None:
    folder, _ = scene
    told = command(
        *("tune", "segment", folder / "dapi", "--points", folder / "cells.csv"),
        *("--to", tmp_path / "tuned", *words),
    )
    assert told.code == 2
    assert all(text in " ".join(told.err.split()) for text in said), told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "tuned").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y,z\n", "no points"),
        ("", "empty"),
        ("x,y,z\n20,0,40\n20,nan,40\n21,3,40\n22,3,40\n", "line 3"),
        ("x,y,z\n20,0,40\n2000,0,40\n21,3,40\n", "outside of the volume"),
        ("id,class\n7,cell\n", "no places"),
        ("x,y,z\n20,0,40\n20,0,40\n21,3,40\n", "same place"),
        ("x,y,z,class\n20,0,40,a\n21,5,40,b\n21,3,40,a\n", "several classes (a, b)"),
        ("x,y,z\n20,0,40\n30,3,40\n", "at least 3"),
    ],
)
def test_wrong_points_are_refused(
    scene: tuple[Path, np.ndarray], command: Command, tmp_path: Path, content: str, said: str
) -> None:
    folder, _ = scene
    (tmp_path / "p.csv").write_text(content)
    told = command(
        "tune", "segment", folder / "dapi", "--points", tmp_path / "p.csv", "--to", tmp_path / "tuned"
    )
    assert told.code == 2
    assert said in " ".join(told.err.split())
    assert not (tmp_path / "tuned").exists()


def test_other_refusals(
    scene: tuple[Path, np.ndarray], tuned: Path, command: Command, tmp_path: Path
) -> None:
    folder, _ = scene
    points = ("--points", folder / "cells.csv", "--to", tmp_path / "new")
    assert "is a segmentation" in command("tune", "segment", folder / "labels", *points).err
    assert "is not a layer" in command("tune", "segment", folder / "nothing", *points).err
    assert "only segment" in command("tune", "measure", folder / "dapi", *points).err
    again = command("tune", "segment", folder / "dapi", "--points", folder / "cells.csv", "--to", tuned)
    assert (again.code, "(overwrite)" in again.err) == (2, True)
    empty = make_layer(tmp_path / "dark", np.full(SIZE, 7, np.uint16), voxel_size=VOXEL, offset=START)
    assert "No setting finds any" in command("tune", "segment", empty, *points).err
    floats = np.zeros(SIZE, np.float32)
    floats[5, 5, 5] = np.nan
    broken = make_layer(tmp_path / "nan", floats, voxel_size=VOXEL, offset=START)
    assert "not numbers" in command("tune", "segment", broken, *points).err
    assert not (tmp_path / "new").exists()


def test_a_function_gives_what_the_command_writes(scene: tuple[Path, np.ndarray], tuned: Path) -> None:
    folder, _ = scene
    points = folder / "cells.csv"
    found = tune(folder / "dapi", points, Box.parse(BOX), tolerance_um=TOLERANCE)
    assert found.document() == json.loads((tuned / "tuned.json").read_text())
    assert found.block() == (tuned / "segment.yaml").read_text().strip()
    assert found.interval.low <= found.f1 <= found.interval.high <= 1
    assert repr(found).endswith(found.block())
    page = found._repr_html_()
    assert page[page.index("<h1>") : page.rindex("</div>")].strip() in (tuned / "report.html").read_text()
    with pytest.raises(BadInput, match=r"exists already.*\(overwrite\)"):
        found.write(tuned)
    image = layer_at(full_url(str(folder / "dapi")))
    found = tune(image, points, Box.parse(BOX), tolerance_um=TOLERANCE, diameters_um=(6, 8))
    assert found.parameters["image"] == "dapi"
    assert 6 <= found.proposed.diameter <= 8
    assert list(found.surface.diameters) == [6.0, 7.14, 8.0]


def test_diameters_go_up_by_a_quarter_of_an_octave() -> None:
    assert diameters_between(4, 8) == [4.0, 4.76, 5.66, 6.73, 8.0]
    assert diameters_between(9, 9) == [9.0]
    assert diameters_around(5, 4, 8) == [4.0, 4.76, 5.0, 5.66, 6.73, 8.0]
    assert diameters_around(40, 4, 5) == [4.0, 4.76, 40.0]
    with pytest.raises(BadInput, match="give a narrower range"):
        diameters_between(1e-9, 1e9)


def test_cells_overcome_a_diameter_that_is_not_theirs(scene: tuple[Path, np.ndarray]) -> None:
    folder, _ = scene
    found = tune(
        folder / "dapi", folder / "cells.csv", Box.parse(BOX), tolerance_um=TOLERANCE, diameter_um=20
    )
    assert found.gain.shown
    assert found.proposed == found.chosen
    assert found.chosen.f1 > found.automatic.f1
    assert found.chosen.diameter < 14
