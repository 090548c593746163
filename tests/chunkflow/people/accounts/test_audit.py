"""The audit log: lines are added, and nothing takes or changes one."""

from __future__ import annotations

import getpass
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import sqlalchemy as sa

from chunkflow.errors import StorageError
from chunkflow.people.accounts import audit
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.audit import AuditLine
from chunkflow.people.database import Database
from tests.support.people.clocks import NOON, SetClock


def test_what_was_done_is_on_record(accounts: Accounts, hands: SetClock) -> None:
    token = accounts.add("ann", "review", "rat7") or ""
    accounts.record("ann", "10.0.0.7", "login")
    accounts.record("ann", "10.0.0.7", "export", "rat7: cells.csv")
    accounts.revoke("ann", "rat7")
    me = getpass.getuser()
    assert accounts.audit() == [
        AuditLine(1, NOON, me, "terminal", "add", "ann: review of rat7"),
        AuditLine(2, NOON, "ann", "10.0.0.7", "login", ""),
        AuditLine(3, NOON, "ann", "10.0.0.7", "export", "rat7: cells.csv"),
        AuditLine(4, NOON, me, "terminal", "revoke", "ann of rat7"),
    ]
    assert [line.number for line in accounts.audit(since=1, limit=2)] == [2, 3]
    assert [len(accounts.audit(*asked)) for asked in ((4,), (10**30,), (-5,), (0, 0), (0, -1))] == [
        0,
        0,
        4,
        0,
        0,
    ]
    assert token not in repr(accounts.audit())


def test_any_text_makes_one_line(accounts: Accounts) -> None:
    accounts.record("a\nb", "\ud800\x00", "x" * 10**7, "脑\u2028\x1b[31m")
    (line,) = accounts.audit()
    for text in (line.person, line.origin, line.action, line.subject):
        assert text.isprintable()
        assert len(text) <= 1000
    assert (line.person, line.origin) == ("a\\nb", "\\ud800\\x00")


def test_numbers_have_no_gaps_whoever_writes(place: str) -> None:
    with closing(Accounts.open(place)) as first, closing(Accounts.open(place)) as second:
        processes = (first, second)
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda n: processes[n % 2].record("ann", "", "look", str(n)), range(60)))
        lines = first.audit()
    assert [line.number for line in lines] == list(range(1, 61))
    assert {line.subject for line in lines} == {str(n) for n in range(60)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET person = 'bo'",
        "UPDATE audit SET number = 7 WHERE number = 2",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 2",
    ],
)
def test_the_database_refuses_to_change_a_line(accounts: Accounts, place: str, statement: str) -> None:
    for n in range(2):
        accounts.record("ann", "10.0.0.7", "login", str(n))
    refuses_and_keeps(accounts, place, statement)


def test_no_other_way_takes_a_line(accounts: Accounts, place: str) -> None:
    accounts.record("ann", "10.0.0.7", "login")
    statement = "INSERT OR REPLACE INTO audit VALUES (1, '', 'bo', '', '', '')"
    refuses_and_keeps(accounts, place, "TRUNCATE audit" if "://" in place else statement)


def refuses_and_keeps(accounts: Accounts, place: str, statement: str) -> None:
    before = accounts.audit()
    with (
        closing(Database.open(place)) as database,
        pytest.raises(StorageError, match="the audit log can only be added to"),
        database.write() as connection,
    ):
        connection.execute(sa.text(statement))
    assert accounts.audit() == before


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 4711)
    assert audit.machine_user() == "user 4711"
