"""Evaluation of points and labels: its numbers against others', its layer read back, what it refuses."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import adapted_rand_error, variation_of_information
from sklearn.metrics import average_precision_score

from chunkflow.data.describe import describe, layer_at, read_info
from chunkflow.data.folder import Folder
from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.formats.export.annotations import annotation_rows, space_of
from chunkflow.geometry import Box
from chunkflow.people.evaluation.evaluate import evaluate
from tests.support.commands import Command, Said
from tests.support.jobs import make_job, make_layer, run_job

VOXEL = (1000.0, 1000.0, 2000.0)
SIZE = (60, 50, 40)
START = (10, -20, 30)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels, the same grown, moved and merged here and there, and an image, all of one volume."""
    folder = tmp_path_factory.mktemp("evaluate")
    random = np.random.default_rng(7)
    marks = np.zeros(SIZE)
    marks[tuple((random.random((45, 3)) * SIZE).astype(int).T)] = 1
    true, count = ndimage.label(ndimage.gaussian_filter(marks, (2, 2, 1)) > 0.012)
    assert count > 12
    found = np.roll(true, (1, 0, 0), (0, 1, 2)).astype(np.uint64)
    found[found == 3] = 2**40
    found[true == 5] = 0
    found[30:34, 5:9, 30:34] = 77
    make_layer(folder / "true", true.astype(np.uint32), "segmentation", VOXEL, START)
    make_layer(folder / "found", found, "segmentation", VOXEL, START)
    make_layer(folder / "image", true.astype(np.uint16), "image", VOXEL, START)
    make_layer(folder / "finer", true.astype(np.uint32), "segmentation", (500.0, 500.0, 1000.0), START)
    make_layer(folder / "smaller", true[:40].astype(np.uint32), "segmentation", VOXEL, START)
    np.savez(folder / "both.npz", true=true, found=found)
    return folder


def in_report(folder: Path, said: Said) -> dict[str, Any]:
    """The numbers, once the report is seen to stand alone."""
    assert (said.code, said.err) == (0, "")
    page = (folder / "evaluation.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert 'src="http' not in page
    assert not list(folder.glob(".evaluate-*"))
    text = (folder / "evaluation.json").read_text()
    document: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON
    return document


def write_points(path: Path, places: np.ndarray, **columns: np.ndarray) -> Path:
    table = np.column_stack([places, *columns.values()])
    np.savetxt(
        path, table, delimiter=",", header=",".join(["x", "y", "z", *columns]), comments="", fmt="%.9g"
    )
    return path


@pytest.fixture
def marked(tmp_path: Path) -> tuple[Path, Path, np.ndarray]:
    """120 places far apart; 100 of them true, of which 80 are found nearby, and 20 found that are not."""
    random = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*(np.arange(4, size - 4, 9) for size in SIZE), indexing="ij"))
    places = random.permutation(grid.reshape(3, -1).T)[:120].astype(float) + START
    found = np.concatenate([places[:80], places[100:]])
    found += random.uniform(-0.5, 0.5, found.shape)
    probability = np.concatenate([random.uniform(0.3, 1.0, 80), random.uniform(0.0, 0.7, 20)])
    return (
        write_points(tmp_path / "found.csv", found, probability=probability),
        write_points(tmp_path / "true.csv", places[:100]),
        probability,
    )


def test_points_are_scored(
    volume: Path, marked: tuple[Path, Path, np.ndarray], command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    found, true, probability = marked
    monkeypatch.chdir(tmp_path)
    numbers = in_report(
        tmp_path,
        command(
            "evaluate",
            found,
            true,
            "--tolerance",
            "2um",
            "--like",
            volume / "image",
            "--annotations",
            "shown",
            "--serial",
        ),
    )
    scores = numbers["scores"]
    assert (scores["found"], scores["true"], scores["matched"]) == (100, 100, 80)
    assert scores["F1"] == scores["precision"] == scores["recall"] == pytest.approx(0.8)
    flags = np.arange(100) < 80
    # A classifier's recall goes up to what there is to find; here 20 true points are never found.
    expected = average_precision_score(flags, probability) * 0.8
    assert scores["average precision"] == pytest.approx(expected, rel=1e-6)
    low, high = numbers["intervals"]["F1"]
    assert 0.68 < low < 0.8 < high < 0.9
    assert "blocks of space" in numbers["intervals_by_drawing"]
    assert numbers["over"]["F1"][-1] >= numbers["over"]["F1"][0]

    document = read_info(f"file://{tmp_path}/shown")
    url = f"file://{tmp_path}/shown"
    info = space_of(url, document)
    rows = [row for piece in annotation_rows(url, document, info) for row in piece.to_pylist()]
    kinds = [row["outcome"] for row in rows]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"found": 80, "missed": 20, "wrong": 20}
    assert len({row["color"] for row in rows}) == 3
    again = command(
        "evaluate", found, true, "--like", volume / "image", "--to", "b.html", "--annotations", "shown"
    )
    assert (again.code, "not touched" in again.err) == (2, True)
    assert not Path("b.html").exists()


