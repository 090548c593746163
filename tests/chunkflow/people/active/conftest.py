"""Somebody who knows what the objects to be learnt are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.people.learners import Knowing


@pytest.fixture
def ann(learnt_work: str, learnt_truth: dict[int, str], tmp_path: Path) -> Knowing:
    """Has a log of her own."""
    return Knowing(learnt_work, str(tmp_path / "review.sqlite"), learnt_truth)
