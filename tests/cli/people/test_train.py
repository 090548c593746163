"""Training: labels of any kind, and a model that the task takes."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chunkflow.data.describe import describe
from chunkflow.data.info import full_url
from chunkflow.errors import BadInput
from chunkflow.people.learning.model import load
from chunkflow.people.learning.train import Trained
from chunkflow.people.learning.train import train as train_model
from tests.support.commands import Command
from tests.support.jobs import make_job, read_table, run_job

NAIVE = ("--estimator", "sklearn.naive_bayes:GaussianNB")
"""As good here, and quick."""


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a synthetic brain, measured, and files of labels for it."""
    folder = tmp_path_factory.mktemp("brain")
    layers = {name: str(folder / name) for name in ("dapi", "cfos", "nuclei")}
    tasks = [
        {"synthesize": {"dapi": "dapi", "cfos": "cfos", "cells": "cells", "size": [320, 320, 96]}},
        {"segment": {"image": "dapi", "labels": "nuclei", "diameter": 9}},
        {"measure": {"labels": "nuclei", "images": ["dapi", "cfos"], "objects": "objects"}},
    ]
    job = make_job(folder, layers, tasks, chunk=[192, 192, 128])
    assert run_job(job) == "complete"
    cells = read_table(folder / "work" / "tables" / "cells")
    pa.csv.write_csv(cells.select(["x", "y", "z", "class"]), folder / "places.csv")
    pq.write_table(cells.select(["x_um", "y_um", "z_um", "class"]), folder / "places.parquet")
    objects = read_table(folder / "work" / "tables" / "objects")
    volume = objects["volume_um3"].to_numpy()
    large = np.where(volume > np.quantile(volume, 0.2), "large", "small")
    by_id = {"id": objects["id"], "class": pa.array(large)}
    pa.csv.write_csv(pa.table(by_id), folder / "ids.csv")
    rows = zip(objects["id"].to_pylist(), large.tolist(), strict=True)
    (folder / "ids.json").write_text(json.dumps([{"id": n, "class": name} for n, name in rows]))
    return folder


