"""The command that learns: rounds of a review, simulated ones, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Command
from tests.support.people.learners import Knowing


def test_rounds_go_on_where_they_were(
    command: Command, learnt_work: str, learnt_truth: dict[int, str], tmp_path: Path
) -> None:
    ann = Knowing(learnt_work, str(tmp_path / "review.sqlite"), learnt_truth)
    place = (f"{learnt_work}:objects", "--database", ann.database, "--folder", tmp_path / "learnt")
    said = command("learn", *place, "--batch", "10", "--now")
    assert said.out.startswith("Round 1: no labels yet; 10 objects are next, by coverage.\n")
    assert "The model is still to come; how the scores rose is in " in said.out
    (page,) = (tmp_path / "learnt").glob("objects-*/learning.html")
    assert "Scores come with the first" in page.read_text()
    ids = tuple(map(str, learnt_truth))[:12]
    ann.decide(ids)
    said = command("learn", *place, "--batch", "10", "--now", "--strategy", "margin", "--positive", "glia")
    assert "10 objects are next, by margin." in said.out
    assert f"The model is {page.parent}/round-0002-edit-12.skops" in said.out


def test_strategies_are_simulated(command: Command, learnt_work: str, tmp_path: Path) -> None:
    features = [word for name in ("radius_um", "brightness", "grain") for word in ("--features", name)]
    strategies = [word for name in ("random", "margin") for word in ("--strategy", name)]
    table = ("--simulate", f"{learnt_work}:cells", "--truth", "class", "--batch", "10")
    page = tmp_path / "tried.html"
    said = command("learn", *table, *features, *strategies, "--rounds", "3", "--seeds", "1", "--to", page)
    assert "margin, seed 0: F1 " in said.out
    assert said.out.endswith(f"The curves are in {page}.\n")
    assert "What strategies would have needed" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give the table to learn"),
        (("work", "--simulate", "work"), "Give the table to learn"),
        (("--simulate", "work:cells"), "Say which column"),
        (("work", "--strategy", "margin", "--strategy", "random"), "A review has one strategy"),
        (("nowhere/work",), "nowhere/work"),
    ],
)
def test_what_cannot_be_learnt_is_refused(command: Command, words: tuple[str, ...], said: str) -> None:
    refused = command("learn", *words)
    assert (refused.code, said in refused.err) == (2, True), refused
