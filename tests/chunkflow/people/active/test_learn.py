"""The loop of learning: rounds that follow from the labels, whoever is killed, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkflow.data.tables import read_table
from chunkflow.errors import BadInput, DamagedInput
from chunkflow.jobs.locate import open_table
from chunkflow.people.learning.active import learn as loop
from chunkflow.people.learning.active.learn import Awaited, Learned, learn
from chunkflow.people.learning.active.rounds import Round, is_settled
from chunkflow.people.learning.features import feature_rows
from chunkflow.people.learning.model import load
from chunkflow.people.review.queries import TO_LEARN
from chunkflow.people.review.reviewing import ReviewPlace, open_log
from tests.support.people.learners import Knowing
from tests.support.people.reviews import decide

Begin = Callable[..., Learned]


@pytest.fixture
def begin(ann: Knowing, tmp_path: Path) -> Begin:
    """Learns from ann's log, in a folder of the test."""

    def begin(**settings: Any) -> Learned:
        given = {"database": ann.database, "folder": tmp_path / "learnt", "batch": 10} | settings
        return learn(f"{ann.work}:objects", **given)

    return begin


def queue_of(person: Knowing) -> list[int] | None:
    found = ReviewPlace.find(f"{person.work}:objects")
    with closing(open_log(person.database)) as log:
        return log.lists.ids(found.opened(log).table, TO_LEARN)


def shares_right(learned: Learned, person: Knowing) -> list[float]:
    """The share of all objects that each round's model is right about."""
    info = open_table(f"{person.work}:objects")
    rows = read_table(info, info.bounds)
    true = np.array([person.truth.get(id, "rejected") for id in rows["id"].to_pylist()])
    found = []
    for one in learned.rounds:
        if one.model:
            model = load(str(learned.folder / one.model))
            features = feature_rows(rows, model.description.features)
            names = np.array(model.description.classes)
            found.append(float((names[model.decide(model.probabilities(features))] == true).mean()))
    return found


def test_rounds_learn_from_what_is_decided_and_ask_for_more(ann: Knowing, begin: Begin) -> None:
    heard: list[Round | Awaited] = []
    learned = begin(rounds=6, listeners=[heard.append, ann.answer()])
    assert [one.number for one in learned.rounds] == [1, 2, 3, 4, 5, 6]
    assert [one.labelled for one in learned.rounds] == [0, 10, 20, 30, 40, 50]
    assert [one.strategy for one in learned.rounds][:1] == ["coverage"]
    assert {one.strategy for one in learned.rounds[2:]} == {"margin-diverse"}
    assert [(len(one.chosen), len(one.random)) for one in learned.rounds] == [(8, 2)] * 6
    asked = [id for one in learned.rounds for id in one.queue]
    assert len(set(asked)) == 60
    right = shares_right(learned, ann)
    assert right[-1] >= max(0.85, right[0])
    last = learned.rounds[-1]
    assert last.scores is not None
    assert last.scores.objects == 10
    assert last.kappa is not None
    assert last.minutes >= 1
    assert queue_of(ann) == [int(id) for id in last.queue]
    assert "PR AUC" in learned.page.read_text()
    assert heard == list(learned.rounds)
    assert begin(rounds=3, wait=False).rounds[-1].number == 7  # the last batch is decided, too
    assert begin(rounds=3, wait=False).rounds[-1].number == 7  # nothing was decided since


def test_the_review_begins_with_what_is_asked_for(ann: Knowing, begin: Begin) -> None:
    queue = begin(rounds=1).rounds[0].queue
    found = ReviewPlace.find(f"{ann.work}:objects")
    with closing(open_log(ann.database)) as log:
        live = found.opened(log)
        assert next(iter(live.queries())) == TO_LEARN
        seen = []
        while (given := live.next(TO_LEARN, None).described) is not None:
            seen.append(given["id"])
            ann.decide((given["id"],))
            live.follow()
        assert tuple(seen) == queue


def test_the_same_labels_and_seed_give_the_same_rounds(ann: Knowing, begin: Begin, tmp_path: Path) -> None:
    first = begin(rounds=3, listeners=[ann.answer()])
    again = Knowing(ann.work, str(tmp_path / "again.sqlite"), ann.truth)
    second = begin(rounds=3, listeners=[again.answer()], database=again.database, folder=tmp_path / "again")
    other = Knowing(ann.work, str(tmp_path / "other.sqlite"), ann.truth)
    third = begin(
        rounds=1, listeners=[other.answer()], database=other.database, folder=tmp_path / "o", seed=1
    )
    queues = [[one.queue for one in learned.rounds] for learned in (first, second, third)]
    assert queues[0] == queues[1]
    assert queues[0][0] != queues[2][0]


