"""Views that are kept: the last one of each person, and those with short links."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from chunkflow.errors import BadInput, StorageError
from chunkflow.people.accounts import views
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.views import Link, ids_of
from tests.support.people.clocks import NOON, SetClock


def test_the_last_view_is_kept(accounts: Accounts) -> None:
    accounts.keep_view("ann", "rat7", '{"a": 1}')
    accounts.keep_view("ann", "rat7", '{"a": "µ\\u0000"}')
    accounts.keep_view("ann", "rat8", "[]")
    assert accounts.view("ann", "rat7") == '{"a": "µ\\u0000"}'
    assert (accounts.view("ann", "rat8"), accounts.view("bo", "rat7")) == ("[]", None)


def test_many_keep_a_view_at_once(accounts: Accounts) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: accounts.keep_view("ann", "rat7", str(n)), range(40)))
    assert accounts.view("ann", "rat7") in set(map(str, range(40)))


def test_a_short_link_leads_to_its_view_for_ever(accounts: Accounts, hands: SetClock) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: accounts.shorten("ann", "rat7", '{"a": 1}'), range(16)))
    (id,) = found
    assert re.fullmatch("[a-z2-7]{10}", id)
    hands.pass_by(days=1)
    assert accounts.shorten("bo", "rat7", '{"a": 1}') == id
    assert accounts.link(id) == Link("rat7", '{"a": 1}', "ann", NOON)
    others = {accounts.shorten("ann", *view) for view in (("rat7", "{}"), ("rat8", '{"a": 1}'), ("", "{}"))}
    assert len(others | {id}) == 4
    for none in ("", "a" * 10, id.upper(), f"{id}\n", "x" * 10**7, "ü" * 10):
        assert accounts.link(none) is None


def test_the_id_follows_from_the_view() -> None:
    assert ids_of("rat7", "{}")[0] == "ruu3zcitcz"
    assert len(set(ids_of("rat7", "{}"))) == 5


def test_an_id_that_another_view_has_is_not_given(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "ids_of", lambda dataset, state: ["a" * 10, state[0] * 10])
    assert accounts.shorten("ann", "rat7", "1") == "a" * 10
    assert accounts.shorten("ann", "rat7", "2") == "2" * 10
    monkeypatch.setattr(views, "ids_of", lambda dataset, state: ["a" * 10])
    with pytest.raises(StorageError, match="are those of other views"):
        accounts.shorten("ann", "rat7", "3")


@pytest.mark.parametrize(
    "state", ["", "{", "\x00", '"\ud800"', "[" * 10**5, "1" * 10**5, '"' + "x" * 2**20 + '"']
)
def test_what_is_no_state_is_refused(accounts: Accounts, state: str) -> None:
    for keep in (accounts.keep_view, accounts.shorten):
        with pytest.raises(BadInput, match="The state of a view"):
            keep("ann", "rat7", state)
    assert accounts.view("ann", "rat7") is None


def test_what_is_no_data_set_has_no_views(accounts: Accounts) -> None:
    with closing(accounts):
        for ask in (accounts.view, lambda *view: accounts.keep_view(*view, "{}")):
            with pytest.raises(BadInput, match="is no name of a data set"):
                ask("ann", "rat\x007")
