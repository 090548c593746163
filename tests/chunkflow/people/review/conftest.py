"""Logs of reviews in both kinds of databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chunkflow.people.review.log.review_log import ReviewLog
from tests.support.people.databases import new_database, postgresql_server

__all__ = ["postgresql_server"]

NewPlace = Callable[[], str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def new_place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """Makes a place for a new database."""
    if request.param == "sqlite":
        return lambda: str(tmp_path_factory.mktemp("database") / "review.sqlite")
    server = request.getfixturevalue("postgresql_server")
    return lambda: new_database(server)


@pytest.fixture
def log(new_place: NewPlace) -> Iterator[ReviewLog]:
    log = ReviewLog.open(new_place())
    yield log
    log.close()
