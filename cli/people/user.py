"""The commands for people of the lab's service: accounts added, listed and revoked, the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from chunkflow.people.accounts.opening import open_accounts
from chunkflow.people.accounts.roles import Role

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts

PersonName = Annotated[str, typer.Argument(metavar="NAME", help="The person, as they log in.")]
DatasetOption = Annotated[
    str, typer.Option("--dataset", metavar="NAME", help="For this data set only.", show_default="all of them")
]
AccountsPlace = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        show_default="~/.config/chunkflow/service.sqlite",
        help="Where the accounts lie: a file, or postgresql://USER@HOST/NAME.",
    ),
]
RoleOption = Annotated[
    str, typer.Option("--role", metavar="ROLE", help="look, review or own; each has those before it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

app = typer.Typer(no_args_is_help=True)


@app.callback()
def user() -> None:
    """Say who may use the lab's service, and see what they did."""


@app.command()
def add(
    name: PersonName, role: RoleOption, dataset: DatasetOption = "", database: AccountsPlace = ""
) -> None:
    """Give a person a role, and who is new a token, which is shown only now.

    Example: chunkflow user add ann --role review --dataset rat7
    """
    with _opened(database) as accounts:
        token = accounts.add(name, role, dataset)
    console = _console()
    console.print(f"{name} has the role {Role.named(role)} for {_named(dataset)}.")
    if token is None:
        console.print("The token that they have stays valid.")
        return
    console.print(
        "This token is shown only now: it is entered at /login in the browser, and programs send it as "
        "`Authorization: Bearer TOKEN`."
    )
    console.print(token)


@app.command("list")
def list_users(as_json: JsonOption = False, database: AccountsPlace = "") -> None:
    """List the roles of all people: for which data set, since when, and when they were seen last.

    Example: chunkflow user list
    """
    with _opened(database) as accounts:
        grants = accounts.grants()
    if as_json:
        rows = [
            {"name": one.name, "dataset": one.dataset, "role": str(one.role)}
            | {"since": one.since, "last_seen": one.last_seen}
            for one in grants
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not grants:
        _console().print("Nobody has an account yet: chunkflow user add NAME --role review makes one.")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("name", "role", "data set", "since", "last seen"):
        table.add_column(title, overflow="fold")
    for one in grants:
        table.add_row(
            one.name,
            str(one.role),
            one.dataset or "all",
            _minute(one.since),
            _minute(one.last_seen) or "never",
        )
    Console(markup=False, highlight=False, emoji=False).print(table)


@app.command()
def revoke(name: PersonName, dataset: DatasetOption = "", database: AccountsPlace = "") -> None:
    """Take a person's role for a data set, or all; with the last one their token and sessions end at once.

    Example: chunkflow user revoke ann
    """
    with _opened(database) as accounts:
        accounts.revoke(name, dataset)
        remains = accounts.person(name) is not None
    done = f"{name} has no role of their own for {dataset} any more"
    _console().print(f"{done}." if remains else f"{name} has no account any more: all is revoked.")


@app.command()
def audit(
    since: Annotated[int, typer.Option(min=0, help="Only lines behind this number.")] = 0,
    database: AccountsPlace = "",
) -> None:
    """Print the audit log: number, time (UTC), person, origin, action, subject, with tabs between.

    Example: chunkflow user audit --since 120
    """
    with _opened(database) as accounts:
        while lines := accounts.audit(since):
            for line in lines:
                fields = (line.number, line.at, line.person, line.origin, line.action, line.subject)
                typer.echo("\t".join(map(str, fields)))
            since = lines[-1].number


@contextmanager
def _opened(database: str) -> Iterator[Accounts]:
    accounts = open_accounts(database)
    try:
        yield accounts
    finally:
        accounts.close()


def _console() -> Console:
    """Prints sentences as they are: names of data sets may hold anything."""
    return Console(soft_wrap=True, markup=False, highlight=False, emoji=False)


def _named(dataset: str) -> str:
    return dataset or "all data sets"


def _minute(at: str) -> str:
    """A time in UTC to the minute."""
    return at[:16].replace("T", " ")
