"""Logs of reviews in both kinds of databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import chunkflow as cf
from chunkflow.people.review.log.review_log import ReviewLog
from tests.support.people.databases import NewPlace, new_place, postgresql_server

__all__ = ["new_place", "postgresql_server"]


@pytest.fixture
def log(new_place: NewPlace) -> Iterator[ReviewLog]:
    log = ReviewLog.open(new_place())
    yield log
    log.close()


@pytest.fixture(scope="module")
def ids(reviewed_work: str) -> list[int]:
    return sorted(cf.open(reviewed_work).table("classified").to_arrow()["id"].to_pylist())


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "review.sqlite")
