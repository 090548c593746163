"""Accounts in both kinds of databases, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chunkflow.people.accounts import clock
from chunkflow.people.accounts.accounts import Accounts
from tests.support.people.clocks import SetClock
from tests.support.people.databases import NewPlace, new_place, postgresql_server

__all__ = ["new_place", "postgresql_server"]


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    hands = SetClock()
    monkeypatch.setattr(clock, "now", hands.now)
    return hands


@pytest.fixture
def place(new_place: NewPlace) -> str:
    return new_place()


@pytest.fixture
def accounts(place: str) -> Iterator[Accounts]:
    accounts = Accounts.open(place)
    yield accounts
    accounts.close()
