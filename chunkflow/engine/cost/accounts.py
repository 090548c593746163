"""Accounts: of each run of a job, what it was thought to take and what it took, kept in the work folder.

One file a run, accounts/WHEN.json, written again every half minute: a run that is killed has cost money, too.
Runs on parts of the volume keep theirs there as well, as all are paid from one purse.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel, Field, ValidationError

from chunkflow.data.folder import Folder
from chunkflow.engine.cost.measures import CellSeconds, Measures
from chunkflow.engine.cost.prices import SPOT
from chunkflow.errors import DamagedInput

_FOLDER = "accounts/"


class Figure(BaseModel):
    """An estimate, and half its interval of 95 % where it was measured."""

    value: float
    margin: float | None = None


class Estimate(BaseModel):
    """What a job was thought to take as a run of it began."""

    chunks: int
    bytes_in: int
    bytes_out: int
    files: int
    requests: int
    memory: int
    """The most that a worker takes."""
    seconds: dict[str, Figure] = Field(default_factory=dict)
    """Of all workers added up, for each step that was measured where nothing is paid."""
    hours: dict[str, Figure] = Field(default_factory=dict)
    """Of nodes, by device."""
    dollars: dict[str, Figure] = Field(default_factory=dict)


class Paid(BaseModel):
    """What the nodes of one device took."""

    hours: float
    dollars: float | None
    """None where the price table has no such device."""


class Account(BaseModel):
    """One run."""

    began: float
    heard: float
    box: str = ""
    """The part of the volume that it was on; empty for the whole."""
    estimate: Estimate
    spent: dict[str, Paid] = Field(default_factory=dict)
    """By device, of nodes that say what they are; nothing is paid for others."""
    measured: dict[str, dict[str, CellSeconds]] = Field(default_factory=dict)
    """What cells took, by device and step."""
    memory: int = 0
    """The most that a worker took."""


def account_name(began: float) -> str:
    """Where the account of a run that began then is kept; no two runs of a job begin at once."""
    return (
        f"{_FOLDER}{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}-{int(began * 1e6) % 10**6:06d}.json"
    )


def read_accounts(work: str) -> list[Account]:
    """The accounts of all runs of a job, those on parts included, oldest first."""
    folder = Folder(work)
    names = sorted(folder.list(_FOLDER))
    return [_parsed(name, data) for name, data in zip(names, folder.get_all(names), strict=True) if data]


def _parsed(name: str, data: bytes) -> Account:
    try:
        return Account.model_validate_json(data)
    except ValidationError as error:
        raise DamagedInput(f"{name} in the work folder is not the account of a run: delete it.") from error


def measures_of(accounts: Sequence[Account]) -> dict[str, list[Measures]]:
    """What cells took, by device as a price table names it."""
    found: dict[str, list[Measures]] = {}
    for account in accounts:
        for device, measures in account.measured.items():
            found.setdefault(device.removesuffix(SPOT), []).append(measures)
    return found


def dollars_of(accounts: Sequence[Account]) -> float:
    """What runs have cost, as far as it is known."""
    return sum(spent.dollars or 0.0 for account in accounts for spent in account.spent.values())
