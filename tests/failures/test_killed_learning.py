"""A learning that is killed at any moment, again and again, makes the rounds of one that was left alone."""

from __future__ import annotations

import multiprocessing
import random
import time
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from chunkflow.people.learning.active.learn import learn
from chunkflow.people.learning.active.rounds import KeptRounds, Round
from chunkflow.people.learning.model import load
from tests.support.people.learners import Knowing

ROUNDS, KILLS, BATCH, SECONDS = 5, 20, 8, 120
MODULES = ["chunkflow.people.learning.active.learn", "sklearn.svm", "sklearn.cluster", "sqlalchemy"]


def go_on(work: str, database: str, folder: str, rounds: int) -> None:
    learn(f"{work}:objects", batch=BATCH, rounds=rounds, database=database, folder=folder)


@pytest.fixture
def processes() -> ForkServerContext:
    """Processes that have what they need as they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


def made_in(folder: Path) -> list[Round]:
    """The rounds in the one folder of a table there."""
    found = list(folder.glob("objects-*"))
    return KeptRounds(found[0]).read() if found else []


def wait_for_a_round(folder: Path, made: int) -> None:
    """Wait until there are more rounds than that."""
    until = time.monotonic() + SECONDS
    while len(made_in(folder)) == made and time.monotonic() < until:
        time.sleep(0.05)


def test_a_killed_learning_goes_on_as_if_nothing_had_been(
    processes: ForkServerContext, learnt_work: str, learnt_truth: dict[int, str], tmp_path: Path
) -> None:
    work, truth = learnt_work, learnt_truth
    alone = Knowing(work, str(tmp_path / "alone.sqlite"), truth)
    expected = learn(
        f"{work}:objects",
        batch=BATCH,
        rounds=ROUNDS,
        database=alone.database,
        folder=tmp_path / "alone",
        listeners=[alone.answer()],
    )
    ann, folder = Knowing(work, str(tmp_path / "killed.sqlite"), truth), tmp_path / "killed"
    dice, killed, decided = random.Random(4), 0, 0
    for attempt in count():
        made = made_in(folder)
        for one in made[decided:]:
            ann.decide(one.queue)
        decided = len(made)
        if len(made) == ROUNDS:
            break
        assert attempt < 200
        arguments = (work, ann.database, str(folder), ROUNDS - len(made))
        process = processes.Process(target=go_on, args=arguments)
        process.start()
        # a round takes some tenths of a second: now and then it is made, and in the end it may be
        process.join(dice.uniform(0.0, 0.6))
        if killed < KILLS:
            killed += process.is_alive()
        else:
            wait_for_a_round(folder, decided)
        process.kill()
        process.join()
    assert killed >= KILLS / 2
    assert [one.queue for one in made] == [one.queue for one in expected.rounds]
    assert [one.labels for one in made] == [one.labels for one in expected.rounds]
    place = next(folder.glob("objects-*"))
    assert all(load(str(place / one.model)) for one in made if one.model)
