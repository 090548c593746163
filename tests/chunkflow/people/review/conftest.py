"""Logs of reviews in both kinds of databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chunkflow.people.review.log.review_log import ReviewLog
from tests.support.people.databases import NewPlace, new_place, postgresql_server

__all__ = ["new_place", "postgresql_server"]


@pytest.fixture
def log(new_place: NewPlace) -> Iterator[ReviewLog]:
    log = ReviewLog.open(new_place())
    yield log
    log.close()
