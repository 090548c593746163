"""The commands for people of the service: added, listed, revoked, and what was done."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from chunkflow.people.accounts.accounts import Accounts
from chunkflow.people.accounts.roles import Person, Role
from tests.support.commands import Command

WITHOUT = "import sys; sys.modules['sqlalchemy'] = None; from cli.main import main; main()"


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "service.sqlite")


def test_a_token_is_shown_once(command: Command, place: str) -> None:
    said = command("user", "add", "ann", "--role", "review", "--database", place)
    granted, used, token = said.out.splitlines()
    assert granted == "ann has the role review for all data sets."
    assert used == (
        "This token is shown only now: it is entered at /login in the browser, and programs send it as "
        "`Authorization: Bearer TOKEN`."
    )
    assert re.fullmatch("[0-9a-f]{64}", token)
    said = command(
        "user", "add", "ann", "--role", "own", "--dataset", "[red]rat :smile:", "--database", place
    )
    assert said.out == ("ann has the role own for [red]rat :smile:.\nThe token that they have stays valid.\n")
    with closing(Accounts.open(place)) as accounts:
        assert accounts.holder(token) == Person("ann", {"": Role.REVIEW, "[red]rat :smile:": Role.OWN})
    for words in (["list"], ["list", "--json"], ["audit"]):
        assert token[:8] not in command("user", *words, "--database", place).out


def test_roles_are_listed(command: Command, place: str) -> None:
    said = command("user", "list", "--database", place)
    assert said.out == "Nobody has an account yet: chunkflow user add NAME --role review makes one.\n"
    assert json.loads(command("user", "list", "--json", "--database", place).out) == []
    with closing(Accounts.open(place)) as accounts:
        accounts.add("bo", "own")
        accounts.add("ann", "look", "[red]rat")
        accounts.begin_session("bo")
        since = accounts.grants()[1].since
    lines = command("user", "list", "--database", place).out.splitlines()
    minute = since[:16].replace("T", " ")
    assert [re.split("  +", line.rstrip()) for line in lines] == [
        ["name", "role", "data set", "since", "last seen"],
        ["ann", "look", "[red]rat", minute, "never"],
        ["bo", "own", "all", minute, minute],
    ]
    rows = json.loads(command("user", "list", "--json", "--database", place).out)
    assert rows[0] == {"name": "ann", "dataset": "[red]rat", "role": "look", "since": since, "last_seen": ""}


def test_roles_are_revoked_and_all_is_on_record(command: Command, place: str) -> None:
    for dataset in ("rat7", "rat8"):
        command("user", "add", "ann", "--role", "look", "--dataset", dataset, "--database", place)
    said = command("user", "revoke", "ann", "--dataset", "rat7", "--database", place)
    assert said.out == "ann has no role of their own for rat7 any more.\n"
    said = command("user", "revoke", "ann", "--dataset", "rat7", "--database", place)
    assert (said.code, said.err) == (2, "ann has no role of their own for rat7: nothing was revoked.\n")
    said = command("user", "revoke", "ann", "--database", place)
    assert said.out == "ann has no account any more: all is revoked.\n"
    lines = [line.split("\t") for line in command("user", "audit", "--database", place).out.splitlines()]
    assert [[line[0], *line[2:]] for line in lines] == [
        ["1", getpass.getuser(), "terminal", "add", "ann: look of rat7"],
        ["2", getpass.getuser(), "terminal", "add", "ann: look of rat8"],
        ["3", getpass.getuser(), "terminal", "revoke", "ann of rat7"],
        ["4", getpass.getuser(), "terminal", "revoke", "ann"],
    ]
    later = command("user", "audit", "--since", "2", "--database", place).out.splitlines()
    assert later == ["\t".join(line) for line in lines[2:]]


def test_a_long_audit_log_is_printed_whole(
    command: Command, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Accounts.open(place)) as accounts:
        for n in range(7):
            accounts.record("ann", "10.0.0.7", "look", str(n))
    audit = Accounts.audit
    monkeypatch.setattr(Accounts, "audit", lambda self, since: audit(self, since, limit=3))
    said = command("user", "audit", "--database", place)
    assert [line.split("\t")[-1] for line in said.out.splitlines()] == list("0123456")


def test_mistakes_are_told_in_a_sentence(command: Command, place: str) -> None:
    for words, told in (
        (["add", "ann", "--role", "boss"], "'boss' is no role: look, review or own."),
        (["add", "a b", "--role", "look"], "'a b' is no name for an account"),
        (["revoke", "bo"], "bo has no account: nothing was revoked."),
    ):
        said = command("user", *words, "--database", place)
        assert said.code == 2
        assert said.err.startswith(told)
        assert said.err.count("\n") == 1


def test_without_its_package_accounts_are_refused(place: str) -> None:
    words = [sys.executable, "-c", WITHOUT, "user", "list", "--database", place]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert (
        said.stderr
        == "Keeping accounts needs the package sqlalchemy: pip install 'chunkflow-ray[service]'.\n"
    )