def test_it_waits_for_the_batch_whoever_decides_it(
    ann: Knowing, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(loop, "REMIND_SECONDS", 0.05)
    begin(rounds=1)
    heard: list[Round | Awaited] = []

    def told(event: Round | Awaited) -> None:
        heard.append(event)
        if len(heard) == 2:  # the reminder
            ann.decide(queue[:5])
        if len(heard) == 3:  # another one, of those that are left
            Knowing(ann.work, ann.database, ann.truth, "bo").decide(queue[5:])

    queue = tuple(map(str, queue_of(ann) or ()))
    learned = begin(rounds=1, listeners=[told])
    assert learned.rounds[-1].labelled == 10
    assert [one.left for one in heard if isinstance(one, Awaited)][:3] == [10, 10, 5]
    assert str(heard[0]) == "10 objects wait for people to decide on them."
    assert isinstance(heard[-1], Round)


def test_a_model_of_another_brain_begins(ann: Knowing, begin: Begin, tmp_path: Path) -> None:
    elsewhere = begin(rounds=5, listeners=[ann.answer()])
    bo = Knowing(ann.work, str(tmp_path / "bo.sqlite"), ann.truth, "bo")
    learned = begin(
        rounds=2, start=elsewhere.model, listeners=[bo.answer()], database=bo.database, folder=tmp_path / "b"
    )
    first = learned.rounds[0]
    assert first.strategy == "margin-diverse"
    assert any("chooses: it is sure (0.9) of" in remark for remark in first.remarks)
    with pytest.raises(BadInput, match="give `features` or `start`"):
        begin(rounds=1, start=elsewhere.model, features=["*_mean"])


def test_all_is_decided_in_the_end(ann: Knowing, begin: Begin) -> None:
    count = len(read_table(open_table(f"{ann.work}:objects"), open_table(f"{ann.work}:objects").bounds))
    learned = begin(batch=count + 50, rounds=5, listeners=[ann.answer()])
    assert [len(one.queue) for one in learned.rounds] == [count, 0]
    assert "nothing is left" in str(learned.rounds[-1])


def test_what_was_deleted_is_not_asked_for(ann: Knowing, begin: Begin) -> None:
    count = len(read_table(open_table(f"{ann.work}:objects"), open_table(f"{ann.work}:objects").bounds))
    first = begin(rounds=1).rounds[0].queue
    decide(
        f"{ann.work}:objects", *({"operation": "delete", "object": id} for id in first), database=ann.database
    )
    second = begin(rounds=1, batch=count).rounds[1]
    assert len(second.queue) == count - len(first)
    assert not set(first) & set(second.queue)
    assert second.labelled == 0


def test_labels_of_one_class_ask_for_others(ann: Knowing, begin: Begin) -> None:
    ann.truth = dict.fromkeys(ann.truth, "neuron")
    learned = begin(rounds=3, listeners=[ann.answer()])
    assert not any(one.model for one in learned.rounds)
    assert {one.strategy for one in learned.rounds} == {"coverage"}
    assert "too few labels" in " ".join(learned.rounds[-1].remarks)


def test_it_is_settled_when_models_agree() -> None:
    def rounds(*kappas: float | None) -> list[Round]:
        empty: dict[str, Any] = {"labels": {}, "minutes": 0, "seed": 0, "strategy": "margin"}
        empty |= {"chosen": (), "random": (), "queue": ()}
        return [Round(number=n, edit=n, kappa=value, **empty) for n, value in enumerate(kappas)]

    assert not is_settled(rounds(None, 0.99, 0.99), 0.99)
    assert is_settled(rounds(0.2, 1.0, 0.98, 0.99), 0.99)
    assert not is_settled(rounds(1.0, 0.9, 0.99, 0.99), 0.99)


def test_bad_input_is_refused_before_anything_is_written(begin: Begin, tmp_path: Path) -> None:
    for settings, said in [
        ({"batch": 1}, "at least 2 objects"),
        ({"rounds": 0}, "rounds are at least 1"),
        ({"strategy": "best"}, "no strategy 'best'"),
        ({"estimator": "sklearn.svm:Nothing"}, "cannot be imported"),
        ({"features": ["nothing_*"]}, "No column of numbers"),
        ({"features": "volume_um3"}, "features takes a list"),
        ({"start": tmp_path / "none.skops"}, "There is no model"),
    ]:
        with pytest.raises(BadInput, match=said):
            begin(**settings)
    assert not (tmp_path / "learnt").exists()


def test_a_damaged_round_is_told(ann: Knowing, begin: Begin) -> None:
    learned = begin(rounds=1)
    (file,) = learned.folder.glob("round-*.json")
    file.write_text("{")
    with pytest.raises(DamagedInput, match="cannot be read: move its folder away"):
        begin(rounds=1)