def test_a_table_of_a_job_is_compared_in_its_own_voxels(
    volume: Path, command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    job = make_job(tmp_path, {"found": str(volume / "found")}, [{"measure": {"labels": "found"}}])
    assert run_job(job) == "complete"
    both = np.load(volume / "both.npz")["true"]
    centres = np.array(ndimage.center_of_mass(both > 0, both, np.unique(both[both > 0]))) + 0.5
    write_points(tmp_path / "true.csv", (centres + START) * [1, 1, 2])
    numbers = in_report(
        tmp_path,
        command("evaluate", f"{tmp_path}/work:objects", "true.csv", "--unit", "um", "--tolerance", "3"),
    )
    scores = numbers["scores"]
    assert scores["true"] == len(centres)
    assert scores["matched"] >= len(centres) - 3
    assert 0.9 < scores["median distance of a pair, um"] < 1.1  # as far as the labels were moved
    part = command(
        *("evaluate", f"{tmp_path}/work:objects", "true.csv", "--unit", "um", "--box", "10-40,-20-30,30-70"),
        *("--to", "part.html"),
    )
    assert part.code == 0
    assert json.loads(Path("part.json").read_text())["scores"]["true"] < len(centres)


def test_labels_are_scored_as_the_whole_volume_is(
    volume: Path, command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    said = command("evaluate", volume / "found", volume / "true", "--serial", "--annotations", "shown")
    numbers = in_report(tmp_path, said)
    scores = numbers["scores"]
    both = np.load(volume / "both.npz")
    found, true = both["found"], both["true"]
    small = np.unique(found, return_inverse=True)[1].reshape(found.shape)  # scikit-image takes few ids
    split, merge = variation_of_information(true, small)
    assert scores["variation of information, split, bits"] == pytest.approx(split)
    assert scores["variation of information, merge, bits"] == pytest.approx(merge)
    assert scores["adapted Rand error"] == pytest.approx(adapted_rand_error(true, small)[0])
    shares = [
        ((found == i) & (true == j)).sum() / ((found == i) | (true == j)).sum()
        for i in np.unique(found[found > 0])
        for j in np.unique(true[(found == i) & (true > 0)])
    ]
    total = len(np.unique(found)) + len(np.unique(true)) - 2
    for least, f1 in zip(numbers["over"]["IoU"][1:], numbers["over"]["F1"][1:], strict=True):
        assert f1 == pytest.approx(2 * sum(share >= least for share in shares) / total)
    assert 0 < scores["F1"] < 1
    assert Folder(f"file://{tmp_path}/shown").exists("info")


def test_nothing_found_is_a_score_too(
    volume: Path, marked: tuple[Path, Path, np.ndarray], command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.csv").write_text("x,y,z,probability\n")
    numbers = in_report(tmp_path, command("evaluate", "none.csv", marked[1], "--like", volume / "image"))
    assert (numbers["scores"]["F1"], numbers["scores"]["recall"]) == (0, 0)
    empty = command("evaluate", marked[0], "none.csv", "--like", volume / "image", "--to", "b.html")
    assert (empty.code, "nothing" in empty.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["FOUND", "TRUE"], "the layer whose voxels they are in (like)"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--tolerance", "near"], "tolerance takes"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--tolerance", "-3um"], "tolerance takes"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--score", "fame"], "no column fame"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--class", "cell"], "tells classes"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--to", "a.pdf"], "must end in .html"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--to", "no/a.html"], "no folder"),
        (["FOUND", "TRUE", "--like", "IMAGE", "--box", "500-600,0-1,0-1"], "nothing within"),
        (["FOUND", "nothing.csv", "--like", "IMAGE"], "neither a file"),
        (["FOUND", "LABELS"], "labels, "),
        (["IMAGE", "LABELS"], "is an image"),
        (["LABELS", "FINER"], "same voxels"),
        (["LABELS", "SMALLER"], "one volume"),
        (["BROKEN", "TRUE", "--like", "IMAGE"], "line 3"),
        (["LABELS", "LABELS", "--serial", "--address", "ray://a:1"], "give one of them"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(
    volume: Path,
    marked: tuple[Path, Path, np.ndarray],
    command: Command,
    tmp_path: Path,
    monkeypatch: Any,
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.csv").write_text("x,y,z\n20,0,40\n20,nan,40\n")
    places: dict[str, Any] = {"FOUND": marked[0], "TRUE": marked[1], "BROKEN": "broken.csv"}
    places |= {"IMAGE": volume / "image", "LABELS": volume / "true"}
    places |= {"FINER": volume / "finer", "SMALLER": volume / "smaller"}
    before = sorted(tmp_path.iterdir())
    told = command("evaluate", *(places.get(word, word) for word in words))
    assert told.code == 2
    assert said in " ".join(told.err.split())
    assert told.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_function_gives_what_the_command_writes(
    volume: Path, marked: tuple[Path, Path, np.ndarray], command: Command, tmp_path: Path, monkeypatch: Any
) -> None:
    found, true, _ = marked
    monkeypatch.chdir(tmp_path)
    image = layer_at(full_url(str(volume / "image")))
    before = sorted(tmp_path.iterdir())
    scores = evaluate(found, true, tolerance_um=2, like=image)
    assert sorted(tmp_path.iterdir()) == before
    said = command("evaluate", found, true, "--tolerance", "2um", "--like", volume / "image")
    assert scores.document() == in_report(tmp_path, said)
    assert repr(scores) in said.out
    assert (scores.f1, scores.precision, scores.recall) == pytest.approx((0.8, 0.8, 0.8))
    assert scores.intervals["F1"].low < scores.f1 < scores.intervals["F1"].high

    page = scores._repr_html_()
    whole = (tmp_path / "evaluation.html").read_text()
    drawn = page[page.index("<h1>") : page.rindex("</div>")].strip()
    assert drawn in whole
    assert page.count("<style>.chunkflow-page{") == page.count("<style>") == 1  # a notebook keeps its look
    with pytest.raises(BadInput, match=r"exists already.*\(overwrite\)"):
        scores.write("evaluation.html")
    (tmp_path / "evaluation.html").unlink()
    scores.write("evaluation.html", overwrite=True)
    assert (tmp_path / "evaluation.html").read_text() == whole
    with pytest.raises(BadInput, match="a distance above 0"):
        evaluate(found, true, tolerance_um=0, like=image)


def test_tables_and_labels_are_compared_as_objects(volume: Path, tmp_path: Path, monkeypatch: Any) -> None:
    job = make_job(tmp_path, {"true": str(volume / "true")}, [{"measure": {"labels": "true"}}])
    assert run_job(job) == "complete"
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    table = describe(full_url(f"{tmp_path}/work/tables/objects"), 0, "table")
    part = Box((10, -20, 30), (40, 30, 70))
    same = evaluate(table, table, box=part)
    assert (same.f1, same.box) == (1, part)
    assert same.values["true"] < evaluate(table, table).values["true"]
    found, true = (layer_at(full_url(str(volume / name))) for name in ("found", "true"))
    labels = evaluate(found, true, serial=True)
    assert 0 < labels.f1 < 1
    assert "adapted Rand error" in labels.values
    assert list(empty.iterdir()) == []
    with pytest.raises(BadInput, match="is an image"):
        evaluate(layer_at(full_url(str(volume / "image"))), true)
    with pytest.raises(BadInput, match="scratch"):
        evaluate(found, true, address="ray://127.0.0.1:1")


def test_evaluations_side_by_side_do_not_disturb_each_other(
    volume: Path, marked: tuple[Path, Path, np.ndarray]
) -> None:
    found, true, _ = marked

    def page(tolerance_um: float) -> str:
        return evaluate(found, true, tolerance_um=tolerance_um, like=volume / "image")._repr_html_()

    tolerances = [0.5, 1.0, 2.0, 4.0]
    with ThreadPoolExecutor(len(tolerances)) as threads:
        assert list(threads.map(page, tolerances)) == list(map(page, tolerances))
