"""Opening of accounts, with a clear sentence where the package for databases is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chunkflow.extras import optional_import

if TYPE_CHECKING:
    from chunkflow.people.accounts.accounts import Accounts


def open_accounts(database: str | Path = "") -> Accounts:
    """The accounts in a database, by default in that of this user, to be closed."""
    optional_import("sqlalchemy", "Keeping accounts")
    from chunkflow.people.accounts.accounts import Accounts

    return Accounts.open(database)
