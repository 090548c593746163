"""Accounts and their roles: nothing lost by whatever happens at once, in SQLite and in PostgreSQL."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from chunkflow.errors import BadInput, StorageError
from chunkflow.people import database
from chunkflow.people.accounts import accounts as module
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Grant, Person, Role
from chunkflow.people.database import Database
from tests.support.people.clocks import NOON, SetClock
from tests.support.people.databases import NewPlace

LATER = "2026-03-02T12:00:00+00:00"


def test_roles_have_names() -> None:
    assert [Role.named(text) for text in ("look", "review", "own")] == [Role.LOOK, Role.REVIEW, Role.OWN]
    assert f"{Role.OWN}, {Role.LOOK!s:>6}, {Role.REVIEW:>7}" == "own,   look,  review"
    for text in ("", "OWN", "owner", "x" * 9000):
        with pytest.raises(BadInput, match="is no role: look, review or own") as refused:
            Role.named(text)
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("roles", "dataset", "most"),
    [
        ({}, "rat7", 0),
        ({"": Role.LOOK}, "rat7", Role.LOOK),
        ({"rat7": Role.REVIEW}, "rat7", Role.REVIEW),
        ({"rat7": Role.REVIEW}, "rat8", 0),
        ({"rat7": Role.OWN}, "", 0),
        ({"rat7": Role.LOOK, "": Role.OWN}, "rat7", Role.OWN),
        ({"rat7": Role.OWN, "": Role.LOOK}, "rat7", Role.OWN),
    ],
)
def test_the_higher_role_counts(roles: dict[str, Role], dataset: str, most: int) -> None:
    assert [Person("ann", roles).may(role, dataset) for role in Role] == [role <= most for role in Role]


def test_roles_are_added_changed_and_revoked(accounts: Accounts, hands: SetClock) -> None:
    assert not accounts.any()
    token = accounts.add("bo", "look")
    assert token is not None
    assert accounts.any()
    hands.pass_by(days=1)
    assert accounts.add("ann", Role.OWN, "rat7 – hippocampus [left]")
    assert accounts.add("bo", "own", "rat7") is None
    assert accounts.add("bo", "look") is None  # as it is already: since then
    assert accounts.grants() == [
        Grant("ann", "rat7 – hippocampus [left]", Role.OWN, LATER, ""),
        Grant("bo", "", Role.LOOK, NOON, ""),
        Grant("bo", "rat7", Role.OWN, LATER, ""),
    ]
    assert accounts.add("bo", "review") is None
    assert accounts.person("bo") == Person("bo", {"": Role.REVIEW, "rat7": Role.OWN})
    accounts.revoke("bo", "rat7")
    assert accounts.holder(token) == Person("bo", {"": Role.REVIEW})
    accounts.revoke("bo")
    assert (accounts.holder(token), accounts.person("bo")) == (None, None)
    accounts.revoke("ann", "rat7 – hippocampus [left]")
    assert (accounts.any(), accounts.grants()) == (False, [])


def test_the_account_goes_with_its_last_role(accounts: Accounts) -> None:
    token = accounts.add("ann", "look", "rat7")
    session = accounts.begin_session("ann")
    accounts.revoke("ann", "rat7")
    renewed = accounts.add("ann", "look", "rat7")
    assert [accounts.holder(secret) for secret in (token or "", session)] == [None, None]
    assert accounts.holder(renewed or "") == Person("ann", {"rat7": Role.LOOK})


def test_there_must_be_something_to_revoke(accounts: Accounts) -> None:
    accounts.add("ann", "look")
    with pytest.raises(BadInput, match="bo has no account: nothing was revoked"):
        accounts.revoke("bo")
    with pytest.raises(BadInput, match="ann has no role of their own for rat7: nothing was revoked"):
        accounts.revoke("ann", "rat7")
    assert [line.action for line in accounts.audit()] == ["add"]
    assert accounts.person("ann") == Person("ann", {"": Role.LOOK})


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "an n", "ann\n", "änn", "a/b", "ann\x00", "'; DROP TABLE accounts", "x" * 10**7]
)
def test_names_that_are_none_are_refused(accounts: Accounts, name: str) -> None:
    for refuse in (
        lambda: accounts.add(name, "look"),
        lambda: accounts.revoke(name),
        lambda: accounts.begin_session(name),
    ):
        with pytest.raises(BadInput, match="is no name for an account") as refused:
            refuse()
        assert len(str(refused.value)) < 300
    assert accounts.person(name) is None
    assert not accounts.any()


def test_names_of_data_sets_are_free(accounts: Accounts) -> None:
    for name in ("x" * 200, "Großhirn 7 µm ['\"%s\\]", "脑"):
        accounts.add("ann@lab.org", "look", name)
    assert {grant.dataset for grant in accounts.grants()} == {"x" * 200, "Großhirn 7 µm ['\"%s\\]", "脑"}
    for name in ("x" * 201, "a\nb", "a\x00", "\ud800", "\x9b", "y" * 10**7):
        with pytest.raises(BadInput, match="is no name of a data set"):
            accounts.add("ann", "look", name)
    assert accounts.person("ann") is None


def test_no_grant_is_lost_where_many_are_added_at_once(place: str) -> None:
    with closing(Accounts.open(place)) as first, closing(Accounts.open(place)) as second:
        processes = (first, second)

        def add(number: int) -> str | None:
            return processes[number % 2].add("ann" if number % 3 else "bo", "look", f"rat{number}")

        with ThreadPoolExecutor(8) as threads:
            tokens = list(threads.map(add, range(48)))
        grants = first.grants()
        lines = second.audit()
        people = [person.name for token in tokens if token and (person := first.holder(token))]
    assert {grant.dataset for grant in grants} == {f"rat{number}" for number in range(48)}
    assert sorted(people) == ["ann", "bo"]
    assert sum(token is not None for token in tokens) == 2
    assert [line.number for line in lines] == list(range(1, 49))


def test_the_same_role_is_added_by_many_at_once(accounts: Accounts) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = list(threads.map(lambda _: accounts.add("ann", "look"), range(16)))
    assert len([token for token in tokens if token]) == 1
    assert len(accounts.grants()) == 1


def test_no_session_outlasts_a_revocation_at_the_same_time(accounts: Accounts) -> None:
    def begin(_: int) -> str:
        try:
            return accounts.begin_session("ann")
        except BadInput:
            return ""

    for _ in range(5):
        accounts.add("ann", "look")
        with ThreadPoolExecutor(5) as threads:
            begun = threads.map(begin, range(12))
            accounts.revoke("ann")
            secrets = list(begun)
        accounts.add("ann", "look")
        assert [accounts.holder(secret) for secret in secrets] == [None] * 12
        accounts.revoke("ann")


def test_opened_by_many_at_once(new_place: NewPlace) -> None:
    place = new_place()
    with ThreadPoolExecutor(6) as threads:
        opened = list(threads.map(lambda _: Accounts.open(place), range(6)))
    for one in opened:
        one.record("ann", "127.0.0.1", "login")
    assert [line.number for line in opened[0].audit()] == [1, 2, 3, 4, 5, 6]
    for one in opened:
        one.close()


def test_a_database_that_is_held_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.1)
    place = tmp_path / "service.sqlite"
    other = Database.open(place)
    with closing(other), closing(Accounts.open(place)) as accounts:
        token = accounts.add("ann", "look") or ""
        with other.write():
            for write in (
                lambda: accounts.add("bo", "look"),
                lambda: accounts.record("ann", "", "look"),
                lambda: accounts.begin_session("ann"),
                lambda: accounts.keep_view("ann", "rat7", "{}"),
            ):
                with pytest.raises(StorageError, match="is locked by another process: try again"):
                    write()
            assert accounts.holder(token) is not None  # that they were seen is noted another time
        assert accounts.grants()[0].last_seen == ""
        accounts.holder(token)
        assert accounts.grants()[0].last_seen


def test_by_default_only_the_owner_reads_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    before = os.umask(0)
    try:
        with closing(Accounts.open()) as accounts:
            accounts.add("ann", "look")
            folder = tmp_path / ".config" / "chunkflow"
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    finally:
        os.umask(before)
    assert modes.pop("chunkflow") == 0o700
    assert "service.sqlite-wal" in modes
    assert set(modes.values()) == {0o600}
    with closing(Accounts.open()) as accounts:
        assert accounts.any()


def test_a_home_that_cannot_hold_it_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module, "file_system", lambda folder: "nfs4")
    assert not module.default_place().exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match=r"no place for the accounts of this user .*: give `database`"):
        Accounts.open()
