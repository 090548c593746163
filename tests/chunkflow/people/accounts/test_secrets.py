"""Tokens and sessions: valid ones tell who it is, others nothing; none can be read in the database."""

from __future__ import annotations

import re
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from chunkflow.errors import BadInput
from chunkflow.people.accounts import people
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.people import SESSION_DAYS
from chunkflow.people.accounts.roles import Person, Role
from tests.support.people.clocks import SetClock

ANN = Person("ann", {"": Role.LOOK})
GARBAGE = [
    "",
    "x" * 10**7,
    "0" * 10**7,
    "ü" * 64,
    "٣" * 64,
    "\ud800" * 64,
    "\x00" * 64,
    "' OR 1=1 --",
    "0" * 64,
]


def test_a_secret_says_who_it_is(accounts: Accounts, hands: SetClock) -> None:
    token = accounts.add("ann", "look") or ""
    session, other = accounts.begin_session("ann"), accounts.begin_session("ann")
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in (token, session, other))
    assert len({token, session, other}) == 3
    assert [accounts.holder(secret) for secret in (token, session, other)] == [ANN] * 3
    accounts.end_session(session)
    accounts.end_session(session)
    accounts.end_session(token)  # which is no session
    assert [accounts.holder(secret) for secret in (token, session, other)] == [ANN, None, ANN]
    accounts.revoke("ann")
    assert [accounts.holder(secret) for secret in (token, session, other)] == [None] * 3


def test_a_session_ends_by_itself(accounts: Accounts, hands: SetClock) -> None:
    token = accounts.add("ann", "look") or ""
    session = accounts.begin_session("ann")
    hands.pass_by(days=SESSION_DAYS, seconds=-1)
    assert accounts.holder(session) == ANN
    hands.pass_by(seconds=1)
    assert accounts.holder(session) is None
    accounts.begin_session("ann")
    hands.pass_by(days=-1)
    assert accounts.holder(session) is None  # deleted by the next one
    assert accounts.holder(token) == ANN


def test_who_has_no_account_begins_no_session(accounts: Accounts) -> None:
    with pytest.raises(BadInput, match="bo has no account: no session begins"):
        accounts.begin_session("bo")


@pytest.mark.parametrize("secret", [*GARBAGE, "upper", "blank", "hash"])
def test_garbage_is_nobody(accounts: Accounts, secret: str) -> None:
    token = accounts.add("ann", "look") or ""
    from_token = {"upper": token.upper(), "blank": f"{token}\n", "hash": sha256(token.encode()).hexdigest()}
    tried = from_token.get(secret, secret)
    assert accounts.holder(tried) is None
    accounts.end_session(tried)
    assert accounts.holder(token) == ANN


def test_garbage_reaches_neither_the_database_nor_the_hash(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "hashed", None)
    with monkeypatch.context() as patch:
        patch.setattr(accounts, "_database", None)
        assert [accounts.holder(secret) for secret in GARBAGE[:-1]] == [None] * (len(GARBAGE) - 1)


def test_it_is_noted_once_an_hour_that_somebody_was_seen(accounts: Accounts, hands: SetClock) -> None:
    def seen() -> str:
        return accounts.grants()[0].last_seen

    token = accounts.add("ann", "look") or ""
    assert seen() == ""
    accounts.holder(token)
    assert seen() == "2026-03-01T12:00:00+00:00"
    hands.pass_by(minutes=59)
    accounts.holder(token)
    assert seen() == "2026-03-01T12:00:00+00:00"
    hands.pass_by(minutes=1)
    accounts.holder(token)
    assert seen() == "2026-03-01T13:00:00+00:00"
    hands.pass_by(minutes=7)
    accounts.begin_session("ann")
    assert seen() == "2026-03-01T13:07:00+00:00"
    hands.pass_by(minutes=60)
    accounts.person("ann")  # for whom a proxy vouches
    assert seen() == "2026-03-01T14:07:00+00:00"


def test_no_secret_is_in_the_files_of_the_database(tmp_path: Path) -> None:
    def written() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir())

    with closing(Accounts.open(tmp_path / "service.sqlite")) as accounts:
        secrets = [accounts.add(name, "look") or "" for name in ("ann", "bo")]
        secrets += [accounts.begin_session("ann") for _ in range(5)]
        for secret in secrets:
            accounts.holder(secret)
        accounts.end_session(secrets[-1])
        kept = written()
    kept += written()
    for secret in secrets:
        assert sha256(secret.encode()).hexdigest().encode() in kept
        for form in (secret.encode(), secret[:16].encode(), bytes.fromhex(secret)):
            assert form not in kept