def test_neurons_and_glia_are_told_apart_nearly_as_well_as_can_be(
    brain: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "cells.skops"
    said = command("train", "classify", brain / "work", "--labels", brain / "places.csv", "--to", to)
    assert said.code == 0, said.err
    known = load(str(to)).description
    value, low, high = known.scores["classes"]["neuron"]["roc_auc"]
    assert 0.97 <= value <= 0.995  # who knew all of each cell would have 0.988
    assert low < value < high
    assert known.features == [
        *("volume_um3", "diameter_um"),
        *(f"{image}_{what}" for image in ("dapi", "cfos") for what in ("mean", "std", "skew", "kurtosis")),
    ]
    assert known.classes == ["glia", "neuron"]
    assert np.array(known.scores["confusion"]).sum() == sum(known.examples.values())
    page = to.with_suffix(".html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert f"{value:.3f} ({low:.3f}–{high:.3f})" in page
    assert "http" not in page.replace("http-equiv", "")

    layers = {"objects": str(brain / "work" / "tables" / "objects")}
    step = {"classify": {"objects": "objects", "model": str(to), "classes": "cells"}}
    assert run_job(make_job(tmp_path, layers, [step])) == "complete"
    classes = read_table(tmp_path / "work" / "tables" / "cells")["class"].to_pylist()
    assert set(classes) == {"glia", "neuron"}
    assert abs(classes.count("glia") - known.examples["glia"]) < 0.1 * known.examples["glia"]


def test_places_and_ids_of_any_format_give_the_same_model(
    brain: Path, tmp_path: Path, command: Command
) -> None:
    made = {}
    for file in ("places.csv", "places.parquet", "ids.csv", "ids.json"):
        to = tmp_path / f"{file}.skops"
        words = ("train", "classify", f"{brain / 'work'}:objects", "--labels", brain / file, "--to", to)
        said = command(*words, *NAIVE, "--folds", 3)
        assert said.code == 0, said.err
        made[file] = load(str(to)).description.model_copy(update={"trained": ""})
    assert made["places.csv"] == made["places.parquet"]
    assert made["ids.csv"] == made["ids.json"]
    assert made["ids.csv"].data != made["places.csv"].data


def test_a_class_to_be_found_has_its_threshold_in_the_model(
    brain: Path, tmp_path: Path, command: Command
) -> None:
    to = tmp_path / "m.skops"
    words = ["train", "classify", brain / "work" / "tables" / "objects", "--labels", brain / "places.csv"]
    words += ["--to", to, *NAIVE, "--positive", "glia", "--features", "dapi_*", "--seed", 3]
    assert command(*words).code == 0
    known = load(str(to)).description
    assert known.positive == "glia"
    assert 0.02 < known.threshold < 0.98
    assert all(name.startswith("dapi_") for name in known.features)
    assert "from a probability of" in to.with_suffix(".html").read_text()
    assert "exists already" in command(*words).err
    assert command(*words, "--overwrite").code == 0
    assert load(str(to)).description == known


def test_several_works_are_learned_from_and_kept_apart(brain: Path, tmp_path: Path, command: Command) -> None:
    to = tmp_path / "m.skops"
    work, labels = brain / "work", brain / "ids.csv"
    words = ["train", "classify", work, work, "--labels", labels, "--labels", labels, "--to", to, *NAIVE]
    said = command(*words, "--group", "work", "--folds", 5)
    assert said.code == 2
    assert "5 folds need as many groups, but there are 2 groups" in said.err
    assert command(*words, "--group", "work", "--positive", "large").code == 0
    one = len(read_table(work / "tables" / "objects"))
    assert sum(load(str(to)).description.examples.values()) == 2 * one
    page = to.with_suffix(".html").read_text()
    assert "Judged in 2 folds, the objects of one work never in two of them" in page
    assert "where its F1 is largest in the mean over groups (work)" in page


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("id,class\n1,a\n2,b\n", (), "None of the 2 labels of .* means an object"),
        ("id,kind\n1,a\n", (), "has no column `class`"),
        ("id,class\n1,\n", (), "names no class: each row is without one"),
        ("", (), "is empty"),
        (None, (), "There is no .*labels.csv"),
        ("first:a", (), "All 30 labelled objects are of the class a: label some of another"),
        ("first:ab", ("--folds", 16), "16 folds need at least 16 examples of each class, but a has 15"),
        ("first:ab", ("--positive", "c"), "No label is of the positive class c, but a, b"),
        ("first:ab", ("--group", "animal"), "The table .* has no column animal to group by"),
        ("first:ab", ("--features", "gfp_*"), "No column of numbers of the table is named gfp_"),
        ("first:ab", ("--estimator", "SVC"), "An estimator is a classifier as module:Class"),
        ("first:ab", ("--estimator", "sklearn.svm:Nothing"), "cannot be imported"),
        ("first:ab", ("--estimator", "nothing.at.all:SVC"), "cannot be imported: No module named"),
        ("first:ab", ("--estimator", "sklearn.svm:SVR"), "is no classifier"),
        ("first:ab", ("--parameters", "C=3"), "--parameters takes JSON"),
        ("first:ab", ("--parameters", "[3]"), "--parameters takes a JSON object"),
        ("first:ab", ("--parameters", '{"trees": 3}'), "SVC has no parameter trees; it has C,"),
        (
            "first:ab",
            ("--parameters", '{"C": "many"}'),
            "cannot be trained: The 'C' parameter of",
        ),
        (
            "first:ab",
            (
                "--estimator",
                "sklearn.ensemble:HistGradientBoostingClassifier",
                "--parameters",
                '{"max_iter": 2}',
            ),
            "cannot be kept in a model file: it holds sklearn",
        ),
        ("first:ab", ("--labels", "again.csv"), "There are 1 table and 2 files of labels"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    brain: Path, tmp_path: Path, command: Command, content: str | None, words: tuple[str, ...], said: str
) -> None:
    labels, to = tmp_path / "labels.csv", tmp_path / "m.skops"
    if content is not None and content.startswith("first:"):
        ids = read_table(brain / "work" / "tables" / "objects")["id"].to_pylist()[:30]
        kinds = content.removeprefix("first:")
        rows = "".join(f"{number},{kinds[n % len(kinds)]}\n" for n, number in enumerate(ids))
        write(labels, "id,class\n" + rows)
    elif content is not None:
        write(labels, content)
    answer = command("train", "classify", brain / "work", "--labels", labels, "--to", to, *words)
    assert answer.code == 2, answer
    assert re.search(said, " ".join(answer.err.split())), answer.err
    assert not to.exists()
    assert not to.with_suffix(".html").exists()


def test_labels_that_contradict_each_other_are_left_out_and_told(
    brain: Path, tmp_path: Path, command: Command
) -> None:
    text = (brain / "ids.csv").read_text().splitlines()
    first = text[1].split(",")[0]
    labels = write(tmp_path / "l.csv", "\n".join([*text, f'{first},"third"', '7,"large"', f'{first},""']))
    words = ("train", "classify", brain / "work", "--labels", labels, "--to", tmp_path / "m.skops")
    said = command(*words, *NAIVE)
    assert said.code == 0, said.err
    assert f"1 object of {brain / 'work'} labelled as several classes left out: {first}" in said.out
    assert "1 rows of" in said.out
    assert "labels of" in said.out
    assert load(str(tmp_path / "m.skops")).description.classes == ["large", "small"]


@pytest.mark.parametrize(
    ("kinds", "options", "said"),
    [
        ("a", {}, "are of the class a: label some of another, too"),
        ("aaaab", {}, "but b has 2: label more, or ask for fewer folds"),
        ("ab", {"positive": "c"}, "No label is of the positive class c, but a, b"),
        ("ab", {"group": "work"}, "5 folds need as many groups, but there is 1 group: .* group out"),
        ("ab", {"parameters": {"var_smoothing": "none"}}, "cannot be trained: .*"),
    ],
)
def test_what_was_left_out_is_told_where_the_rest_cannot_be_learned_from(
    brain: Path, tmp_path: Path, kinds: str, options: dict[str, Any], said: str
) -> None:
    objects = read_table(brain / "work" / "tables" / "objects")
    ids = objects["id"].to_pylist()[:10]
    rows = [f"{number},{kinds[n % len(kinds)]}" for n, number in enumerate(ids)]
    labels = write(tmp_path / "labels.csv", "\n".join(["id,class", *rows, "7,a", f"{ids[0]},"]))
    left_out = r"\. 1 rows of .* name no class and are left out\. 1 of 11 labels of .* mean no object"
    with pytest.raises(BadInput, match=said + left_out):
        train_model(brain / "work", labels, tmp_path / "m.skops", estimator=NAIVE[1], **options)


def test_without_a_table_nothing_can_be_learned(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no table to train on: give one"):
        train_model([], [], tmp_path / "m.skops")


def test_only_what_has_a_model_can_be_trained(brain: Path, tmp_path: Path, command: Command) -> None:
    words = (brain / "work", "--labels", brain / "ids.csv", "--to")
    assert "No such command 'segment'" in command("train", "segment", *words, tmp_path / "m.skops").err
    assert "must end in .skops" in command("train", "classify", *words, tmp_path / "m.pkl").err
    assert "There is no folder" in command("train", "classify", *words, tmp_path / "no" / "m.skops").err
    other = command(
        "train", "classify", tmp_path, "--labels", brain / "ids.csv", "--to", tmp_path / "m.skops"
    )
    assert other.code == 2
    assert "is not a work folder" in other.err


def test_models_are_trained_side_by_side_as_by_the_command(
    brain: Path, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    table = describe(full_url(str(brain / "work" / "tables" / "objects")), 0, "table")

    def trained(number: int) -> Trained:
        return train_model(
            [table],
            [brain / "places.csv"],
            tmp_path / f"{number}.skops",
            estimator="sklearn.naive_bayes:GaussianNB",
            parameters={"var_smoothing": 1e-8},
            positive="neuron",
            seed=number,
        )

    capsys.readouterr()
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(trained, (1, 2))
    assert capsys.readouterr().out == ""
    to = tmp_path / "m.skops"
    words = ("train", "classify", brain / "work", "--labels", brain / "places.csv", "--to", to, *NAIVE)
    said = command(*words, "--parameters", '{"var_smoothing": 1e-8}', "--positive", "neuron", "--seed", 1)
    assert said.code == 0, said.err
    assert one.description == load(str(to)).description == load(str(one.path)).description
    assert one.scores != two.scores
    assert one.counts["neuron"] + one.counts["glia"] == one.scores["examples"]
    assert all(line in said.out for line in repr(one).splitlines())
    page = one._repr_html_()
    assert page[page.index("<h1>") : page.rindex("</div>")].strip() in one.report.read_text()
    with pytest.raises(BadInput, match=r"exists already.*\(overwrite\)"):
        trained(1)


def test_with_a_group_the_model_is_one_that_carries_over(brain: Path, tmp_path: Path) -> None:
    work, labels = brain / "work", brain / "ids.csv"
    home = train_model(work, labels, tmp_path / "home.skops")
    away = train_model(
        [work, work], [labels, labels], tmp_path / "away.skops", group="work", positive="large"
    )
    assert home.description.estimator.startswith("sklearn.svm:SVC")
    assert away.description.estimator.startswith("sklearn.linear_model:LogisticRegression")
    assert '"class_weight": "balanced"' in away.description.estimator
    assert away.scores["folds"] == 2
