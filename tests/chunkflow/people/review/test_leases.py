"""Leases of objects: one object lies before one person, whatever process serves whom; in both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from chunkflow.people.review.log.leases import LEASE, Choice
from chunkflow.people.review.log.review_log import ReviewLog

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENT = timedelta(seconds=1)
LARGEST = 2**64 - 1


def first_of(*ids: int) -> Choice:
    """Chooses the first of these that is free."""
    return lambda leased: next((id for id in ids if id not in leased), None)


def test_what_one_has_is_not_given_to_another_until_it_expires(log: ReviewLog) -> None:
    table, other = log.table("w", "cells", "1"), log.table("w", "cells", "2")
    take = log.leases.take
    assert take(table, "ann", first_of(LARGEST, 7), NOW) == LARGEST
    assert take(table, "bo", first_of(LARGEST, 7), NOW + MOMENT) == 7
    assert take(table, "cy", first_of(LARGEST, 7), NOW + MOMENT) is None
    assert take(other, "bo", first_of(LARGEST, 7), NOW + MOMENT) == LARGEST
    assert take(table, "bo", first_of(LARGEST, 7), NOW + LEASE - MOMENT) == 7
    assert take(table, "cy", first_of(LARGEST, 7), NOW + LEASE) == LARGEST


def test_ones_own_lease_is_no_hindrance_and_begins_anew(log: ReviewLog) -> None:
    table = log.table("w", "cells", "1")
    take = log.leases.take
    assert take(table, "ann", first_of(7, 8), NOW) == 7
    assert take(table, "ann", first_of(7, 8), NOW + LEASE - MOMENT) == 7
    assert take(table, "bo", first_of(7, 8), NOW + LEASE + MOMENT) == 8
    assert take(table, "bo", first_of(7, 8), NOW + 2 * LEASE) == 7


def test_many_processes_at_once_give_each_person_another_object(new_place: Callable[[], str]) -> None:
    place = new_place()
    logs = [ReviewLog.open(place) for _ in range(3)]
    table = logs[0].table("w", "cells", "1")
    with ThreadPoolExecutor(12) as threads:
        futures = [
            threads.submit(logs[n % 3].leases.take, table, f"p{n}", first_of(*range(1, 41)), NOW)
            for n in range(60)
        ]
        found = [future.result() for future in futures]
    assert sorted(id for id in found if id is not None) == list(range(1, 41))
    assert found.count(None) == 20
    for log in logs:
        log.close()
