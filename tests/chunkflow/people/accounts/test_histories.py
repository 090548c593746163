"""Histories of accounts against a model: who holds which secret, and may do what, whatever was done."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkflow.errors import BadInput
from chunkflow.people.accounts import clock
from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Role
from tests.support.people.clocks import SetClock
from tests.support.people.databases import NewPlace

DATASETS = ("", "rat7", "rat8")
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "revoke", "begin", "begin", "end", "wait")),
        st.sampled_from(("ann", "bo")),
        st.sampled_from(DATASETS),
        st.sampled_from(Role),
    ),
    max_size=25,
)


class AccountsModel:
    """What accounts must do, told as simply as it can be."""

    def __init__(self) -> None:
        self.day = 0
        self.roles: dict[str, dict[str, Role]] = {}
        self.secrets: dict[str, tuple[str, float]] = {}

    def holder(self, secret: str) -> dict[str, Role] | None:
        name, until = self.secrets.get(secret, ("", 0))
        return self.roles[name] if self.day < until else None

    def revoke(self, name: str, dataset: str) -> bool:
        roles = self.roles.get(name, {})
        if not roles or dataset not in ({*roles, ""}):
            return False
        left = {other: role for other, role in roles.items() if dataset and other != dataset}
        self.roles[name] = left
        if not left:
            del self.roles[name]
            self.secrets = {secret: held for secret, held in self.secrets.items() if held[0] != name}
        return True


def follow(accounts: Accounts, hands: SetClock, actions: list[tuple[str, str, str, Role]]) -> None:
    model, known = AccountsModel(), [""]
    for action, name, dataset, role in actions:
        if action == "add":
            token = accounts.add(name, role, dataset)
            assert (token is None) == (name in model.roles)
            model.roles.setdefault(name, {})[dataset] = role
            if token:
                model.secrets[token] = name, float("inf")
        elif action == "wait":
            hands.pass_by(days=11)
            model.day += 11
        elif action == "end":
            secret = known[-1 - role % len(known)]
            accounts.end_session(secret)
            if model.secrets.get(secret, ("", 0.0))[1] < float("inf"):
                model.secrets.pop(secret, None)
        else:
            try:
                if action == "begin":
                    model.secrets[accounts.begin_session(name)] = name, model.day + 30
                else:
                    accounts.revoke(name, dataset)
                taken = True
            except BadInput:
                taken = False
            assert taken == (name in model.roles if action == "begin" else model.revoke(name, dataset))
        known += model.secrets.keys() - set(known)
        agrees(accounts, model, known)


def agrees(accounts: Accounts, model: AccountsModel, known: list[str]) -> None:
    assert {(one.name, one.dataset): one.role for one in accounts.grants()} == {
        (name, dataset): role for name, roles in model.roles.items() for dataset, role in roles.items()
    }
    assert accounts.any() == bool(model.roles)
    for secret in known:
        person, roles = accounts.holder(secret), model.holder(secret)
        assert (person.roles if person else None) == roles
    for name in ("ann", "bo"):
        person = accounts.person(name)
        assert (person.roles if person else None) == model.roles.get(name)


def test_accounts_have_the_history_of_the_model(new_place: NewPlace) -> None:
    @settings(
        max_examples=10 if "://" in new_place() else 60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(actions=ACTIONS)
    def whatever_is_done(actions: list[tuple[str, str, str, Role]]) -> None:
        hands, accounts = SetClock(), Accounts.open(new_place())
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(clock, "now", hands.now)
                follow(accounts, hands, actions)
        finally:
            accounts.close()

    whatever_is_done()
